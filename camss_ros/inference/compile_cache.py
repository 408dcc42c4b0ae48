"""Where `torch.compile` keeps what it has made: below our cache, so that it outlives a restart."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import warnings
from pathlib import Path

import torch

from camss_ros.extras import versions
from camss_ros.inference.device import describe_processor
from camss_ros.inference.graphs.cache import cache_directory

_log = logging.getLogger(__name__)

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
# Below the directory for temporary files, by default: importing PyTorch's parts may set it.
_INDUCTORS_OWN = "torchinductor_"


def use_compile_cache(device: torch.device) -> Path:
    """Have `torch.compile` keep its files in a folder for this hardware and these versions.

    Inductor itself looks them up by what is compiled. A folder that the environment names, from the
    user or from an earlier call, is left as it is.

    Returns:
        The folder in use, which may not be there yet. Where ours can't be written it is PyTorch's
        own.
    """
    given = os.environ.get(_VARIABLE)
    if given is not None and not Path(given).name.startswith(_INDUCTORS_OWN):
        return Path(given)
    parts = [describe_processor(device), torch.version.cuda, versions("torch", "triton")]
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    try:
        folder = cache_directory() / f"compiled-{key}"
        folder.mkdir(exist_ok=True)
    except OSError as error:
        _log.warning("what is compiled does not outlive a restart of the machine: %s", error)
        return Path(given or tempfile.gettempdir())
    os.environ[_VARIABLE] = str(folder)
    return folder


def silence_known_warnings() -> None:
    """Keep out of a user's log what Dynamo says of functions with `lru_cache` of diffusers: it
    traces them as if they had none, which is right for them."""
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
