"""What is installed, and whether it works, each asked in a process of its own.

`python -m camss_ros.doctor.probes NAME [ARGUMENT]` prints the answer of a function below as JSON.
What was built for another NumPy, Python or processor may end the process that imports it.
"""

from __future__ import annotations

import importlib
import json
import resource
import signal
import subprocess
import sys
import time
from typing import Any

_LIMIT = 300.0  # s; a graph of the bundled model is built within a minute
_FRAMES = 3


class ProbeError(RuntimeError):
    """Something does not work; the message is the last that was said about it.

    missing: the module that is not installed, or "".
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = message.partition("ModuleNotFoundError: No module named ")[2]
        self.missing = found.strip("'\"")


def ask(name: str, *arguments: str) -> Any:
    """The answer of one of the functions of this module. Raises ProbeError."""
    command = [sys.executable, "-m", __name__, name, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {_LIMIT:g} s") from None
    answer, errors = (
        output.decode(errors="replace").strip().splitlines()[-1:]
        for output in (done.stdout, done.stderr)
    )
    if done.returncode < 0:
        raise ProbeError(f"it ends its process by {signal.Signals(-done.returncode).name}")
    if done.returncode > 0 or not answer:
        raise ProbeError("".join(errors) or f"its process ends with {done.returncode}")
    return json.loads(answer[0])


def numpy() -> dict[str, Any]:
    """Its version."""
    import numpy

    return {"version": numpy.__version__}


def opencv() -> dict[str, Any]:
    """Its version, after a JPEG was written and read."""
    import cv2
    import numpy

    _, data = cv2.imencode(".jpg", numpy.full((16, 16, 3), 127, numpy.uint8))
    if cv2.imdecode(data, cv2.IMREAD_COLOR) is None:
        raise RuntimeError("a JPEG cannot be read")
    return {"version": cv2.__version__}


def pytorch() -> dict[str, Any]:
    """Its version and that of its CUDA, what `precision: auto` is on the CPU and on each GPU."""
    import torch

    from camss_ros.inference.device import select_dtype

    def native(device: torch.device) -> str:
        return str(select_dtype("auto", device)).removeprefix("torch.")

    import numpy  # here, so that PyTorch is named where both are missing

    torch.from_numpy(numpy.zeros(1))  # fails where it was built for another NumPy
    gpus = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", number)
        torch.zeros(1, device=device)  # fails where this build has no code for the GPU
        free, total = torch.cuda.mem_get_info(device)
        gpus.append({
            "name": torch.cuda.get_device_name(device),
            "precision": native(device),
            "free_gb": round(free / 1e9, 1),
            "total_gb": round(total / 1e9, 1),
        })  # fmt: skip
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "precision": native(torch.device("cpu")),
        "gpus": gpus,
    }


def graph_runtime(name: str) -> dict[str, Any]:
    """Its version and what it runs on."""
    import onnx  # noqa: F401  # which makes the graphs

    module = importlib.import_module(name)
    if name == "onnxruntime":
        runs_on = module.get_available_providers()
    else:
        runs_on = module.Core().available_devices if name == "openvino" else ["CUDA"]
    return {"version": module.__version__, "runs_on": runs_on}


def rclpy() -> dict[str, Any]:
    """The middleware, after a node was made with it."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("camss_ros_doctor", context=context)
    node.destroy_node()
    rclpy.shutdown(context=context)
    return {"rmw": rclpy.get_rmw_implementation_identifier()}


def importable(*modules: str) -> None:
    """Nothing, after all of them were imported."""
    for module in modules:
        importlib.import_module(module)


def vision_msgs() -> None:
    """Nothing, where it is there."""
    from vision_msgs.msg import LabelInfo  # noqa: F401


def cv_bridge() -> dict[str, Any]:
    """How the node converts images, and what it warns of."""
    from camss_ros.nodes.segmenter.image_conversion import start_conversion

    warnings: list[str] = []
    converter = start_conversion("auto", warnings.append).result()
    return {"conversion": str(converter), "warnings": warnings}


def golden(backend: str) -> list[dict[str, Any]]:
    """Of each precision that a backend has here by itself: `agreement` with the labels that the
    bundled model was shipped with, or the `error`, and `ms`, the shortest time of a frame."""
    from camss_ros.doctor.golden import MODEL, agreement, golden_frame
    from camss_ros.inference.auto import candidates
    from camss_ros.inference.device import select_device
    from camss_ros.inference.segmenter import Segmenter

    device = select_device("auto")
    found = [each for kind in ("auto", "fp32") for each in candidates(device, kind)]
    frame = golden_frame()
    answers = []
    for precision in dict.fromkeys(each.precision for each in found if each.backend == backend):
        row: dict[str, Any] = {"precision": precision}
        try:
            segmenter = Segmenter(MODEL, precision=precision, backend=backend)
            labels = segmenter.segment(frame).labels
            row["agreement"] = agreement(labels)
            times = []
            for _ in range(_FRAMES):
                start = time.perf_counter()
                segmenter.segment(frame)
                times.append(time.perf_counter() - start)
            row["ms"] = 1e3 * min(times)
            segmenter.close()
        except Exception as error:  # whatever a runtime raises
            row["error"] = f"{type(error).__name__}: {error}"
        answers.append(row)
    return answers


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file of a crash
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
