"""Boundary IoU: cases worked by hand and distances by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camss_ros.evaluation.boundary import BoundaryIoU


def scores(truth, predicted, classes=2, ratio=0.02):
    counted = BoundaryIoU(classes, ratio)
    counted.add(truth, predicted)
    return counted.scores()


def test_by_hand():
    # 12 x 12, d = 1: a square of 6 x 6 has 20 boundary pixels. Moved by one pixel, its ring keeps
    # the 5 + 5 pixels of each of two sides' overlap with the old one.
    truth = np.zeros((12, 12), np.uint8)
    predicted = truth.copy()
    truth[3:9, 3:9] = 1
    predicted[3:9, 4:10] = 1
    result = scores(truth, predicted)
    # top and bottom edges share 5 pixels each; the left and right edges share none
    assert result.per_class[1] == pytest.approx(10 / 30)


def test_inside_of_a_class_does_not_count():
    truth = np.zeros((30, 30), np.uint8)
    truth[:, 15:] = 1
    predicted = truth.copy()
    predicted[10:20, 4:8] = 255  # far from every contour of class 0 in the truth
    result = scores(truth, predicted)
    assert result.per_class[1] == 1
    assert result.per_class[0] < 1  # but the hole in the prediction has a contour of its own


def test_void_is_no_contour_and_is_not_counted():
    truth = np.zeros((9, 30), np.uint8)
    truth[:, 10:20] = 255
    truth[:, 20:] = 1
    predicted = np.where(np.arange(30) < 15, 0, 1).astype(np.uint8)[None].repeat(9, axis=0)
    counted = BoundaryIoU(2)
    counted.add(truth, predicted)
    np.testing.assert_array_equal(counted.scores().per_class, [1, 1])
    # d = 1: the sides at the image's border only
    np.testing.assert_array_equal(counted.union, [9 + 2 * 9] * 2)


def test_class_that_does_not_occur_is_no_part_of_the_mean():
    labels = np.zeros((8, 8), np.uint8)
    result = scores(labels, labels, classes=3)
    assert result.mean == 1
    assert np.isnan(result.per_class[1:]).all()


images = hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 0, 0, 1, 1, 255]))


@given(truth=images, predicted=images, ratio=st.sampled_from([0.02, 0.15, 0.3]))
def test_against_distances(truth, predicted, ratio):
    distance = max(1, round(ratio * np.hypot(9, 11)))
    known = [(y, x) for y in range(9) for x in range(11) if truth[y, x] != 255]
    outside = [
        (y, x)
        for y in range(-distance, 9 + distance)
        for x in range(-distance, 11 + distance)
        if not (0 <= y < 9 and 0 <= x < 11)
    ]

    def region(labels, class_id):
        inside = [p for p in known if labels[p] == class_id]
        other = outside + [p for p in known if labels[p] != class_id]
        return {
            (y, x)
            for y, x in inside
            if any(max(abs(y - v), abs(x - u)) <= distance for v, u in other)
        }

    result = scores(truth, predicted, ratio=ratio)
    for class_id in range(2):
        one, other = region(truth, class_id), region(predicted, class_id)
        if one | other:
            expected = len(one & other) / len(one | other)
            assert result.per_class[class_id] == pytest.approx(expected)
        else:
            assert np.isnan(result.per_class[class_id])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="predicted has the class id 7"):
        scores(np.zeros((3, 3), np.uint8), np.full((3, 3), 7, np.uint8))
