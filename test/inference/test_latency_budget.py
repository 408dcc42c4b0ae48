"""The latency budget, driven by simulated times."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.inference.latency_budget import (
    MAX_HOLD,
    MAX_SETTINGS,
    WINDOW,
    LatencyBudget,
    Setting,
    predict,
    reduced_settings,
)
from camss_ros.inference.network_size import nearest_size
from camss_ros.model.schedule import SamplingOptions

SIZE = (352, 480)
ASKED = SamplingOptions(steps=4, samples=4, temperature=1.0)
STAGES = ("preprocess", "tokens", "transformer", "sampling", "decode", "postprocess")


class Machine:
    """Takes the time that the stages of a setting take, times `load`, and 2 ms beside them."""

    def __init__(self, one_graph: bool = False) -> None:
        self.load = 1.0
        self.one_graph = one_graph
        self.noise = np.random.default_rng(0)

    def run(self, setting: Setting) -> tuple[float, dict[str, float]]:
        area = setting.size[0] * setting.size[1] / (SIZE[0] * SIZE[1])
        samples, steps = setting.sampling.samples, setting.sampling.steps
        milliseconds = (1, 10 * area, 15 * area, 2 * area * samples * steps, 5 * area * samples, 1)
        factor = 1e-3 * self.load * self.noise.uniform(0.97, 1.03)
        timings = {name: factor * value for name, value in zip(STAGES, milliseconds, strict=True)}
        total = sum(timings.values())
        if self.one_graph:
            network = sum(timings.pop(name) for name in STAGES[1:5])
            timings["network"] = network
        return total + 2e-3 * self.load, {**timings, "total": total}


def drive(
    budget: LatencyBudget,
    seconds: float,
    settings: tuple[Setting, ...],
    run: Callable[[Setting], tuple[float, dict[str, float]]],
    frames: int,
) -> tuple[list[Setting], list[float]]:
    chosen, latencies = [], []
    for _ in range(frames):
        chosen.append(budget.choose(seconds, settings))
        latency, timings = run(chosen[-1])
        budget.observe(latency, timings)
        latencies.append(latency)
    return chosen, latencies


def changes(chosen: list[Setting]) -> int:
    return sum(one != other for one, other in pairwise(chosen))


@given(
    st.integers(1, 1000), st.integers(1, 64), st.booleans(), st.integers(1, 60), st.integers(1, 60)
)
def test_the_settings_go_down_from_what_is_asked_to_the_least(
    steps, samples, smaller, rows, columns
):
    sampling = SamplingOptions(steps=steps, samples=samples, warm_start_time=300)
    size = (16 * rows, 16 * columns)
    settings = reduced_settings(sampling, size, smaller)
    assert settings[0] == Setting(sampling, size)
    assert (settings[-1].sampling.steps, settings[-1].sampling.samples) == (1, 1)
    assert len(settings) <= MAX_SETTINGS
    cost = [s.sampling.steps * s.sampling.samples * s.size[0] * s.size[1] for s in settings]
    assert all(after < before for before, after in pairwise(cost))
    assert all(side % 16 == 0 and side > 0 for s in settings for side in s.size)
    assert settings[-1].size == (nearest_size(size, 0.5) if smaller else size)
    assert smaller or {s.size for s in settings} == {size}
    assert {s.sampling.warm_start_time for s in settings} == {300}


def test_with_time_enough_what_is_asked_is_done():
    chosen, _ = drive(LatencyBudget(), 0.2, reduced_settings(ASKED, SIZE), Machine().run, 500)
    assert set(chosen) == {Setting(ASKED, SIZE)}


def test_half_the_time_is_kept_after_a_few_frames_without_flapping():
    machine, settings = Machine(), reduced_settings(ASKED, SIZE, smaller=True)
    whole = machine.run(settings[0])[0]
    budget = LatencyBudget()
    chosen, latencies = drive(budget, whole / 2, settings, machine.run, 2000)
    assert np.percentile(latencies, 95) < whole / 2
    assert max(latencies[10:]) < whole / 2
    assert changes(chosen) == 1
    assert not budget.exhausted
    # not further down than needed: the one above would not leave the margin
    above = settings[settings.index(chosen[-1]) - 1]
    assert machine.run(above)[0] > 0.8 * whole / 2


def test_it_follows_the_load_down_and_up_again():
    machine, settings = Machine(), reduced_settings(ASKED, SIZE)
    budget = LatencyBudget()
    assert drive(budget, 0.1, settings, machine.run, 200)[0][-1] == settings[0]
    machine.load = 2.0
    chosen, latencies = drive(budget, 0.1, settings, machine.run, 300)
    assert chosen[-1] in settings[1:]
    assert max(latencies[10:]) < 0.1
    machine.load = 1.0
    chosen, latencies = drive(budget, 0.1, settings, machine.run, 600)
    assert chosen[-1] == settings[0]
    assert max(latencies) < 0.1


def test_it_goes_up_by_one_after_a_whole_window_each() -> None:
    machine, settings = Machine(), reduced_settings(ASKED, SIZE)
    budget = LatencyBudget()
    machine.load = 8.0
    down = settings.index(drive(budget, 0.15, settings, machine.run, 200)[0][-1])
    machine.load = 1.0
    chosen, _ = drive(budget, 0.15, settings, machine.run, (down + 2) * WINDOW)
    levels = np.array([settings.index(setting) for setting in chosen])
    steps = np.diff(levels)
    assert down >= 3
    assert set(steps.tolist()) == {0, -1}
    assert levels[-1] == 0
    assert np.diff(np.flatnonzero(steps)).min() >= WINDOW


def test_an_impossible_budget_ends_at_the_least_setting_and_is_told():
    settings = reduced_settings(ASKED, SIZE, smaller=True)
    budget = LatencyBudget()
    chosen, _ = drive(budget, 0.001, settings, Machine().run, 20)
    assert chosen[-1] == settings[-1]
    assert changes(chosen) == 1
    assert budget.exhausted
    assert set(drive(budget, 0.001, settings, Machine().run, 1000)[0]) == {settings[-1]}
    assert budget.exhausted


def test_what_no_longer_is_over_is_no_longer_told():
    machine, settings = Machine(), reduced_settings(SamplingOptions(steps=1), SIZE)
    machine.load = 10.0
    budget = LatencyBudget()
    drive(budget, 0.1, settings, machine.run, 50)
    assert budget.exhausted
    machine.load = 1.0
    drive(budget, 0.1, settings, machine.run, 2 * WINDOW)
    assert not budget.exhausted


def test_single_late_frames_change_nothing():
    machine, settings = Machine(), reduced_settings(ASKED, SIZE)
    count = 0

    def run(setting):
        nonlocal count
        count += 1
        latency, timings = machine.run(setting)
        return (1.0 if count % 40 == 0 else latency), timings

    chosen, _ = drive(LatencyBudget(), 0.2, settings, run, 1000)
    assert changes(chosen) == 0


def test_a_graph_goes_down_by_one_and_tries_the_higher_ever_more_seldom():
    machine, settings = Machine(one_graph=True), reduced_settings(ASKED, SIZE)
    whole = machine.run(settings[0])[0]
    frames = 20 * WINDOW + 2 * MAX_HOLD
    chosen, latencies = drive(LatencyBudget(), whole / 2, settings, machine.run, frames)
    levels = [settings.index(setting) for setting in chosen]
    assert all(abs(after - before) <= 1 for before, after in pairwise(levels))
    assert np.percentile(latencies, 95) < whole / 2
    assert changes(chosen[-MAX_HOLD:]) <= 2


def test_another_budget_or_other_settings_start_over():
    machine, settings = Machine(), reduced_settings(ASKED, SIZE)
    budget = LatencyBudget()
    drive(budget, 0.001, settings, machine.run, 20)
    assert budget.choose(0.2, settings) == settings[0]
    drive(budget, 0.001, settings, machine.run, 20)
    assert budget.choose(0.001, settings[:-1]) == settings[0]
    assert not budget.exhausted


def test_the_prediction_scales_each_stage_by_what_it_depends_on():
    now, then = Setting(ASKED, SIZE), Setting(SamplingOptions(steps=2, samples=1), (176, 240))
    timings = dict.fromkeys((*STAGES, "total"), 1.0)
    # 1/4 of tokens and transformer, 1/32 of sampling, 1/16 of decode, all of the rest
    assert predict(10.0, timings, now, then) == 10 - 4 + 1 / 4 + 1 / 4 + 1 / 32 + 1 / 16
