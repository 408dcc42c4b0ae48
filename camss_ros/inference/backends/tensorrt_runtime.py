"""TensorRT by its own Python API. Unverified: no GPU has run it yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camss_ros.extras import pip_install
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.frame_graphs import capturing
from camss_ros.inference.backends.runtime import Graph, Runtime, import_runtime
from camss_ros.inference.graphs.export import ExportError

_PRECISIONS = {
    "auto": torch.float16,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}


class TensorRt(Runtime):
    """TensorRT 8.6 to 10 (JetPack 6's included); in fp32 also later ones, which take the precision
    of each operation from the graph alone.

    An engine is built for one GPU and one version, which takes minutes.

    Raises:
        BackendUnavailableError: not installed, too new, or the device is no GPU.
        ValueError: an unknown precision.
    """

    name = "tensorrt"
    suffix = ".engine"

    def __init__(self, device: torch.device, precision: str) -> None:
        if device.type != "cuda":
            raise BackendUnavailableError(f"backend tensorrt runs on a CUDA GPU, not on {device}")
        install = "it comes with JetPack, elsewhere " + pip_install("onnx", "'tensorrt<11'")
        tensorrt = import_runtime("tensorrt", install)
        if precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}: {precision!r}")
        self._tensorrt = tensorrt
        self.device = device
        self.dtype = self.float_dtype = _PRECISIONS[precision]
        if self._flag is not None and not hasattr(tensorrt.BuilderFlag, self._flag):
            raise BackendUnavailableError(
                f"tensorrt {tensorrt.__version__} builds in fp32 only here: use precision fp32, or "
                "pip install 'tensorrt<11'"
            )
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)

    @property
    def _flag(self) -> str | None:
        """Name of the flag that allows the precision; float32 needs none."""
        return {torch.float16: "FP16", torch.bfloat16: "BF16"}.get(self.dtype)

    def metadata(self) -> dict[str, Any]:
        """See `Runtime`."""
        return {
            "version": self._tensorrt.__version__,
            "gpu": torch.cuda.get_device_name(self.device),
            "capability": torch.cuda.get_device_capability(self.device),
            "dtype": str(self.dtype),
        }

    def compile(self, graph: Path, compiled: Path) -> None:
        """See `Runtime`.

        Raises:
            ExportError: TensorRT cannot read the graph or build an engine of it.
        """
        tensorrt = self._tensorrt
        with capturing, torch.cuda.device(self.device):
            builder = tensorrt.Builder(self._logger)
            flags = tensorrt.NetworkDefinitionCreationFlag
            # the only kind from TensorRT 10 on, where the flag may be missing
            explicit = getattr(flags, "EXPLICIT_BATCH", None)
            network = builder.create_network(0 if explicit is None else 1 << int(explicit))
            parser = tensorrt.OnnxParser(network, self._logger)
            if not parser.parse_from_file(str(graph)):
                errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
                raise ExportError(f"TensorRT cannot read the graph: {'; '.join(errors)}")
            config = builder.create_builder_config()
            if self._flag is not None:
                config.set_flag(getattr(tensorrt.BuilderFlag, self._flag))
            engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise ExportError("TensorRT cannot build an engine; its reasons are on stderr")
        compiled.write_bytes(bytes(engine))

    def load(self, graph: Path) -> Graph:
        """See `Runtime`.

        Raises:
            ExportError: the engine is of another version or GPU.
        """
        with torch.cuda.device(self.device):
            runtime = self._tensorrt.Runtime(self._logger)
            engine = runtime.deserialize_cuda_engine(graph.read_bytes())
            if engine is None:
                raise ExportError("TensorRT cannot load the engine; its reasons are on stderr")
            context = engine.create_execution_context()
        # Not the default one, which TensorRT waits for at every frame, and warns.
        stream = torch.cuda.Stream(self.device)
        outputs = self._allocate_outputs(engine)
        for name, tensor in outputs.items():
            context.set_tensor_address(name, tensor.data_ptr())

        def run(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            # held until the end of the call; the allocator reuses memory in order of the current
            # stream, which goes on after the engine's, so that nothing waits here
            given = {name: each.to(self.device).contiguous() for name, each in inputs.items()}
            for name, each in given.items():
                context.set_tensor_address(name, each.data_ptr())
            current = torch.cuda.current_stream(self.device)
            stream.wait_stream(current)
            with torch.cuda.device(self.device):  # the context's, as TensorRT wants it
                done = context.execute_async_v3(stream.cuda_stream)
            current.wait_stream(stream)
            if not done:
                raise RuntimeError("TensorRT could not run the engine")
            return tuple(outputs.values())

        # engine and runtime live as long as its context
        run.engine = (runtime, engine)  # type: ignore[attr-defined]
        return run

    def _allocate_outputs(self, engine: Any) -> dict[str, Tensor]:
        """A tensor for each output, in the graph's order, which every frame overwrites."""
        bytes_of = ("labels", "confidence", "argmax")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        output = self._tensorrt.TensorIOMode.OUTPUT
        return {
            name: torch.empty(
                tuple(engine.get_tensor_shape(name)),
                dtype=torch.uint8 if name in bytes_of else torch.float32,
                device=self.device,
            )
            for name in names
            if engine.get_tensor_mode(name) == output
        }
