"""How good the confidence is: by hand and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.metrics import reliability
from camss_ros.images.label_sets import load_label_set

CLASSES = load_label_set("camvid11").classes[:3]


def count(truth, predicted, confidence):
    counted = ScoreAccumulator(3)
    counted.add(*(np.array([row], np.uint8) for row in (truth, predicted, confidence)))
    return counted


def test_by_hand():
    # Two bins. Lower: 51 and 102 (0.2, 0.4), one of them right. Upper: 204 (0.8) right, 255 wrong.
    counted = count([0, 1, 2, 0], [0, 2, 2, 1], [51, 102, 204, 255])
    result = reliability(*np.array(counted.counts()["calibration"]), bins=2)
    assert result.pixels.tolist() == [2, 2]
    np.testing.assert_allclose(result.confidence, [0.3, 0.9])
    np.testing.assert_allclose(result.accuracy, [0.5, 0.5])
    assert result.expected_calibration_error == pytest.approx((0.2 + 0.4) / 2)


def test_how_well_confidence_finds_wrong_pixels_by_hand():
    # Right: 204, 102. Wrong: 51, 102. Of four pairs three are in order, and one is a tie.
    found = count([0, 1, 2, 0], [0, 1, 0, 1], [204, 102, 51, 102]).report(CLASSES)
    assert found["wrong_pixel_auroc"] == pytest.approx(3.5 / 4)
    assert count([0, 1], [0, 1], [9, 8]).report(CLASSES)["wrong_pixel_auroc"] is None


def test_void_does_not_count_and_empty_bins_are_nan():
    result = count([0, 255], [0, 0], [255, 0]).reliability()
    assert result.pixels.tolist() == [0] * 14 + [1]
    assert np.isnan(result.accuracy[:14]).all()
    assert result.expected_calibration_error == 0
    assert np.isnan(count([255], [0], [9]).reliability().expected_calibration_error)


@given(data=st.data())
def test_against_torchmetrics(data):
    truth = data.draw(hnp.arrays(np.uint8, (4, 8), elements=st.sampled_from([0, 1, 2, 255])))
    predicted = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, 2)))
    # An edge (a multiple of 17) falls to either side of it in float32, and torchmetrics gives a
    # confidence of exactly 1 a bin of its own.
    level = st.integers(0, 254).filter(lambda value: value % 17)
    confidence = data.draw(hnp.arrays(np.uint8, truth.shape, elements=level))
    counted = ScoreAccumulator(3)
    counted.add(truth, predicted, confidence)
    known = truth != 255
    if not known.any():
        return
    expected = binary_calibration_error(
        torch.from_numpy(confidence[known] / 255.0),
        torch.from_numpy((truth == predicted)[known]).long(),
        n_bins=15,
        norm="l1",
    )
    found = counted.reliability().expected_calibration_error
    assert found == pytest.approx(float(expected), abs=1e-6)
    right = torch.from_numpy((truth == predicted)[known]).long()
    if 0 < right.sum() < len(right):
        area = binary_auroc(torch.from_numpy(confidence[known] / 255.0), right)
        assert counted.report(CLASSES)["wrong_pixel_auroc"] == pytest.approx(float(area), abs=1e-5)


def test_bad_confidence_is_named():
    labels = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="confidence is float64"):
        ScoreAccumulator(3).add(labels, labels, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"confidence is uint8 \(3, 2\)"):
        ScoreAccumulator(3).add(labels, labels, np.zeros((3, 2), np.uint8))
