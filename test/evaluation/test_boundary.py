"""Boundary IoU: cases worked by hand and distances by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.boundary import boundary_counts
from camss_ros.images.label_sets import load_label_set


def boundary_iou(truth, predicted, classes=2):
    counted = ScoreAccumulator(classes, boundary=True)
    counted.add(truth, predicted)
    return counted.boundary_iou()


def test_by_hand():
    # 12 x 12, d = 1: a square of 6 x 6 has 20 boundary pixels. Moved by one pixel, its ring keeps
    # the 5 + 5 pixels of each of two sides' overlap with the old one.
    truth = np.zeros((12, 12), np.uint8)
    predicted = truth.copy()
    truth[3:9, 3:9] = 1
    predicted[3:9, 4:10] = 1
    result = boundary_iou(truth, predicted)
    # top and bottom edges share 5 pixels each; the left and right edges share none
    assert result[1] == pytest.approx(10 / 30)


def test_inside_of_a_class_does_not_count():
    truth = np.zeros((30, 30), np.uint8)
    truth[:, 15:] = 1
    predicted = truth.copy()
    predicted[10:20, 4:8] = 255  # far from every contour of class 0 in the truth
    result = boundary_iou(truth, predicted)
    assert result[1] == 1
    assert result[0] < 1  # but the hole in the prediction has a contour of its own


def test_void_is_no_contour_and_is_not_counted():
    truth = np.zeros((9, 30), np.uint8)
    truth[:, 10:20] = 255
    truth[:, 20:] = 1
    predicted = np.where(np.arange(30) < 15, 0, 1).astype(np.uint8)[None].repeat(9, axis=0)
    # d = 1: the sides at the image's border only
    np.testing.assert_array_equal(boundary_counts(truth, predicted, 2), [[9 + 2 * 9] * 2] * 2)


def test_class_that_does_not_occur_is_no_part_of_the_mean():
    labels = np.zeros((8, 8), np.uint8)
    counted = ScoreAccumulator(3, boundary=True)
    counted.add(labels, labels)
    np.testing.assert_array_equal(counted.boundary_iou(), [1, np.nan, np.nan])
    classes = load_label_set("camvid11").classes[:3]
    assert counted.report(classes)["boundary_iou"] == 1


def test_images_add_up_and_only_where_asked_for():
    labels = np.zeros((8, 8), np.uint8)
    other = np.ones_like(labels)
    counted, plain = ScoreAccumulator(2, boundary=True), ScoreAccumulator(2)
    for truth, predicted in ((labels, labels), (labels, other), (other, other), (other, other)):
        counted.add(truth, predicted)
        plain.add(truth, predicted)
    np.testing.assert_allclose(counted.boundary_iou(), [1 / 2, 2 / 3])
    assert np.isnan(plain.boundary_iou()).all()


def test_first_and_last_class_that_there_may_be():
    truth = np.zeros((12, 12), np.uint8)
    truth[:, 6:] = 253
    predicted = truth.copy()
    predicted[:, 6:] = 255  # void: a contour of class 0 all the same
    counts = boundary_counts(truth, predicted, 254)
    assert counts[:, 0].tolist() == [2 * 12 + 2 * 4, 2 * 12 + 2 * 4]
    assert counts[:, 253].tolist() == [0, 2 * 12 + 2 * 4]


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

    intersection, union = boundary_counts(truth, predicted, 2, ratio)
    for class_id in range(2):
        one, other = region(truth, class_id), region(predicted, class_id)
        assert (intersection[class_id], union[class_id]) == (len(one & other), len(one | other))
