"""Flicker of a clip: cases worked by hand."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camss_ros.evaluation.accumulator import ScoreAccumulator


def flicker(*frames):
    """Of (truth, predicted) rows."""
    counted = ScoreAccumulator(3)
    for truth, predicted in frames:
        counted.add(np.array([truth], np.uint8), np.array([predicted], np.uint8))
    return counted


def test_by_hand():
    # Pixel 0 stays and flips; 1 stays and keeps; 2 changes in truth; 3 is void first, 4 later.
    first = ([0, 1, 1, 255, 2], [0, 2, 1, 0, 2])
    second = ([0, 1, 2, 2, 255], [1, 2, 2, 1, 1])
    counted = flicker(first, second)
    assert counted.counts()["flicker"] == [2, 1]
    assert counted.flicker() == 0.5


def test_a_wrong_but_steady_prediction_does_not_flicker():
    assert flicker(([0, 0], [1, 1]), ([0, 0], [1, 1])).flicker() == 0


def test_only_neighbours_in_time_are_compared():
    counted = flicker(([0], [0]), ([0], [1]), ([0], [0]))
    assert counted.counts()["flicker"] == [2, 2]


def test_one_frame_has_no_rate():
    assert np.isnan(flicker(([0], [0])).flicker())


@given(data=st.data())
def test_against_counting(data):
    ids = st.sampled_from([0, 1, 2, 255])
    clip = data.draw(hnp.arrays(np.uint8, (3, 2, 2, 4), elements=ids))
    counted = ScoreAccumulator(3)
    for truth, predicted in clip:
        counted.add(truth, predicted)
    steady = changed = 0
    for (truth, predicted), (next_truth, next_predicted) in itertools.pairwise(clip):
        for t, p, nt, np_ in zip(
            truth.flat, predicted.flat, next_truth.flat, next_predicted.flat, strict=True
        ):
            if t == nt != 255:
                steady += 1
                changed += p != np_
    assert counted.counts()["flicker"] == [steady, changed]


def test_a_clip_is_broken_on_request_by_another_size_and_by_a_frame_without_truth():
    rows = [np.array([row], np.uint8) for row in ([0], [1])]
    counted = flicker(([0], [0]), ([0, 0], [1, 1]), ([0], [0]))
    counted.end_sequence()
    counted.add(rows[0], rows[1])
    counted.add_unlabelled(rows[0])
    counted.add(rows[0], rows[0])
    assert counted.counts()["flicker"] == [0, 0]
    counted.add(rows[0], rows[1])
    assert counted.flicker() == 1


def test_the_arrays_of_a_frame_may_be_used_again():
    truth, predicted = np.zeros((2, 10, 10), np.uint8)
    counted = ScoreAccumulator(3)
    for label in (0, 1, 0):
        predicted[:] = label
        counted.add(truth, predicted)
    assert counted.flicker() == 1.0
