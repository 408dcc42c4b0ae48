"""Segmentation scores: cases worked by hand and counting by brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional import classification as oracle

from camss_ros.evaluation.accumulator import ScoreAccumulator

NAN = float("nan")


def scores(truth, predicted, classes):
    counted = ScoreAccumulator(classes)
    counted.add(np.array([truth], np.uint8), np.array([predicted], np.uint8))
    return counted.scores()


def test_by_hand():
    # class 0: 2 hits, 1 missed as 1; class 1: 1 hit; class 2 occurs nowhere.
    result = scores([0, 0, 0, 1], [0, 0, 1, 1], 3)
    np.testing.assert_allclose(result.per_class_iou, [2 / 3, 1 / 2, NAN])
    np.testing.assert_allclose(result.per_class_precision, [1, 1 / 2, NAN])
    np.testing.assert_allclose(result.per_class_recall, [2 / 3, 1, NAN])
    assert result.miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.precision_void_excluded == pytest.approx(3 / 4)
    assert result.pixel_accuracy == pytest.approx(3 / 4)
    np.testing.assert_allclose(result.per_class_f1, [4 / 5, 2 / 3, NAN])
    assert result.mean_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert result.mean_recall == pytest.approx((2 / 3 + 1) / 2)
    assert result.frequency_weighted_iou == pytest.approx((3 * 2 / 3 + 1 / 2) / 4)


def test_void_in_the_truth_counts_nowhere():
    with_void = scores([0, 255, 255, 1], [0, 1, 0, 1], 2)
    assert with_void.miou == with_void.pixel_accuracy == with_void.precision_void_excluded == 1


def test_void_in_the_prediction_is_a_miss_that_precision_does_not_see():
    result = scores([0, 0, 1, 1], [0, 255, 1, 1], 2)
    np.testing.assert_allclose(result.per_class_iou, [1 / 2, 1])
    assert result.precision_void_excluded == 1
    assert result.pixel_accuracy == 3 / 4


def test_class_that_is_only_predicted_counts_as_zero():
    result = scores([0, 0], [0, 1], 3)
    np.testing.assert_allclose(result.per_class_iou, [1 / 2, 0, NAN])
    assert result.miou == 1 / 4


def test_class_that_is_never_predicted_is_no_part_of_the_mean_precision():
    result = scores([0, 1], [0, 0], 2)
    assert result.precision_void_excluded == 1 / 2
    assert result.mean_precision == 1 / 4
    assert result.miou == 1 / 4


def test_nothing_counted_is_nan():
    result = ScoreAccumulator(2).scores()
    assert np.isnan([result.miou, result.pixel_accuracy, result.precision_void_excluded]).all()


def test_images_add_up():
    whole, parts = ScoreAccumulator(3), ScoreAccumulator(3)
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 8, 9)).astype(np.uint8)
    whole.add(truth, predicted)
    own = [parts.add(truth[rows], predicted[rows]) for rows in (slice(5), slice(5, None))]
    np.testing.assert_array_equal(sum(own), whole.confusion)
    np.testing.assert_array_equal(parts.confusion, whole.confusion)


labels = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.sampled_from([0, 1, 2, 3, 255]),
)  # fmt: skip


@given(data=st.data())
def test_against_sets_of_pixels(data):
    truth = data.draw(labels)
    predicted = data.draw(
        hnp.arrays(np.uint8, truth.shape, elements=st.sampled_from([0, 1, 2, 255]))
    )
    counted = ScoreAccumulator(4)
    counted.add(truth, predicted)
    result = counted.scores()
    pixels = list(zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True))
    known = {i for i, (t, _) in enumerate(pixels) if t != 255}
    ious, precisions = [], []
    for c in range(4):
        true = {i for i in known if pixels[i][0] == c}
        guessed = {i for i in known if pixels[i][1] == c}
        if true | guessed:
            ious.append(len(true & guessed) / len(true | guessed))
            assert result.per_class_iou[c] == pytest.approx(ious[-1])
        else:
            assert np.isnan(result.per_class_iou[c])
        if guessed:
            precisions.append(len(true & guessed) / len(guessed))
    right = [i for i in known if pixels[i][0] == pixels[i][1]]
    assert result.miou == pytest.approx(np.mean(ious) if ious else NAN, nan_ok=True)
    assert result.precision_void_excluded == pytest.approx(
        np.mean(precisions) if precisions else NAN, nan_ok=True
    )
    assert result.pixel_accuracy == pytest.approx(
        len(right) / len(known) if known else NAN, nan_ok=True
    )


@given(data=st.data())
def test_against_torchmetrics(data):
    classes = 4
    truth = data.draw(labels)
    predicted = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, classes - 1)))
    counted = ScoreAccumulator(classes)
    counted.add(truth, predicted)
    result = counted.scores()
    if not counted.confusion.any():
        return
    arguments = (torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())

    def expected(score, average):
        return score(*arguments, classes, average=average, ignore_index=255).numpy()

    for score, per_class, mean in (
        (oracle.multiclass_precision, result.per_class_precision, result.mean_precision),
        (oracle.multiclass_recall, result.per_class_recall, result.mean_recall),
        (oracle.multiclass_f1_score, result.per_class_f1, result.mean_f1),
    ):
        np.testing.assert_allclose(np.nan_to_num(per_class), expected(score, "none"), rtol=1e-6)
        assert mean == pytest.approx(float(expected(score, "macro")))
    jaccard = oracle.multiclass_jaccard_index
    weighted = float(expected(jaccard, "weighted"))
    assert result.frequency_weighted_iou == pytest.approx(weighted)
    np.testing.assert_allclose(
        np.nan_to_num(result.per_class_iou), expected(jaccard, "none"), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 4, np.uint8), "predicted has the class id 4"),
        (np.full((2, 2), 9, np.uint8), np.zeros((2, 2), np.uint8), "truth has the class id 9"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), r"\(2, 2\).*\(2, 3\)"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.int64), "int64"),
    ],
)
def test_bad_input_is_named(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        ScoreAccumulator(4).add(truth, predicted)
