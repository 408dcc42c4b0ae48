"""Backend "auto": measures once, on this machine, which backend is the fastest that works."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from camss_ros.extras import versions
from camss_ros.inference.backends.base import BatchRequest
from camss_ros.inference.backends.build_graph import model_hash
from camss_ros.inference.backends.open_backend import open_backend
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.beside import Beside, Turn, has_turn, kept_warnings
from camss_ros.inference.device import describe_processor, select_dtype
from camss_ros.inference.frame_ops import OutputSpec
from camss_ros.inference.graphs.cache import cache_directory, cache_key, write_atomically
from camss_ros.model.checkpoint import find_config
from camss_ros.model.schedule import SamplingOptions

_log = logging.getLogger(__name__)

_FRAMES = 10
# Two precisions of a working backend agree on nearly all pixels, a broken one on few.
_AGREEMENT = 0.9
# those of this process, by the name of the file: it may not be possible to keep them
_chosen: dict[str, Candidate] = {}
_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


@dataclass(frozen=True)
class Candidate:
    """A backend in a precision."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True)
class BackendChoice:
    """What there is to choose from for a model on this machine.

    Measured the first time, which builds the graphs of all candidates, and kept in the cache for
    this model, device, number of threads, and these versions of the packages. The number of steps
    is not asked about again: it changes the times and hardly their order.

    Attributes:
        model: its directory.
        precision: "auto" for all that the device computes in, which int8 is no part of; else the
            only one.
        size: working (height, width).
        sampling: measured with these.
    """

    model: Path
    device: torch.device
    precision: str
    size: tuple[int, int]
    sampling: SamplingOptions

    @functools.cached_property
    def possible(self) -> list[Candidate]:
        """All that may work; PyTorch is the first.

        Raises:
            ValueError: an unknown precision, or one that the device does not compute in.
        """
        if self.precision == "int8":
            return [Candidate("openvino", "int8")]  # no other backend has it
        possible = candidates(self.device, self.precision)
        if self.sampling.iterations != 1:  # no graph does that
            possible = [each for each in possible if each.backend == "torch"]
        if len(possible) > 1:
            possible = [each for each in possible if _installed(each, self.device)]
        return possible

    @functools.cached_property
    def _name(self) -> str:
        """Of its file in the cache. Raises ModelError."""
        metadata = {
            "model": model_hash(self.model),
            "size": self.size,
            "device": describe_processor(self.device),
            "threads": torch.get_num_threads(),
            "candidates": [str(each) for each in self.possible],
            "versions": versions(*_PACKAGES),
        }
        return f"auto-{cache_key(metadata)}.json"

    def choose(self) -> Candidate:
        """The fastest; measured now if need be.

        Raises:
            ModelError: the model is unreadable.
        """
        return self.known() or self.measure()

    def known(self) -> Candidate | None:
        """The only one or the one that was chosen before; None where they have to be measured."""
        if len(self.possible) == 1:
            return self.possible[0]
        chosen = _chosen.get(self._name)
        if chosen is None:
            try:
                content = json.loads((cache_directory() / self._name).read_text())
                chosen = Candidate(content["backend"], content["precision"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
            if chosen not in self.possible:
                return None
        _log.info("backend auto: %s", chosen)
        return chosen

    def measure(self) -> Candidate:
        """Measure them here, which takes all of the processor for half a minute; the fastest."""
        self._announce()
        return self._keep(self.times())

    def beside(self) -> Beside:
        """Begin to measure them in a process of its own, for `measured_beside`.

        Not at low priority: where others keep the processor busy, its turns would be long.
        """
        self._announce()
        arguments = {**dataclasses.asdict(self), "threads": torch.get_num_threads()}
        return Beside("camss_ros.inference.auto", json.dumps(arguments, default=str))

    def measured_beside(self, process: Beside, turn: Turn) -> Candidate:
        """Wait for `beside`; the fastest. Each frame of it is timed within `turn()`.

        Raises:
            BesideError: that process failed.
        """
        result = json.loads(process.result(turn))
        for message in result["warnings"]:
            _log.warning("%s", message)
        return self._keep({self.possible[place]: value for place, value in result["seconds"]})

    def times(self, turn: Turn = nullcontext) -> dict[Candidate, float]:
        """Seconds a frame of every candidate that works, one after the other.

        The best of a few frames: other processes only ever make it slower. PyTorch comes first and
        is the reference for the others; an error of it is raised. Each frame is timed within
        `turn()`.
        """
        frame, classes = _test_frame(self.size), len(find_config(self.model).label_set)
        reference: np.ndarray | None = None
        seconds: dict[Candidate, float] = {}
        for candidate in self.possible:
            try:
                labels, best = self._time(candidate, frame, classes, turn)
            except Exception as error:  # whatever a runtime raises
                if reference is None:
                    raise
                _log.warning("backend %s does not work and is left out: %s", candidate, error)
                continue
            if reference is None:
                reference = labels
            agreement = float((labels == reference).mean())
            if agreement < _AGREEMENT:
                _log.warning(
                    "backend %s agrees with PyTorch on %.1f %% of the pixels only and is left out",
                    candidate,
                    100 * agreement,
                )
                continue
            seconds[candidate] = best
        return seconds

    def _time(
        self, candidate: Candidate, frame: np.ndarray, classes: int, turn: Turn
    ) -> tuple[np.ndarray, float]:
        """Labels and seconds of a frame."""
        backend = open_backend(candidate.backend, self.model, self.device, candidate.precision)
        best = float("inf")
        try:
            backend.prepare(self.sampling, self.size)
            for _ in range(_FRAMES):
                generator = torch.Generator(backend.device).manual_seed(0)
                outputs = [OutputSpec(self.size)]
                with turn():
                    start = time.perf_counter()
                    request = BatchRequest([frame], self.sampling, self.size, generator, outputs)
                    [result] = backend.segment(request, classes)
                    best = min(best, time.perf_counter() - start)
        finally:
            backend.close()
        return result.labels[0], best

    def _announce(self) -> None:
        listed = ", ".join(map(str, self.possible))
        _log.info("measuring the backends for this model, once: %s", listed)

    def _keep(self, seconds: dict[Candidate, float]) -> Candidate:
        """The fastest, kept for the next time."""
        chosen = min(seconds, key=lambda each: seconds[each])
        content = {
            **dataclasses.asdict(chosen),
            "seconds": {str(each): value for each, value in seconds.items()},
        }
        times = ", ".join(f"{each} {1e3 * value:.1f} ms" for each, value in seconds.items())
        _log.info("measured, for a frame: %s", times)
        _chosen[self._name] = chosen
        try:
            path = cache_directory() / self._name
            write_atomically(
                path, lambda file: file.write_text(json.dumps(content, indent=2) + "\n")
            )
        except OSError as error:  # no room, no permission
            _log.warning("backend auto: the choice is not kept, it is measured again: %s", error)
        _log.info("backend auto: %s", chosen)
        return chosen


def candidates(device: torch.device, precision: str) -> list[Candidate]:
    """What may be the fastest on a device, whether or not it is installed.

    `compile` is left out on a CPU: it takes minutes, and a graph runtime does as well.

    Raises:
        ValueError: an unknown precision, or one that the device does not compute in.
    """
    native = select_dtype(precision, device)
    half = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(native)
    if device.type == "cuda":
        here = half or "fp32"
        names = ("torch", "compile", "tensorrt", *(["onnxruntime"] if here == "fp32" else []))
        return [Candidate(name, here) for name in names]
    found = []
    if precision in ("auto", "fp32"):
        found += [Candidate(name, "fp32") for name in ("torch", "onnxruntime", "openvino")]
    if half is not None:
        found += [Candidate(name, half) for name in ("torch", "openvino")]
    return found


def _test_frame(size: tuple[int, int]) -> np.ndarray:
    """Patches of colour."""
    height, width = size
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (-(-height // 32), -(-width // 32), 3), np.uint8)
    return np.repeat(np.repeat(patches, 32, axis=0), 32, axis=1)[:height, :width]


@functools.cache
def _installed(candidate: Candidate, device: torch.device) -> bool:
    if candidate.backend in ("torch", "compile"):
        return True
    try:
        open_runtime(candidate.backend, device, candidate.precision)
        import onnx  # noqa: F401  # which makes their graphs
    except Exception as error:  # whatever a broken package raises
        _log.info("backend %s is left out: %s", candidate, error)
        return False
    return True


def main(arguments: str) -> None:
    """Measure, for a process that goes on segmenting, and print the times."""
    given = json.loads(arguments)
    torch.set_num_threads(given["threads"])
    warnings = kept_warnings()
    choice = BackendChoice(
        Path(given["model"]),
        torch.device(given["device"]),
        given["precision"],
        tuple(given["size"]),
        SamplingOptions(**given["sampling"]),
    )
    seconds = choice.times(has_turn)
    places = [(choice.possible.index(each), value) for each, value in seconds.items()]
    print(json.dumps({"seconds": places, "warnings": warnings()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
