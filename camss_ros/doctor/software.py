"""Python, PyTorch, the GPU, and what else runs the network."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import camss_ros
from camss_ros.doctor.finding import Finding
from camss_ros.doctor.probes import ProbeError, ask
from camss_ros.extras import pip_install, versions

_OLDEST_PYTHON = (3, 10)
_PACKAGES = ("safetensors", "diffusers", "huggingface_hub", "PyYAML", "Pillow", "av", "rich")
# one of them is there where the kernel has a driver for an NVIDIA GPU: a card, a Jetson
_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))
_NUMPY_HELP = "is it built for another NumPy or Python? Install both again in one environment"
_INSTALL = {  # by module; others have the name of their package
    "cv2": "pip install opencv-python-headless",
    "torch": "pip install torch in the environment of the node; on a Jetson the build of "
    "docs/deployment.md",
}


def check_python() -> Iterator[Finding]:
    """The versions, the system, and which environment it is."""
    system = " ".join([platform.system(), *platform.libc_ver()])
    with suppress(OSError):  # not every Linux has it
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    kind = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    text = (
        f"camss_ros {camss_ros.__version__}, Python {platform.python_version()} at "
        f"{sys.executable} ({kind}), {system}, {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} processors"
    )
    if sys.version_info < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        yield Finding("Python", "FAIL", text, f"use Python {oldest} or later")
    else:
        yield Finding("Python", "OK", text)
    installed = versions(*_PACKAGES)
    found = ", ".join(f"{name} {version}" for name, version in installed.items())
    if missing := [name for name in _PACKAGES if name not in installed]:
        text = f"{found}; not installed: {', '.join(missing)}"
        yield Finding("packages", "WARN", text, f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", "OK", found)


def check_numpy() -> Iterator[Finding]:
    """NumPy and OpenCV, without which nothing works."""
    for check, probe in (("NumPy", "numpy"), ("OpenCV", "opencv")):
        try:
            yield Finding(check, "OK", ask(probe)["version"])
        except ProbeError as error:
            yield Finding(check, "FAIL", str(error), _help(error))


def _help(error: ProbeError) -> str:
    if not error.missing:
        return _NUMPY_HELP
    return _INSTALL.get(error.missing, f"pip install {error.missing}")


def check_pytorch() -> Generator[Finding, None, bool]:
    """PyTorch, the GPU and what `precision: auto` is. Returns whether there is a GPU to use."""
    try:
        facts = ask("pytorch")
    except ProbeError as error:
        yield Finding("PyTorch", "FAIL", str(error), _help(error))
        return False
    cuda = facts["cuda"]
    build = f"for CUDA {cuda}" if cuda else "for the CPU"
    yield Finding("PyTorch", "OK", f"{facts['version']}, built {build}, {facts['threads']} threads")
    yield _gpu(facts)
    gpus = facts["gpus"]
    where = "the GPU" if gpus else "the CPU"
    precision = gpus[0]["precision"] if gpus else facts["precision"]
    yield Finding("precision", "OK", f"auto is {precision} on {where}")
    return bool(gpus)


def _gpu(facts: dict[str, Any]) -> Finding:
    driver = next((path for path in _DRIVERS if path.exists()), None)
    version = "" if driver is None else driver.read_text().partition("\n")[0].strip()
    if facts["gpus"]:
        listed = ", ".join(
            f"{gpu['name']} ({gpu['free_gb']} of {gpu['total_gb']} GB free)"
            for gpu in facts["gpus"]
        )
        return Finding("GPU", "OK", f"{listed}; driver: {version or 'unknown'}")
    if driver is None:
        return Finding("GPU", "OK", "no NVIDIA driver: the network runs on the CPU")
    if not facts["cuda"]:
        return Finding(
            "GPU", "WARN", f"there is one ({version}), and this PyTorch is built for the CPU",
            "install a CUDA build of PyTorch: docs/deployment.md",
        )  # fmt: skip
    return Finding(
        "GPU", "WARN", f"PyTorch finds none, though there is a driver: {version}",
        f"the driver has to be new enough for CUDA {facts['cuda']}; a container needs --gpus all "
        "(--runtime nvidia on a Jetson); CUDA_VISIBLE_DEVICES may hide it",
    )  # fmt: skip


def check_runtimes(gpu: bool) -> Generator[Finding, None, list[str]]:
    """What may run the network beside PyTorch. Returns the names of the backends that can."""
    usable = []
    wanted = {"onnxruntime": True, "openvino": not gpu, "tensorrt": gpu}
    for (backend, matters), check in zip(
        wanted.items(), ("ONNX Runtime", "OpenVINO", "TensorRT"), strict=True
    ):
        package = "onnxruntime-gpu" if gpu and backend == "onnxruntime" else backend
        install = pip_install("onnx", package)
        try:
            facts = ask("graph_runtime", backend)
        except ProbeError as error:
            of_use = f"of use on {'a GPU' if backend == 'tensorrt' else 'a CPU'} only"
            if not error.missing:
                yield Finding(check, "WARN", str(error), f"{_NUMPY_HELP}; others do without it")
            elif matters:
                missing = f"{error.missing} is not installed"
                yield Finding(check, "WARN", f"{missing}: a backend less to choose from", install)
            else:
                yield Finding(check, "OK", f"{error.missing} is not installed; {of_use}")
            continue
        text = f"{facts['version']} for {', '.join(facts['runs_on'])}"
        if gpu and backend == "onnxruntime" and "CUDAExecutionProvider" not in facts["runs_on"]:
            yield Finding(check, "WARN", f"{text}: not for the GPU", install)
            continue
        usable.append(backend)
        yield Finding(check, "OK", text)
    return usable
