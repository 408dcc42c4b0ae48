"""The rate search on simulated systems."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.lab.rate_search import RateTrial, find_highest_rate


def one_at_a_time(service, publisher=1e9, noise=0.0, seed=0):
    """A system as the segmenter: one image in work for `service` s, the newest one waits."""
    rng = np.random.default_rng(seed)

    def try_rate(rate, confirm):
        sent = min(rate, publisher)
        count = 600 if confirm else 200
        free, waiting, done = 0.0, None, 0
        for arrival in np.arange(count) / sent:
            while waiting is not None and free <= arrival:
                start = max(free, waiting)
                free, waiting, done = start + service * (1 + noise * rng.random()), None, done + 1
            waiting = arrival
        return RateTrial(rate, sent, 1 - (done + 1) / count)

    return try_rate


@given(st.floats(0.004, 0.8))
def test_finds_the_rate_of_the_service(service):
    result = find_highest_rate(one_at_a_time(service), 1.0, 300.0)
    assert result.trial is not None
    assert result.limited_by == "drops"
    # up to 5 % drops are allowed, and the search stops within 5 %
    assert 0.94 / service < result.trial.asked < 1.06 / service
    assert len(result.trials) < 20


def test_the_confirming_trial_counts():
    calls = []

    def lucky_when_short(rate, confirm):
        calls.append((rate, confirm))
        return RateTrial(rate, rate, 0.2 if rate > (20 if confirm else 30) else 0.0)

    result = find_highest_rate(lucky_when_short, 1.0, 100.0)
    assert result.trial.asked <= 20
    assert result.trial.asked > 18
    assert calls[-1] == (result.trial.asked, True)
    assert result.trials[-1] is result.trial
    assert result.limited_by == "drops"


def test_a_noisy_system_gives_a_rate_that_was_confirmed():
    result = find_highest_rate(one_at_a_time(0.05, noise=0.3), 1.0, 100.0)
    assert result.trial.passed
    assert 14 < result.trial.asked < 22


def test_a_publisher_that_cannot_keep_up_is_told_from_drops():
    result = find_highest_rate(one_at_a_time(0.001, publisher=40), 1.0, 200.0)
    assert result.limited_by == "publisher"
    assert 37 < result.trial.asked < 43


def test_the_bounds_are_respected():
    asked = []

    def works(rate, confirm):
        asked.append(rate)
        return RateTrial(rate, rate, 0.0)

    result = find_highest_rate(works, 3.0, 50.0)
    assert (min(asked), max(asked)) == (3.0, 50.0)
    assert (result.trial.asked, result.limited_by) == (50.0, "highest rate")

    nothing = find_highest_rate(lambda rate, confirm: RateTrial(rate, rate, 1.0), 3.0, 50.0)
    assert (nothing.trial, nothing.limited_by) == (None, "drops")
    assert [trial.asked for trial in nothing.trials] == [3.0]


@pytest.mark.parametrize("bounds", [(0, 1), (5, 5), (9, 3), (-1, 2)])
def test_bounds_that_make_no_sense_are_refused(bounds):
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        find_highest_rate(one_at_a_time(0.1), *bounds)
