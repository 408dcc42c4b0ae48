"""The one place that decides on device and precision."""

import platform
from pathlib import Path

import torch

DEVICES = ("auto", "cuda", "cpu")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def select_device(device: str | torch.device) -> torch.device:
    """Device for "auto" (CUDA where there is one), "cuda", "cuda:N", "cpu" or such a one.

    Raises:
        ValueError: an unknown name, or CUDA where there is none, or not as many.
    """
    device = str(device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu" and device.partition(":")[0] != "cuda":
        raise ValueError(f"device must be one of {', '.join(DEVICES)} or cuda:N, not {device!r}")
    try:
        selected = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r}: {error}") from error
    if selected.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} asked for, but this PyTorch ({torch.__version__}) sees no CUDA "
            "GPU: use device cpu or auto, or install a CUDA build of PyTorch"
        )
    if selected.type == "cuda" and (selected.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(
            f"device {device!r} asked for, but PyTorch sees {count} GPUs here, the first as cuda:0"
        )
    return selected


def select_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Precision of the network; "auto" takes bfloat16 where the hardware computes in it.

    On a GPU without bfloat16 (before Ampere) it is float16, on a CPU without it float32.

    Raises:
        ValueError: an unknown name, or int8, which is no precision of PyTorch here.
    """
    if precision in _DTYPES:
        return _DTYPES[precision]
    if precision == "int8":
        raise ValueError("PyTorch has no precision int8 here: use backend openvino, on a CPU")
    if precision != "auto":
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def describe_device(device: torch.device) -> str:
    """Name for messages and reports, such as "cuda:0 (Orin)" or "cpu (x86_64, 2 threads)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.machine()}, {torch.get_num_threads()} threads)"


def describe_processor(device: torch.device) -> str:
    """Model of the processor that `device` is, for what depends on it, such as measured times."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    # "model name" on x86, "CPU part" on Arm; `flags` tells virtual processors of one name apart
    fields = cpu_info_fields("model name", "CPU part", "flags", "Features")
    return " ".join([platform.machine(), *sorted(set(fields))])


def cpu_info_fields(*names: str) -> list[str]:
    """What Linux says about the processors under these names, one after the other."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(names)]
