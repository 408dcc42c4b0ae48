"""The published checkpoints: LDM's KL-f16 autoencoder and CAM-Seg's transformer with denoiser.

Both come as pickles. Their sizes are read off the tensors' shapes, their tensors renamed to ours.
"""

import argparse
import dataclasses
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camss_ros.git_lfs import why_unreadable
from camss_ros.images.label_sets import load_label_set
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError, Shape, misfits, shapes_of
from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig, DenoiserConfig
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig

# Attention heads leave no trace in the shapes; 64 channels a head are ViT's and the official size.
_HEAD_CHANNELS = 64
_DENOISER = "diffloss.net."

# our (diffusers') names -> LDM's
_AUTOENCODER_NAMES = (
    (r"down_blocks\.(\d+)\.", r"down.\1."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"resnets\.", "block."),
    (r"attentions\.", "attn."),
    (r"(down|up)samplers\.0\.", r"\1sample."),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"group_norm", "norm"),
    (r"to_out\.0\.", "proj_out."),
    (r"to_([qkv])\.", r"\1."),
)


def base_config(**changes: Any) -> CamSegConfig:
    """Configuration of the official network, but for entries that are given here."""
    palette = load_label_set("cityscapes19")
    official = CamSegConfig(
        name="cam-seg-base",
        label_set=palette.classes,
        void_color=palette.void_color,
        input_size=(768, 768),
        image_mean=127.5,
        image_std=127.5,
        tokenizer=None,
        mask_autoencoder=ImageAutoencoderConfig(),
        transformer=ConcatTransformerConfig(),
        denoiser=DenoiserConfig(width=1024, depth=6),
        prediction="epsilon",
        learned_variance=True,
    )
    return dataclasses.replace(official, **changes)


# --- Reading ------------------------------------------------------------------------------------


def read_autoencoder(path: Path) -> dict[str, Tensor]:
    """Tensors of `modelf16.ckpt` by their official names, without those of its training (`loss.*`).

    Raises:
        ModelError: no such checkpoint, or one without weights.
    """
    content = read_pickle(path)
    state = _tensors(content.get("state_dict", content), path)
    return {name: value for name, value in state.items() if not name.startswith("loss.")}


def read_transformer(path: Path, ema: bool = True) -> dict[str, Tensor]:
    """Tensors of `city768.16.pth` by their official names.

    Args:
        ema: the moving average of the weights, which the published numbers are of, rather than
            the last weights.

    Raises:
        ModelError: no such checkpoint, or one without these weights.
    """
    content = read_pickle(path)
    entry = "model_ema" if ema else "model"
    if entry not in content:
        raise ModelError(
            f"{path} has no entry {entry!r} but {', '.join(map(str, content)) or 'nothing'}; "
            f"try {'--no-ema' if ema else '--ema'} for the other set of weights"
        )
    return _tensors(content[entry], path)


def read_pickle(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, a dictionary.

    Raises:
        ModelError: the file is anything else, or can't be read.
    """
    # The training arguments lie in the file as an argparse.Namespace, a plain record.
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # the unpickler raises whatever the bytes lead it to
        reason = why_unreadable(path, f"{type(error).__name__}: {error}")
        raise ModelError(f"{path} cannot be read as a PyTorch checkpoint ({reason})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__} instead of a dictionary")
    return content


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__} where its weights should be")
    state = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise ModelError(f"{path} holds no weights")
    return state


# --- Sizes --------------------------------------------------------------------------------------


def infer_config(
    autoencoder: Mapping[str, Tensor], transformer: Mapping[str, Tensor], heads: int | None = None
) -> CamSegConfig:
    """Sizes of the network whose official tensors these are.

    Where the tensor that tells a size is missing, the official size stands in, so that
    `convert` names the tensor.

    Args:
        autoencoder: from `read_autoencoder`.
        transformer: from `read_transformer`.
        heads: attention heads; one for each 64 channels when left out.

    Raises:
        ModelError: the heads do not divide the width, or the position table is not of a square
            grid.
    """
    width = _size(transformer, "z_proj1.weight", 0, 768)
    config = _infer_autoencoder(autoencoder)
    heads = heads or max(1, width // _HEAD_CHANNELS)
    if width % heads:
        raise ModelError(f"{heads} heads do not divide the width of {width}; choose --heads")
    tokens = _size(transformer, "encoder_pos_embed_learned", 1, 2 * 48 * 48) // 2
    side = math.isqrt(tokens)
    if side**2 != tokens:
        raise ModelError(f"encoder_pos_embed_learned has 2 x {tokens} places, not 2 x a square")
    channels = _size(transformer, _DENOISER + "input_proj.weight", 1, 16)
    outputs = _size(transformer, _DENOISER + "final_layer.linear.weight", 0, 2 * channels)
    return base_config(
        mask_autoencoder=config,
        transformer=ConcatTransformerConfig(
            width=width,
            encoder_depth=_count(transformer, r"encoder_blocks\.(\d+)\."),
            decoder_depth=_count(transformer, r"decoder_blocks\.(\d+)\."),
            heads=heads,
            mlp_ratio=_size(transformer, "encoder_blocks.0.mlp.fc1.weight", 0, 4 * width) / width,
        ),
        denoiser=DenoiserConfig(
            width=_size(transformer, _DENOISER + "input_proj.weight", 0, 1024),
            depth=_count(transformer, re.escape(_DENOISER) + r"res_blocks\.(\d+)\."),
        ),
        input_size=(side * config.stride, side * config.stride),
        learned_variance=outputs != channels,
    )


def _infer_autoencoder(state: Mapping[str, Tensor]) -> ImageAutoencoderConfig:
    width = _size(state, "encoder.conv_in.bias", 0, 0)
    width = width or _size(state, "encoder.conv_in.weight", 0, 128)
    levels = range(_count(state, r"encoder\.down\.(\d+)\."))
    return ImageAutoencoderConfig(
        latent_channels=_size(state, "decoder.conv_in.weight", 1, 16),
        width=width,
        multipliers=tuple(
            max(1, _size(state, f"encoder.down.{level}.block.0.conv1.weight", 0, width) // width)
            for level in levels
        ),
        res_blocks=_count(state, r"encoder\.down\.0\.block\.(\d+)\."),
        attention_levels=tuple(
            level
            for level in levels
            if any(name.startswith(f"encoder.down.{level}.attn.") for name in state)
        ),
    )


def _size(state: Mapping[str, Tensor], name: str, axis: int, official: int) -> int:
    shape = state[name].shape if name in state else ()
    return shape[axis] if axis < len(shape) else official


def _count(state: Iterable[str], pattern: str) -> int:
    found = [int(match[1]) for name in state if (match := re.match(pattern, name))]
    return max(found, default=0) + 1


# --- Renaming -----------------------------------------------------------------------------------


def official_autoencoder_names(model: CamSeg) -> dict[str, tuple[str, Shape]]:
    """Our name of each autoencoder tensor -> its official name and shape."""
    prefix = "mask_autoencoder.images.network."
    network = model.get_submodule(prefix.rstrip("."))
    levels = len(model.get_submodule(prefix + "decoder.up_blocks")._modules)
    names = {}
    for ours, value in network.state_dict().items():
        # LDM counts the decoder's levels from the full resolution, we in order of use
        official = re.sub(
            r"up_blocks\.(\d+)\.", lambda match: f"up.{levels - 1 - int(match[1])}.", ours
        )
        for pattern, replacement in _AUTOENCODER_NAMES:
            official = re.sub(pattern, replacement, official)
        shape = tuple(value.shape)
        # LDM's attention projects with 1 x 1 convolutions
        projection = re.search(r"\.(q|k|v|proj_out)\.weight$", official)
        names[prefix + ours] = (official, (*shape, 1, 1) if projection else shape)
    return names


def official_transformer_names(model: CamSeg) -> dict[str, tuple[str, Shape]]:
    """Our name of each tensor of transformer and denoiser -> its official name and shape."""
    parts: tuple[tuple[str, nn.Module, str], ...] = (
        ("transformer.", model.transformer, ""),
        ("denoiser.", model.denoiser, _DENOISER),
    )
    return {
        ours + name: (official + name, tuple(value.shape))
        for ours, module, official in parts
        for name, value in module.state_dict().items()
    }


def renamed(
    model: CamSeg, names: Mapping[str, tuple[str, Shape]], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Official tensors as `model` has them: by our `names` of them, in our shapes, float32."""
    shapes = shapes_of(model.state_dict())
    return {
        ours: tensors[official].float().reshape(shapes[ours])
        for ours, (official, _) in names.items()
    }


def convert(
    config: CamSegConfig,
    autoencoder: Mapping[str, Tensor],
    transformer: Mapping[str, Tensor],
) -> CamSeg:
    """Build the network and load the official tensors into it.

    Args:
        config: from `infer_config`.
        autoencoder, transformer: as there.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        ModelError: lists by official name every tensor that is missing, unexpected or misshapen.
    """
    try:
        with torch.device("meta"):
            empty = CamSeg(config)
    except ValueError as error:
        raise ModelError(f"there is no network of the sizes {config}: {error}") from error
    tables = (
        ("the autoencoder", official_autoencoder_names(empty), autoencoder),
        ("the transformer", official_transformer_names(empty), transformer),
    )
    problems = [
        f"{part}: {problem}"
        for part, names, state in tables
        for kind in misfits(dict(names.values()), shapes_of(state))
        for problem in kind
    ]
    if problems:
        raise ModelError("the checkpoints do not fit together:\n  " + "\n  ".join(problems))
    model = CamSeg(config)
    for _, names, state in tables:
        # neither table has all tensors, and the palette is not in the checkpoints
        model.load_state_dict(renamed(empty, names, state), strict=False)
    return model.eval().requires_grad_(False)
