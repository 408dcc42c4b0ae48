"""The steady tokens of a frame of a clip begin from the latents of the one before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from camss_ros.inference.segmenter import FrameRequest, SegmentationCancelled, Segmenter
from camss_ros.inference.temporal_state import MAX_GAP, TemporalState, thumbnail
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState, SteadyTokens

WARM = SamplingOptions(steps=2, warm_start_time=400)


@pytest.fixture
def segmenter(model):
    return Segmenter(model, device="cpu", precision="fp32", sampling=WARM)


def frame(height: int = 40, width: int = 56, seed: int = 0, grey: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(grey, grey + 40, (height, width, 3), np.uint8)


def same(one, other) -> bool:
    pairs = ((one.labels, other.labels), (one.confidence, other.confidence))
    return all(np.array_equal(a, b) for a, b in pairs)


# --- The tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "cell"), [(16, 4), (8, 2), (2, 1)])
def test_a_picture_has_the_mean_colours_of_the_cells(stride, cell):
    images = torch.randint(0, 256, (2, 3, 2 * stride, 3 * stride), dtype=torch.uint8)
    picture = SteadyTokens(stride).picture(images)
    assert picture.shape == (2, 3, 2 * stride // cell, 3 * stride // cell)
    expected = images[1, 2, -cell:, -cell:].float().mean()
    torch.testing.assert_close(picture[1, 2, -1, -1], expected)


def test_a_token_is_steady_below_a_mean_change_of_8():
    tokens, images = SteadyTokens(16), torch.full((1, 3, 32, 48), 100.0)
    before = tokens.picture(images)
    for change, steady in ((-7.9, True), (8.0, False), (-8.0, False)):
        images[..., :16, 16:32] = 100 + change
        expected = torch.tensor([[True, steady, True, True, True, True]])
        assert torch.equal(tokens(tokens.picture(images), before), expected)


def test_no_token_is_steady_after_no_frame():
    blank = FrameState.blank(2, 8, (32, 48), 16, torch.device("cpu"))
    assert blank.latents.shape == (2, 8, 2, 3)
    assert not blank.latents.any()
    tokens = SteadyTokens(16)
    for grey in (0, 255):
        picture = tokens.picture(torch.full((1, 3, 32, 48), grey))
        assert picture.shape[1:] == blank.picture.shape
        assert not tokens(picture, blank.picture[None]).any()


# --- The segmenter ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [WARM, replace(WARM, temperature=1.0, samples=2)])
def test_steady_tokens_are_drawn_from_the_latents_of_the_frame_before(
    segmenter, tiny_model, sampling
):
    """The whole procedure once more, with the network alone."""
    segmenter.sampling = sampling
    first = frame(32, 48)
    second = first.copy()
    second[:16, 16:32] += 50  # of 2 x 3 tokens, the middle one above
    second[16:, 32:] += 50  # and the last one below
    steady = torch.tensor([True, False, True, True, True, False])

    def drawn(image, latents):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        condition = tiny_model.condition(tiny_model.image_tokens(tiny_model.normalize(pixels)))
        embedded = tiny_model.denoiser.cond_embed(condition.repeat(sampling.samples, 1, 1))
        shape = (sampling.samples, 6, tiny_model.latent_channels)
        cold = replace(sampling, warm_start_time=0)

        def draw(options, latents=None):
            plan = tiny_model.plan(options)

            def predict(x, index):
                return tiny_model.denoiser(x, plan.time_embeddings[index], embedded)

            device = torch.device("cpu")
            return plan.sampler.sample(predict, shape, device, generator, latents=latents)

        anew = draw(cold)
        if latents is None:
            return anew
        warm = draw(replace(cold, start=sampling.warm_start_time), latents)
        return torch.where(steady[None, :, None], warm, anew)

    latents = None
    for image in (first, second):
        result = segmenter.segment(image)
        assert result.warm == (latents is not None)
        latents = drawn(image, latents)
        decoded = tiny_model.decode(tiny_model.latent_map(latents, (2, 3)))
        probabilities = tiny_model.average_samples(decoded, sampling.samples)
        assert np.array_equal(result.labels, probabilities[0].argmax(dim=0).numpy())


def test_a_warm_frame_differs_from_a_cold_one(segmenter):
    cold = segmenter.segment(frame(seed=1))
    segmenter.segment(frame(seed=2))
    warm = segmenter.segment(frame(seed=1))
    assert not cold.warm
    assert warm.warm
    assert not np.array_equal(cold.confidence, warm.confidence)


def test_where_every_token_has_changed_a_warm_frame_is_a_cold_one(segmenter):
    """A picture that is everywhere a little brighter is no other scene, but no steady one."""
    brighter = frame() + np.uint8(15)
    alone = segmenter.segment(brighter)
    segmenter.forget_last_frames()
    segmenter.segment(frame())
    after = segmenter.segment(brighter)
    assert after.warm
    assert same(after, alone)


def test_another_scene_begins_anew(segmenter):
    other = frame(seed=5, grey=150)
    alone = segmenter.segment(other)
    segmenter.forget_last_frames()
    segmenter.segment(frame())
    assert same(segmenter.segment(other), alone)
    assert segmenter.segment(other).warm


@pytest.mark.parametrize("size", [(41, 56), (40, 57), (80, 112)])
def test_another_size_begins_anew(segmenter, size):
    segmenter.segment(frame())
    assert not segmenter.segment(frame(*size)).warm


def test_another_network_size_begins_anew(segmenter):
    """As a latency budget chooses it from frame to frame."""
    sizes = [(32, 48), (48, 64), (48, 64), (32, 48)]
    requests = [FrameRequest(frame(), network_size=size) for size in sizes]
    results = [segmenter.segment_batch([request])[0] for request in requests]
    assert [result.warm for result in results] == [False, False, True, False]
    assert same(results[3], results[0])


def test_another_number_of_samples_begins_anew(segmenter):
    segmenter.segment(frame())
    segmenter.sampling = replace(WARM, samples=2)
    assert not segmenter.segment(frame()).warm
    assert segmenter.segment(frame()).warm


@pytest.mark.parametrize(
    ("stamps", "warm"),
    [
        ((10.0, 10.1), True),
        ((10.0, 10.0), True),
        ((0.0, MAX_GAP), True),
        ((10.0, 10.0 + 2 * MAX_GAP), False),
        ((10.0, 9.9), False),
        ((None, 9.9), False),
        ((9.9, None), False),
        ((None, None), True),
    ],
)
def test_stamps_decide_whether_a_clip_goes_on(segmenter, stamps, warm):
    results = [segmenter.segment(frame(), stamp=stamp) for stamp in stamps]
    assert [result.warm for result in results] == [False, warm]


def test_a_frame_that_was_given_up_leaves_no_latents(segmenter):
    segmenter.segment(frame(seed=1), stamp=1.0)
    expected = segmenter.segment(frame(seed=3), stamp=1.2)
    segmenter.forget_last_frames()
    segmenter.segment(frame(seed=1), stamp=1.0)
    asked = []

    def cancelled():
        asked.append(None)
        return len(asked) == 5  # after the decoder

    with pytest.raises(SegmentationCancelled):
        segmenter.segment(frame(seed=2), stamp=1.1, cancelled=cancelled)
    assert same(segmenter.segment(frame(seed=3), stamp=1.2), expected)


def test_the_grey_frame_of_the_warm_up_starts_no_clip(segmenter):
    segmenter.warm_up(40, 56)
    assert not segmenter.segment(np.full((40, 56, 3), 127, np.uint8)).warm


def test_switched_off_every_frame_is_drawn_alone(segmenter):
    segmenter.segment(frame(seed=1))
    segmenter.sampling = replace(WARM, warm_start_time=0)
    between = segmenter.segment(frame(seed=2))
    assert not between.warm
    segmenter.sampling = WARM
    assert not segmenter.segment(frame(seed=2)).warm


# --- What continues a clip ----------------------------------------------------------------------


def test_a_moving_picture_goes_on_and_a_cut_does_not():
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    scene = np.kron(noise, np.ones((20, 20, 1), np.uint8))
    memory, state = TemporalState(), FrameState(torch.zeros(1), torch.zeros(1))
    assert memory.begin(scene, None, "") is None
    memory.keep(state)
    moved = np.roll(scene, 2, axis=1)
    assert memory.begin(moved, None, "") is state
    memory.keep(state)
    assert memory.begin(scene[::-1], None, "") is None


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (360, 480), (1080, 1920)])
def test_a_thumbnail_holds_the_brightness_of_a_picture_of_any_size(size):
    image = np.zeros((*size, 3), np.uint8)
    image[:, : size[1] // 2] = 200
    small = thumbnail(image)
    assert small.shape == (24, 32, 3)
    assert small.mean() == pytest.approx(image.mean(), abs=5)


def test_a_twin_draws_nothing_and_begins_from_nothing(tmp_path, tiny_config):
    from camss_ros.model.config import TwinConfig
    from camss_ros.model.twin import Twin

    save_pretrained(Twin(TwinConfig("twin", tiny_config.label_set, input_size=(32, 48))), tmp_path)
    segmenter = Segmenter(tmp_path, device="cpu", precision="fp32", sampling=WARM)
    first, second = (segmenter.segment(frame()) for _ in range(2))
    assert not second.warm
    assert same(first, second)
