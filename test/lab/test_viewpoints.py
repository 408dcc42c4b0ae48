"""The synthetic street seen by cameras that are mounted otherwise."""

import numpy as np
import pytest

from camss_ros.lab.conditions import VIEWPOINTS, ViewpointFrames
from camss_ros.street.synthetic import SyntheticStreet, ViewShift

SKY, ROAD = 0, 3


@pytest.fixture(scope="module")
def street():
    return SyntheticStreet(1, height=120, width=160)


def lowest_sky(label):
    return np.argwhere(label == SKY)[:, 0].max()


def test_no_shift_is_the_usual_camera(street):
    for shifted, usual in zip(street.frame(4, ViewShift()), street.frame(4), strict=True):
        np.testing.assert_array_equal(shifted, usual)


def test_pitch_and_height_move_the_horizon_and_the_ground(street):
    usual = street.frame(4)[1]
    assert lowest_sky(street.frame(4, ViewShift(pitch=6))[1]) < lowest_sky(usual) - 5
    assert lowest_sky(street.frame(4, ViewShift(pitch=-6))[1]) > lowest_sky(usual) + 5
    # From higher up the horizon stays where it is.
    assert abs(lowest_sky(street.frame(4, ViewShift(height=1))[1]) - lowest_sky(usual)) <= 6


@pytest.mark.parametrize("roll", [-20, 7])
def test_roll_turns_picture_and_labels_about_the_middle(street, roll):
    image, label = street.frame(4)
    turned, turned_label = street.frame(4, ViewShift(roll=roll))
    angle = np.deg2rad(roll)
    y, x = np.mgrid[-40:41:4, -40:41:4]
    # A camera that rolls clockwise sees the scene turned the other way.
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    at = np.round(59.5 + y).astype(int), np.round(79.5 + x).astype(int)
    to = np.round(59.5 + v).astype(int), np.round(79.5 + u).astype(int)
    assert (turned_label[to] == label[at]).mean() > 0.9
    error = np.abs(turned[to].astype(int) - image[at])
    assert np.median(error) < 12


def test_lateral_moves_to_the_right(street):
    def middle_of_road(label):
        return np.argwhere(label[-10:] == ROAD)[:, 1].mean()

    assert middle_of_road(street.frame(4, ViewShift(lateral=2.5))[1]) < middle_of_road(
        street.frame(4, ViewShift(lateral=-2.5))[1]
    )


def test_frames_are_of_the_same_places_for_every_shift():
    assert set(VIEWPOINTS) == set(vars(ViewShift()))
    usual = ViewpointFrames(3, streets=2)
    shifted = ViewpointFrames(3, ViewShift(height=0.6), streets=2)
    assert [usual[i][2] for i in range(3)] == [shifted[i][2] for i in range(3)]
    assert len({usual[i][2] for i in range(3)}) == 3
    image, label, _ = shifted[2]
    assert image.shape == (360, 480, 3)
    assert label.shape == (360, 480)
    assert not np.array_equal(image, usual[2][0])
    with pytest.raises(IndexError, match="frame 3 of 3"):
        usual[3]
