"""Models on disk: `config.json` and `model.safetensors` in one directory."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from camss_ros.atomic_files import replacing
from camss_ros.errors import CamssError
from camss_ros.git_lfs import is_lfs_pointer, why_unreadable
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.model.camseg import CamSeg
from camss_ros.model.config import CamSegConfig, TwinConfig
from camss_ros.model.fold import fold_batch_norms
from camss_ros.model.strict_decode import decode
from camss_ros.model.twin import Twin

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DRIFT_FILE = "drift.safetensors"  # of `inference/drift.py`; a model need not have it
BUNDLED = Path(__file__).parent.parent / "weights"
_ENCODER = ("mask_autoencoder.encoder.", "mask_autoencoder.quantizer.")
_CONFIGS = {"camseg": CamSegConfig, "twin": TwinConfig}  # by "type" in the file
_LISTED = 5  # tensors of each kind of problem

Shape = tuple[int, ...]


class ModelError(CamssError):
    """A model cannot be found or read; the message says where and why."""


def save_pretrained(
    model: CamSeg | Twin,
    directory: str | Path,
    dtype: torch.dtype = torch.float32,
    inference_only: bool = False,
) -> None:
    """Write the model to `directory`, made if missing.

    Args:
        dtype: of the parameters; buffers (batch norm and latent statistics) stay float32.
        inference_only: leave out encoder and codebook of a `MaskAutoencoder`, which only training
            needs.

    Raises:
        ModelError: it cannot be written; what was there before stays.
    """
    config = _without_encoder(model.config) if inference_only else model.config
    left_out = _ENCODER if config != model.config else ()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    parameters = {name for name, _ in model.named_parameters()}
    state = {
        name: value.detach().cpu().to(dtype if name in parameters else value.dtype).contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith(left_out)
    }
    kind = next(name for name, each in _CONFIGS.items() if isinstance(config, each))
    text = json.dumps({"type": kind, **dataclasses.asdict(config)}, indent=2) + "\n"
    try:
        # the config takes its place last: it makes the directory a model
        with replacing(directory / CONFIG_FILE) as config_file:
            config_file.write_text(text)
            with replacing(directory / WEIGHTS_FILE) as weights_file:
                save_file(state, str(weights_file), metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the model cannot be written to {directory}: {error}") from error


def load_pretrained(model: str | Path, inference_only: bool = False) -> CamSeg:
    """Load a `CamSeg`; see `load_network`.

    Raises:
        ModelError: as there, or it is the discriminative twin of one.
    """
    network = load_network(model, inference_only)
    if isinstance(network, Twin):
        raise ModelError(f"{model} is a discriminative twin, not a CamSeg model")
    return network


def load_network(model: str | Path, inference_only: bool = False) -> CamSeg | Twin:
    """Load a model in float32 on the CPU, in evaluation mode.

    Args:
        model: name of a bundled model, directory, or Hugging Face Hub id (`user/name`).
        inference_only: pass over what `save_pretrained` leaves out with it.

    Raises:
        ModelError: not found (with the places looked at), or not readable.
    """
    directory = find_model(model)
    stored = read_config(directory / CONFIG_FILE)
    config = _without_encoder(stored) if inference_only else stored
    passed_over = _ENCODER if config != stored else ()
    try:
        # safetensors 0.4 puts tensors on PyTorch's default device
        with torch.device("cpu"), safe_open(directory / WEIGHTS_FILE, "pt") as file:
            names = [name for name in file.keys() if not name.startswith(passed_over)]  # noqa: SIM118
            state = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        path = directory / WEIGHTS_FILE
        raise ModelError(f"{path} cannot be read: {why_unreadable(path, error)}") from error
    with torch.device("meta"):
        network = Twin(config) if isinstance(config, TwinConfig) else CamSeg(config)
    check_shapes(shapes_of(network.state_dict()), shapes_of(state), directory)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _without_encoder(config: CamSegConfig | TwinConfig) -> CamSegConfig | TwinConfig:
    """The configuration of the same model without the encoder of its label images, if it has one
    of its own: that of colours encodes the image as well."""
    if isinstance(config, TwinConfig) or not isinstance(
        config.mask_autoencoder, MaskAutoencoderConfig
    ):
        return config
    decoder_only = dataclasses.replace(config.mask_autoencoder, has_encoder=False)
    return dataclasses.replace(config, mask_autoencoder=decoder_only)


def load_camseg(model: str | Path) -> CamSeg:
    """The model in float32 on the CPU, ready for inference alone. Graphs are of these, of no twin.

    Raises:
        ModelError: it cannot be read, or is a twin.
    """
    network = load_pretrained(model, inference_only=True)
    fold_batch_norms(network)
    return network


def find_model(model: str | Path) -> Path:
    """Directory of a model.

    Args:
        model: as of `load_pretrained`.

    Raises:
        ModelError: there is none, with the places looked at, or a pointer of Git LFS in its place.
    """
    places = [Path(model), BUNDLED / str(model)]
    for place in places:
        if (place / CONFIG_FILE).is_file():
            return place
    for path in (places[0], places[0] / WEIGHTS_FILE):
        if is_lfs_pointer(path):
            raise ModelError(f"{path} cannot be read: {why_unreadable(path, '')}")
    looked = [f"the directory {places[0].absolute()}", f"the bundled models in {BUNDLED}"]
    name = str(model)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import HfHubHTTPError, HFValidationError  # in every version

        try:
            files = [CONFIG_FILE, WEIGHTS_FILE, DRIFT_FILE]
            return Path(snapshot_download(name, allow_patterns=files))
        except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
            looked.append(f"the Hugging Face Hub ({str(error).splitlines()[0]})")
    bundled = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG_FILE}"))
    raise ModelError(
        f"no model {name!r}: looked in {'; '.join(looked)}. "
        f"Bundled models: {', '.join(bundled) or 'none'}. "
        f"A model directory holds {CONFIG_FILE} and {WEIGHTS_FILE}."
    )


def weights_hash(model: str | Path) -> str:
    """SHA-256 of a model's weights, in hexadecimal.

    Raises:
        ModelError: as of `find_model`.
        OSError: the weights can't be read.
    """
    with (find_model(model) / WEIGHTS_FILE).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def find_config(model: str | Path) -> CamSegConfig | TwinConfig:
    """The configuration of a model.

    Raises:
        ModelError: as of `find_model` and `read_config`.
    """
    return read_config(find_model(model) / CONFIG_FILE)


def read_config(path: Path) -> CamSegConfig | TwinConfig:
    """Read a `config.json`.

    Raises:
        ModelError: not JSON, or with missing, unknown or mistyped entries, which are named.
    """
    try:
        values = json.loads(path.read_text())
        kind = "camseg"
        if isinstance(values, dict):
            # files of before do not say it
            kind = values.pop("type", "twin" if "decoder" in values else kind)
        if kind not in _CONFIGS:
            raise ValueError(f"type must be one of {', '.join(_CONFIGS)}, not {kind!r}")
        return decode(_CONFIGS[kind], values, "")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: {why_unreadable(path, error)}") from error


def shapes_of(state: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """The shape of each tensor, by its name."""
    return {name: tuple(value.shape) for name, value in state.items()}


def misfits(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> list[list[str]]:
    """What tensors lack, have besides and have in another shape, each a list of sentences."""
    return [
        [f"missing {name}" for name in expected if name not in found],
        [f"unexpected {name}" for name in found if name not in expected],
        [
            f"{name} has shape {list(found[name])}, expected {list(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    ]


def check_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape], source: Path) -> None:
    """Compare tensors by name and shape.

    Raises:
        ModelError: tells the first missing, unexpected and misshapen tensors of `source`, and how
            many there are.
    """
    kinds = misfits(expected, found)
    listed = [problem for kind in kinds for problem in kind[:_LISTED]]
    others = sum(map(len, kinds)) - len(listed)
    if listed:
        raise ModelError(
            f"the weights in {source} do not fit its config: {'; '.join(listed)}"
            + (f"; and {others} others" if others else "")
        )
