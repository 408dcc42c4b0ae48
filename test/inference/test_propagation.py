"""Between key frames the labels of the frame before are carried along by the optical flow."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from camss_ros.inference.propagation import LabelPropagation
from camss_ros.inference.segmenter import FrameRequest, Segmentation, Segmenter
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.inference.temporal_state import MAX_GAP
from camss_ros.model.schedule import SamplingOptions

HEIGHT, WIDTH = 120, 160


def scene(
    shift: int = 0, down: int = 0, seed: int = 0, height: int = HEIGHT, width: int = WIDTH
) -> np.ndarray:
    """A smooth texture, its contents `shift` pixels to the right and `down`."""
    size = (height + 64, width + 64, 3)
    noise = np.random.default_rng(seed).integers(0, 255, size).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 60, 200, cv2.NORM_MINMAX)
    rows, columns = slice(32 - down, 32 - down + height), slice(32 - shift, 32 - shift + width)
    return np.ascontiguousarray(texture[rows, columns])


def fields(shift: int = 0, down: int = 0) -> Segmentation:
    """Labels that belong to `scene`."""
    column, row = ((np.arange(WIDTH) - shift + 64) // 20, (np.arange(HEIGHT) - down + 64) // 20)
    labels = ((column + 2 * row[:, None]) % 5).astype(np.uint8)
    return Segmentation(labels, np.full_like(labels, 200), {"total": 1.0}, 1)


def request(shift: int = 0, down: int = 0, **wanted) -> FrameRequest:
    return FrameRequest(scene(shift, down), **wanted)


def test_labels_move_with_the_image():
    propagation = LabelPropagation(3)
    assert propagation.carry(request(0), "kind") is None
    propagation.keep(request(0), fields(0))
    for shift, down in ((4, -3), (8, -6)):
        found = propagation.carry(request(shift, down), "kind")
        assert found is not None
        assert found.propagated
        inside = np.s_[24:-24, 24:-24]
        assert (found.labels[inside] == fields(shift, down).labels[inside]).mean() > 0.95
        assert (found.confidence[inside] == 200).all()
        assert 0 < found.timings["propagation"] == found.timings["total"] < 60
    assert propagation.carry(request(12), "kind") is None  # a key frame again


def test_drawing_on_a_result_leaves_those_of_the_next_frames_alone():
    propagation = LabelPropagation(3)
    propagation.carry(request(0), "kind")
    result = fields(0)
    propagation.keep(request(0), result)
    for _ in range(2):
        result.labels[:], result.confidence[:] = 255, 0
        result = propagation.carry(request(0), "kind")
        assert np.array_equal(result.labels, fields(0).labels)
        assert (result.confidence == 200).all()


@pytest.mark.parametrize(("height", "width"), [(480, 640), (1080, 1920), (20, 900)])
def test_labels_of_a_still_image_stay_up_to_its_border(height, width):
    propagation = LabelPropagation(2)
    still = FrameRequest(scene(height=height, width=width))
    propagation.carry(still, "kind")
    labels = np.random.default_rng(0).integers(0, 9, (height, width), np.uint8)
    propagation.keep(still, Segmentation(labels, labels, {}, 1))
    found = propagation.carry(still, "kind")
    assert (found.labels == labels).all()
    assert (found.confidence == labels).all()


def test_what_comes_into_view_is_unsure():
    propagation = LabelPropagation(2)
    propagation.carry(request(0, uncertainty=True), "kind")
    key = replace(fields(0), uncertainty=np.full((HEIGHT, WIDTH), 7, np.uint8))
    propagation.keep(request(0, uncertainty=True), key)
    found = propagation.carry(request(10, uncertainty=True), "kind")
    assert found is not None
    middle = np.s_[20:-20, :4]
    assert (found.confidence[middle] == 0).mean() > 0.9
    assert (found.uncertainty[middle] == 255).mean() > 0.9
    assert (found.labels[middle] == key.labels[20:-20, :1]).mean() > 0.9  # the border's


def test_a_result_of_another_size_than_the_image_moves_as_far():
    propagation = LabelPropagation(2)
    small = request(0, output_size=(HEIGHT // 2, WIDTH // 2))
    propagation.carry(small, "kind")

    def halved(*moved: int) -> np.ndarray:
        return np.ascontiguousarray(fields(*moved).labels[::2, ::2])

    propagation.keep(small, Segmentation(halved(0), halved(0), {}, 1))
    found = propagation.carry(replace(small, image=scene(8, 6)), "kind")
    assert found is not None
    inside = np.s_[12:-12, 12:-12]
    assert (found.labels[inside] == halved(8, 6)[inside]).mean() > 0.9


@pytest.mark.parametrize(
    "change",
    [
        {"image": scene(0, height=HEIGHT + 2)},
        {"image": 255 - scene(0)},  # another scene
        {"stamp": 1.1 + MAX_GAP},
        {"stamp": 0.9},
        {"output_size": (10, 20)},
        {"uncertainty": True},
        {"stream": "left"},
    ],
)
def test_a_frame_that_does_not_continue_the_one_before_is_a_key_frame(change):
    propagation = LabelPropagation(9)
    first = request(0, stamp=1.0)
    assert propagation.carry(first, "kind") is None
    propagation.keep(first, fields(0))
    assert propagation.carry(replace(first, **change), "kind") is None
    assert propagation.carry(replace(first, stamp=1.1), "another kind") is None


def test_after_a_key_frame_without_a_result_the_next_is_a_key_frame():
    """Such as one that was cancelled."""
    propagation = LabelPropagation(2)
    propagation.carry(request(0), "kind")
    assert propagation.carry(request(1), "kind") is None


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (700, 3), (9, 11)])
def test_images_of_any_size(size):
    propagation = LabelPropagation(2)
    image = np.full((*size, 3), 90, np.uint8)
    result = Segmentation(np.full(size, 3, np.uint8), np.full(size, 9, np.uint8), {}, 1)
    propagation.carry(FrameRequest(image), "kind")
    propagation.keep(FrameRequest(image), result)
    found = propagation.carry(FrameRequest(image), "kind")
    assert found is not None
    assert np.array_equal(found.labels, result.labels)


def test_an_interval_of_none_is_refused():
    with pytest.raises(ValueError, match="keyframe_interval must be at least 1, not 0"):
        LabelPropagation(0)


# --- The segmenter ------------------------------------------------------------------------------


def test_the_network_runs_on_key_frames_only(model):
    every = Segmenter(model, device="cpu", precision="fp32")
    some = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=2)
    for number in range(4):
        found = some.segment(scene(number))
        assert found.propagated == (number % 2 == 1)
        if not found.propagated:
            assert np.array_equal(found.labels, every.segment(scene(number)).labels)
    some.segment(scene(4))
    some.forget_last_frames()
    assert not some.segment(scene(5)).propagated
    assert not any(every.segment(scene(0)).propagated for _ in range(3))


def test_streams_of_a_batch_have_key_frames_of_their_own(model):
    segmenter = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=3)
    alone = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=3)

    def batch(**shifts: int) -> list[FrameRequest]:
        return [request(shift, stream=name, stamp=0.1 * shift) for name, shift in shifts.items()]

    segmenter.segment_batch(batch(front=0))
    found = segmenter.segment_batch(batch(left=7, front=1))
    assert [each.propagated for each in found] == [False, True]
    alone.segment_batch(batch(left=7))
    assert np.array_equal(found[0].labels, alone.segment_batch(batch(left=7))[0].labels)
    with pytest.raises(ValueError, match="different streams"):
        segmenter.segment_batch(batch(front=2) * 2)


def test_streams_take_turns(model):
    """Also after all of them have paused."""
    segmenter = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=3)
    for begin in (0.0, 9.0):
        keys = []
        for number in range(7):
            stamp = begin + 0.1 * number
            found = segmenter.segment_batch(
                [request(number, stream=name, stamp=stamp) for name in ("a", "b", "c", "d")]
            )
            keys.append("".join("-" if each.propagated else "K" for each in found))
        assert keys == ["KKKK", "--K-", "-K--", "K--K", "--K-", "-K--", "K--K"]


def test_a_frame_with_other_settings_is_a_key_frame(model):
    segmenter = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=9)
    settings = [{}, {}, {"network_size": (48, 64)}, {}, {"sampling": SamplingOptions(steps=2)}]
    found = [segmenter.segment_batch([request(0, **each)])[0].propagated for each in settings]
    assert found == [False, True, False, False, False]


def test_key_frames_may_start_warm(model):
    sampling = SamplingOptions(steps=2, warm_start_time=400)
    segmenter = Segmenter(
        model, device="cpu", precision="fp32", sampling=sampling, keyframe_interval=2
    )
    found = [segmenter.segment(scene(0)) for _ in range(3)]
    assert [(each.propagated, each.warm) for each in found] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_a_guard_has_every_frame_segmented(model, monkeypatch):
    """Its frames may look alike, and do not follow each other."""
    from camss_ros import run_segmenter
    from camss_ros.evaluation import guard

    segmenter = Segmenter(model, device="cpu", precision="fp32", keyframe_interval=5)
    found = []
    monkeypatch.setattr(
        guard,
        "check_guard",
        lambda file, given: found.extend(given.segment(scene(0)) for _ in range(2)),
    )
    run_segmenter.check_guard("guard.yaml", segmenter)
    assert [each.propagated for each in found] == [False, False]


def test_a_specification_tells_an_interval_that_changes_results(model):
    spec = SegmenterSpec(model, device="cpu", precision="fp32", keyframe_interval=2)
    assert spec.describe()["sampling"]["keyframe_interval"] == 2
    assert "keyframe_interval" not in replace(spec, keyframe_interval=1).describe()["sampling"]
    opened = spec.open()
    assert [opened.segment(scene(0)).propagated for _ in range(2)] == [False, True]
    with pytest.raises(ValueError, match="keyframe_interval must be at least 1, not -1"):
        replace(spec, keyframe_interval=-1)
