"""A model takes the place of another between two frames, or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from types import SimpleNamespace

import pytest
from ros_peer import wait_until
from scripted_node import ScriptedSegmenter

from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader, SupersededError
from camss_ros.nodes.segmenter.parameters import SPECS, ParameterValues

VALUES = ParameterValues({spec.name: spec.default for spec in SPECS})


def loaded() -> LoadedModel:
    return LoadedModel(ScriptedSegmenter(), SimpleNamespace(), VALUES)  # type: ignore[arg-type]


@pytest.fixture
def models() -> ModelReloader:
    """With a model."""
    reloader = ModelReloader()
    reloader.replace(reloader.begin(), loaded, lambda _: None)
    return reloader


def test_one_that_cannot_be_made_ready_is_closed() -> None:
    segmenter = ScriptedSegmenter()

    def prepare(*_: object) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        LoadedModel.load(lambda _: segmenter, VALUES, prepare)  # type: ignore[arg-type,return-value]
    assert segmenter.closed


def test_another_one_takes_over_between_two_frames(models: ModelReloader) -> None:
    old, new, announced = models.current, loaded(), threading.Event()
    assert old is not None
    with models.in_use(lambda: False) as model:
        assert model is old
        replacing = threading.Thread(
            target=models.replace, args=[models.begin(), lambda: new, lambda _: announced.set()]
        )
        replacing.start()
        assert not announced.wait(0.2)
        assert models.current is old
    replacing.join(10)
    assert announced.is_set()
    assert old.segmenter.closed  # type: ignore[attr-defined]
    with models.in_use(lambda: False) as model:
        assert model is new


@pytest.mark.parametrize("later", ["release", "begin"])
def test_one_that_is_not_wanted_any_more_is_closed(models: ModelReloader, later: str) -> None:
    before, late = models.current, loaded()

    def load() -> LoadedModel:
        getattr(models, later)()
        return late

    with pytest.raises(SupersededError):
        models.replace(models.begin(), load, lambda _: pytest.fail("announced"))
    assert late.segmenter.closed  # type: ignore[attr-defined]
    assert models.current is (before if later == "begin" else None)


@pytest.mark.parametrize("what", ["load", "announce"])
def test_a_failure_leaves_the_model_in_use(models: ModelReloader, what: str) -> None:
    before, late = models.current, loaded()

    def fail(*_: object) -> LoadedModel:
        raise ValueError("truncated")

    load = fail if what == "load" else lambda: late
    with pytest.raises(ValueError, match="truncated"):
        models.replace(models.begin(), load, fail)
    assert models.current is before
    assert late.segmenter.closed == (what == "announce")  # type: ignore[attr-defined]


def test_who_is_not_wanted_any_more_waits_for_no_frame(models: ModelReloader) -> None:
    """A device may hang."""
    late = loaded()
    with ThreadPoolExecutor() as pool, models.in_use(lambda: False):
        replacing = pool.submit(models.replace, models.begin(), lambda: late, lambda _: None)
        with pytest.raises(TimeoutError):
            replacing.result(0.1)
        models.begin()
        with pytest.raises(SupersededError):
            replacing.result(30)
    assert late.segmenter.closed  # type: ignore[attr-defined]


def test_who_has_waited_for_one_that_was_replaced_gets_the_other(models: ModelReloader) -> None:
    old, new = models.current, loaded()
    assert old is not None

    def use() -> LoadedModel:
        with models.in_use(lambda: False) as model:
            return model

    old.busy.acquire()
    with ThreadPoolExecutor() as pool:
        using = pool.submit(use)
        with pytest.raises(TimeoutError):
            using.result(0.1)
        models.current = new
        old.busy.release()
        assert using.result(10) is new


def test_one_in_use_is_closed_after_its_frame(models: ModelReloader) -> None:
    with models.in_use(lambda: False) as model:
        models.release()  # at once
        assert not model.segmenter.closed  # type: ignore[attr-defined]
    wait_until(lambda: model.segmenter.closed, "the model freed")  # type: ignore[attr-defined]
    with pytest.raises(SupersededError), models.in_use(lambda: False):
        pass


def test_who_waits_for_it_can_be_cancelled(models: ModelReloader) -> None:
    with models.in_use(lambda: False), pytest.raises(SupersededError):  # noqa: SIM117
        with models.in_use(lambda: True):
            pass
