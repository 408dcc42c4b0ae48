"""Reproduces recorded numbers of the official implementation, stage by stage.

A parity folder holds `config.json` (sizes), `vae_weights_fp16.safetensors` and
`transformer_weights_fp16.safetensors` (official key names) and `tensors.safetensors` (inputs and
outputs of every stage). Each stage starts from the recorded output of the one before, so that an
error shows where it is made; the last rows run the stages one after the other.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from camss_ros.git_lfs import why_unreadable
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError
from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig, DenoiserConfig
from camss_ros.model.diffusion import q_sample
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig, PaletteAutoencoder
from camss_ros.model.loss import diffusion_loss
from camss_ros.model.official import base_config, convert
from camss_ros.model.schedule import TRAIN_STEPS, SamplingOptions
from camss_ros.model.transformer import ConcatTransformer

TOLERANCE = 1e-4
LABEL_TOLERANCE = 1e-3
# A pixel is at a tie when the logits of two labels are this close: the tolerated error of a decoded
# colour moves a logit, which is 400 times a product of colours, by no more.
_TIE = 0.1

_CONFIG = "config.json"
_AUTOENCODER = "vae_weights_fp16.safetensors"
_TRANSFORMER = "transformer_weights_fp16.safetensors"
_TENSORS = "tensors.safetensors"
_OUTPUT = "denoiser.out_t"


@dataclass(frozen=True)
class StageResult:
    """How well one stage was reproduced.

    Attributes:
        stage: name, after the recorded tensor.
        error: largest absolute difference relative to the largest recorded absolute value, or for
            labels the share of differing pixels.
        limit: what the error must not exceed.
        note: what was found beside the number.
    """

    stage: str
    error: float
    limit: float = TOLERANCE
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the limit, with nothing against it."""
        return self.error <= self.limit


def verify_parity(directory: Path) -> list[StageResult]:
    """Run every stage on a parity folder.

    Raises:
        ModelError: a file is missing or unreadable, or its content does not fit the others.
    """
    source = directory / _CONFIG
    try:
        settings = json.loads(source.read_text())
        config = parity_config(settings)
        # the official chain: ancestral, from the last timestep, with all of its noise
        start, steps = TRAIN_STEPS - 1, settings["sampling_steps"]
        sampling = SamplingOptions(steps, "ddpm", start=start, temperature=1.0)
        autoencoder = _read_tensors(directory / _AUTOENCODER)
        model = convert(config, autoencoder, _read_tensors(directory / _TRANSFORMER))
    except KeyError as error:
        raise ModelError(f"{source} has no entry {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{source}: {error}") from error
    recorded = _read_tensors(directory / _TENSORS)
    stages: tuple[Callable[[CamSeg, dict[str, Tensor]], Iterable[StageResult]], ...] = (
        _autoencoder_stages,
        _transformer_stages,
        _denoiser_stages,
        partial(_sampler_stages, options=sampling),
        _decode_stages,
        _loss_stages,
        _chained_stages,
    )
    results: list[StageResult] = []
    with torch.inference_mode():
        for stage in stages:
            try:
                results += stage(model, recorded)
            except KeyError as error:
                raise ModelError(f"{directory / _TENSORS} has no tensor {error}") from error
    return results


def parity_config(settings: dict[str, Any]) -> CamSegConfig:
    """Model configuration of the sizes in a parity folder's `config.json`.

    Raises:
        KeyError: an entry is missing.
        ValueError: an entry asks for what the official network does not have.
    """
    vae = settings["vae"]
    for name, value, supported in (
        ("vae.double_z", vae["double_z"], True),
        ("vae.in_channels", vae["in_channels"], 3),
        ("vae.out_ch", vae["out_ch"], 3),
        ("embed_dim", settings["embed_dim"], vae["z_channels"]),
        ("layer_norm_eps", settings["layer_norm_eps"], 1e-6),
        ("train_steps", settings["train_steps"], TRAIN_STEPS),
    ):
        if value != supported:
            raise ValueError(f"{name} must be {supported}, not {value}")
    return base_config(
        mask_autoencoder=ImageAutoencoderConfig(
            latent_channels=vae["z_channels"],
            width=vae["ch"],
            multipliers=tuple(vae["ch_mult"]),
            res_blocks=vae["num_res_blocks"],
            attention_levels=tuple(
                level
                for level in range(len(vae["ch_mult"]))
                if vae["resolution"] // 2**level in vae["attn_resolutions"]
            ),
            latent_scale=settings["latent_scale"],
        ),
        transformer=ConcatTransformerConfig(
            width=settings["width"],
            encoder_depth=settings["depth_encoder"],
            decoder_depth=settings["depth_decoder"],
            heads=settings["heads"],
            mlp_ratio=settings["mlp_ratio"],
        ),
        denoiser=DenoiserConfig(
            width=settings["diffusion_mlp_width"], depth=settings["diffusion_mlp_depth"]
        ),
        input_size=(settings["img_size"], settings["img_size"]),
    )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference over the largest expected absolute value; NaN counts as inf."""
    if actual.shape != expected.shape:
        raise ModelError(f"a result of shape {list(actual.shape)}, recorded {list(expected.shape)}")
    error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    return float(error.nan_to_num(nan=float("inf")))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {why_unreadable(path, error)}") from error


def _autoencoder(model: CamSeg) -> PaletteAutoencoder:
    assert isinstance(model.mask_autoencoder, PaletteAutoencoder)
    return model.mask_autoencoder


def _transformer(model: CamSeg) -> ConcatTransformer:
    assert isinstance(model.transformer, ConcatTransformer)
    return model.transformer


def _compare(name: str, actual: Tensor, recorded: dict[str, Tensor]) -> StageResult:
    """With the recorded tensor of that name."""
    return StageResult(name, relative_error(actual, recorded[name]))


def _autoencoder_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    images = _autoencoder(model).images
    yield _compare("vae.moments", images.moments(recorded["image"]), recorded)
    scaled = images.encode(recorded["image"])
    yield _compare("vae.mode", scaled / images.config.latent_scale, recorded)
    yield _compare("image_tokens", scaled.flatten(2).transpose(1, 2), recorded)


def _transformer_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    transformer = _transformer(model)
    yield _compare("encoder_out", transformer.encode(recorded["image_tokens"]), recorded)
    encoded = recorded["encoder_out"]
    yield _compare("decoder_out", transformer.decode(encoded, image_rows=True), recorded)
    expected = recorded["decoder_out"][:, transformer.tokens :]
    error = relative_error(transformer.decode(encoded), expected)
    yield StageResult("decoder_out (mask half)", error)


def _condition(model: CamSeg, recorded: dict[str, Tensor]) -> Tensor:
    """Recorded condition of the mask tokens, [B * n, width]."""
    return recorded["decoder_out"][:, _transformer(model).tokens :].flatten(0, 1)


def _denoiser_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    condition = model.denoiser.cond_embed(_condition(model, recorded))
    names = [name for name in recorded if name.startswith(_OUTPUT)]
    for name in sorted(names, key=lambda name: int(name.removeprefix(_OUTPUT))):
        timestep = torch.tensor([int(name.removeprefix(_OUTPUT))])
        output = model.denoiser(
            recorded["denoiser.x_t"], model.denoiser.time_embed(timestep), condition
        )
        yield _compare(name, output, recorded)


def _sampler_stages(
    model: CamSeg, recorded: dict[str, Tensor], options: SamplingOptions
) -> Iterator[StageResult]:
    plan = model.plan(options)
    timesteps = torch.tensor(plan.sampler.timesteps[::-1])
    error = relative_error(timesteps.double(), recorded["sampler.timesteps"].double())
    yield StageResult("sampler.timesteps", error, limit=0.0)
    condition = model.denoiser.cond_embed(_condition(model, recorded))
    noise = recorded["sampler.noise"]
    x, previous, errors = noise[0].clone(), None, []
    for i, expected in enumerate(recorded["sampler.samples"]):
        output = model.denoiser(x, plan.time_embeddings[i], condition)
        x, previous = plan.sampler.step(i, x, output, previous, noise[i + 1])
        errors.append(relative_error(x, expected))
    worst = max(errors)
    note = f"worst after step {errors.index(worst) + 1} of {len(errors)}"
    yield StageResult("sampler.samples", worst, note=note)


def _decode_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    autoencoder = _autoencoder(model)
    # decode.latent is scaled: the recorded image is decode(latent / scale)
    image = autoencoder.images.decode(recorded["decode.latent"])
    yield _compare("decode.image", image, recorded)
    logits = autoencoder.decode(recorded["decode.latent"])
    yield _compare_labels(logits, recorded["decode.label"])


def _compare_labels(logits: Tensor, recorded: Tensor) -> StageResult:
    """Share of differing pixels; a difference that is not at a tie fails the stage."""
    classes = logits.shape[1]
    # the official palette begins with void, ours ends with it
    expected = (recorded.long() - 1) % classes
    top, labels = logits.max(dim=1)
    differing = labels != expected
    share = float(differing.double().mean())
    gap = top - logits.gather(1, expected[:, None])[:, 0]
    decided = int((gap[differing] > _TIE).sum())
    if decided:
        return StageResult("decode.label", float("inf"), LABEL_TOLERANCE, f"{decided} not at ties")
    note = f"{int(differing.sum())} of {differing.numel()} pixels, at ties"
    return StageResult("decode.label", share, LABEL_TOLERANCE, note)


def _loss_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    transformer = _transformer(model)
    image_tokens, latents = recorded["image_tokens"], recorded["loss.mask_latents"]
    masked = recorded["loss.mask"].bool()
    known = ~masked
    expected = recorded["loss.decoder_out"]
    condition = transformer(image_tokens, transformer.grid, latents, known)
    error = relative_error(condition, expected[:, transformer.tokens :])
    yield StageResult("loss.decoder_out (mask half)", error)
    target = torch.cat([image_tokens, latents], dim=1).flatten(0, 1)
    t, noise = recorded["loss.t"], recorded["loss.noise"]
    x = q_sample(target, t, noise)
    output = model.denoiser(
        x, model.denoiser.time_embed(t), model.denoiser.cond_embed(expected.flatten(0, 1))
    )
    loss = diffusion_loss(output, target, x, t, noise, model.config.prediction)
    yield _compare("loss.per_token", loss, recorded)
    counted = torch.cat([torch.zeros_like(masked), masked], dim=1).flatten()
    yield _compare("loss.value", loss[counted].mean()[None], recorded)


def _chained_stages(model: CamSeg, recorded: dict[str, Tensor]) -> Iterator[StageResult]:
    condition = model.condition(model.image_tokens(recorded["image"]))
    expected = recorded["decoder_out"][:, _transformer(model).tokens :]
    yield StageResult("image to condition", relative_error(condition, expected))
