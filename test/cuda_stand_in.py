"""`torch.cuda` on the CPU, as far as `FrameGraphs` needs it: graphs that are recorded operation by
operation and run again on the same memory, and counts of what happens outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU = torch.device("cpu")

# What waits for the GPU, or copies from memory that is not pinned: no part of a capture.
_FORBIDDEN = {
    "aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero",
    "aten::masked_select", "aten::lift_fresh", "aten::_unique2",
}  # fmt: skip


def _name(operation: Any) -> str:
    return operation._schema.name


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []
        self.generators: list[torch.Generator] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        assert not self.calls, "before the capture"
        self.generators.append(generator)

    def replay(self) -> None:
        log = StandIn.current.log
        kept = list(log)
        for operation, arguments, keywords, outputs in self.calls:
            again = tree_leaves(operation(*arguments, **keywords))
            for old, new in zip(outputs, again, strict=True):
                if isinstance(old, torch.Tensor) and not _is_alias(old, new):
                    old.copy_(new)
        log[:] = [*kept, "replay"]


def _is_alias(old: torch.Tensor, new: torch.Tensor) -> bool:
    return old.untyped_storage().data_ptr() == new.untyped_storage().data_ptr()


class _Capture(TorchDispatchMode):
    """Stands for `torch.cuda.graph`."""

    def __init__(self, graph: Graph, **arguments: Any) -> None:
        super().__init__()
        assert arguments["capture_error_mode"] == "thread_local"
        assert {"pool", "stream"} <= set(arguments)
        self._graph, self._pool = graph, arguments["pool"]

    def __enter__(self) -> _Capture:
        StandIn.current.synchronize(CPU)
        StandIn.current.allocating.append(self._pool)
        StandIn.current.generator.capturing = True
        if StandIn.current.capture_error is not None:
            raise StandIn.current.capture_error
        StandIn.current.spoilt = False
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if StandIn.current.spoilt or error[0] is not None:
            # as PyTorch before 2.12, which goes on allocating and drawing for the graph
            raise RuntimeError(
                "CUDA error: operation failed due to a previous error during capture"
            )
        StandIn.current.end_allocation(0, self._pool)
        StandIn.current.generator.capturing = False

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if _name(operation) in _FORBIDDEN:
            StandIn.current.spoilt = True
            raise RuntimeError(f"{_name(operation)}: not permitted when stream is capturing")
        assert keywords.get("generator") is None or self._graph.generators
        result = operation(*arguments, **keywords)
        self._graph.calls.append((operation, arguments, keywords, tree_leaves(result)))
        return result


class _Log(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        if not operation.is_view:
            StandIn.current.log.append(_name(operation).removeprefix("aten::"))
        return operation(*arguments, **(keywords or {}))


class _Event:
    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded
        StandIn.current.log.append("wait")


class _Generator:
    """Stands for the default generator of a GPU, which takes part in every capture."""

    capturing = False

    def clone_state(self) -> _Generator:
        return _Generator()

    def graphsafe_set_state(self, other: _Generator) -> None:
        self.capturing = other.capturing


class _Stream:
    def __init__(self, device: torch.device = CPU) -> None:
        """Of a device."""

    def wait_stream(self, other: _Stream) -> None:
        """All runs in order here."""

    def synchronize(self) -> None:
        StandIn.current.log.append("wait")


class StandIn:
    """What was done.

    Attributes:
        log: operations other than views, in order; "replay" for all of a graph's, "wait" where the
            host waits.
        capture_error: raised where a capture begins.
        allocating: the pools of captures that are under way, or failed.
        generator: the default one.
        spoilt: what the last capture was in the middle of, another thread has made fail.
    """

    current: StandIn

    def __init__(self) -> None:
        StandIn.current = self
        self.log: list[str] = []
        self.capture_error: Exception | None = None
        self.allocating: list[Any] = []
        self.generator = _Generator()
        self.spoilt = False

    @contextmanager
    def logged(self) -> Iterator[list[str]]:
        """What happens within."""
        self.log.clear()
        with _Log():
            yield self.log

    def synchronize(self, device: torch.device) -> None:
        """Stands for `torch.cuda.synchronize`, which spoils the capture of any thread."""
        if self.allocating:
            self.spoilt = True
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self.log.append("wait for all")

    def end_allocation(self, device: int, pool: Any) -> None:
        """Stands for what ends a capture for the allocator."""
        if pool not in self.allocating:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.allocating.remove(pool)


def replace_cuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put it in the place of `torch.cuda`, for a test."""
    stand_in, stream = StandIn(), _Stream()
    for name, value in {
        "CUDAGraph": Graph,
        "graph": _Capture,
        "Event": _Event,
        "Stream": _Stream,
        "stream": lambda _: nullcontext(),
        "device": lambda _: nullcontext(),
        "current_stream": lambda _: stream,
        "current_device": lambda: 0,
        "default_generators": [stand_in.generator],
        "graph_pool_handle": lambda: (0, 1),
        "synchronize": stand_in.synchronize,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", stand_in.end_allocation, raising=False)
    return stand_in
