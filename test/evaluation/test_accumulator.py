"""What the accumulator of scores keeps: over refused and unlabelled frames, from run to run."""

import json

import numpy as np
import pytest

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.metrics import confusion_scores
from camss_ros.images.label_sets import load_label_set

CLASSES = load_label_set("camvid11").classes


def random_frames(count, classes=11):
    """(truth, predicted, confidence), void in both label images."""
    rng = np.random.default_rng(count)
    for _ in range(count):
        truth, predicted = rng.integers(0, classes + 1, (2, 20, 30)).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < 0.6, truth, predicted)
        truth[truth == classes] = predicted[predicted == classes] = 255
        yield truth, predicted, rng.integers(0, 256, truth.shape).astype(np.uint8)


def test_runs_add_up_by_their_counts():
    """Two runs, merged by way of JSON, are one run with a cut in the clip."""
    whole, merged = (ScoreAccumulator(11, boundary=True) for _ in range(2))
    for count in (3, 2):
        run = ScoreAccumulator(11, boundary=True)
        whole.end_sequence()
        for frame in random_frames(count):
            run.add(*frame)
            whole.add(*frame)
        merged.merge(json.loads(json.dumps(run.counts())))
    assert merged.frames == 5
    assert merged.counts() == whole.counts()
    assert merged.report(CLASSES) == whole.report(CLASSES)
    assert all(value is not None for value in whole.report(CLASSES).values())
    with pytest.raises(ValueError, match="11 classes: expected 10"):
        ScoreAccumulator(10).merge(whole.counts())
    with pytest.raises(ValueError, match="10 classes: expected 11"):
        ScoreAccumulator(11).merge(ScoreAccumulator(10).counts())


def test_no_flicker_between_a_merged_run_and_the_next_frame():
    frames = list(random_frames(2))
    one, merged = ScoreAccumulator(11), ScoreAccumulator(11)
    one.add(*frames[0])
    merged.add(*frames[0])
    merged.merge(one.counts())
    merged.add(*frames[1])
    assert merged.counts()["flicker"] == [0, 0]


def test_a_frame_has_its_own_confusion_matrix():
    counted = ScoreAccumulator(11)
    for truth, predicted, confidence in random_frames(2):
        alone = ScoreAccumulator(11)
        own = counted.add(truth, predicted, confidence)
        alone.add(truth, predicted)
        np.testing.assert_array_equal(own, alone.confusion)
        assert confusion_scores(own).pixel_accuracy == pytest.approx(
            (truth == predicted)[truth != 255].mean()
        )
        assert own[3, 11] == ((truth == 3) & (predicted == 255)).sum()


def test_predicted_pixels_are_those_of_all_frames():
    counted = ScoreAccumulator(11)
    counted.add(np.full((1, 4), 255, np.uint8), np.array([[0, 0, 255, 5]], np.uint8))
    counted.add_unlabelled(np.array([[0, 1, 5, 5, 7, 7, 7, 7]], np.uint8))
    assert counted.frames == 1
    assert counted.predicted_pixels[[0, 1, 5, 7, 255]].tolist() == [3, 1, 3, 4, 1]
    share = counted.class_share(CLASSES)
    assert [share[CLASSES[i].name] for i in (0, 2, 7)] == [3 / 12, 0, 4 / 12]
    one = ScoreAccumulator(11)
    assert one.class_share(CLASSES)["road"] == 0
    one.add_unlabelled(np.array([[3]], np.uint8))
    assert one.class_share(CLASSES)[CLASSES[3].name] == 1


@pytest.mark.parametrize(
    "fault",
    ["id of the truth", "predicted id", "confidence", "mask", "shape", "type", "larger", "smaller"],
)
def test_nothing_of_a_refused_frame_is_counted(fault):
    counted = ScoreAccumulator(11, boundary=True)
    first, (truth, predicted, confidence) = random_frames(2)
    counted.add(*first)
    before = counted.counts()
    pixels = counted.predicted_pixels.copy()
    if fault == "confidence":
        confidence = confidence.astype(float)
    elif fault == "mask":
        confidence = confidence > 0
    elif fault == "shape":
        predicted = predicted[:-1]
    elif fault == "type":
        predicted = predicted > 0
    elif fault == "larger":
        confidence = np.vstack([confidence, confidence])
    elif fault == "smaller":
        confidence = confidence[:-1]
    else:
        (truth if fault == "id of the truth" else predicted)[0, 0] = 11
    with pytest.raises(ValueError, match=r"expected|truth is"):
        counted.add(truth, predicted, confidence)
    assert counted.counts() == before
    np.testing.assert_array_equal(counted.predicted_pixels, pixels)


def test_without_frames_there_is_nothing_to_measure():
    report = ScoreAccumulator(11, boundary=True).report(CLASSES)
    values = [
        v
        for score in report.values()
        for v in (score.values() if isinstance(score, dict) else [score])
    ]
    assert set(values) == {None}


@pytest.mark.parametrize("classes", [0, 255, 256])
def test_numbers_of_classes_that_labels_cannot_have_are_refused(classes):
    with pytest.raises(ValueError, match=f"{classes} classes: expected 1 to 254"):
        ScoreAccumulator(classes)


@pytest.mark.parametrize("classes", [1, 254])
def test_the_ids_of_all_classes_count_and_the_next_one_is_named(classes):
    counted = ScoreAccumulator(classes)
    largest = np.full((2, 2), classes - 1, np.uint8)
    next_ones = np.array([[classes, 254]], np.uint8).repeat(2, axis=0)
    assert counted.add(largest, largest)[-1, -2] == 4
    for frame in ((next_ones, largest), (largest, next_ones)):
        with pytest.raises(ValueError, match=f"id {classes}: expected 0 to {classes - 1}, or 255"):
            counted.add(*frame)
