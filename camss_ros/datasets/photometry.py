"""Photometry of training images, which is light, lens and sensor: a batch at once, on its device.

What is random is drawn for each sample by itself, with NumPy, by the process that reads the frame.
Only the pixels' noise is drawn on the device, from a seed of the sample: an image does not depend
on which process makes it or which others are in its batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from camss_ros.datasets.augmentation import AugmentationOptions, random_view

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and Pillow
_HIDDEN = 127 / 255  # value of a hidden patch
_PIVOTS = 3  # what a factor of the colour jitter is about: black, the mean grey, the own grey
# Draws of recolour: how often, and how strong in parts of the value range or in pixels.
_SOFT, _SOFT_BLUR = 0.15, (0.4, 1.5)
_NOISY, _NOISE = 0.2, (0.01, 0.05)


def augment(
    image: np.ndarray,
    label: np.ndarray,
    options: AugmentationOptions,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented version of a labelled image, as a training sees it.

    Args:
        image: uint8 [H, W, 3] RGB.
        label: uint8 [H, W], 255 where void.
        options: see `AugmentationOptions`.
        rng: source of everything random.
        focus: see `random_view`.

    Returns:
        Image uint8 [h, w, 3] and label uint8 [h, w] of `options.size`; what lies outside the
        frame is grey, before the photometry, and void.
    """
    view = random_view(label.shape, options, rng, focus)
    images = torch.from_numpy(view.of_image(image)).permute(2, 0, 1)[None]
    images = apply_photometry(images, default_collate([draw_photometry(options, rng)]))
    return images[0].permute(1, 2, 0).numpy(), view.of_label(label)


def draw_photometry(options: AugmentationOptions, rng: np.random.Generator) -> dict[str, Any]:
    """What `apply_photometry` is to do to one image, as numbers and small arrays by name.

    Args:
        options: how often and how strongly.
        rng: of the sample.
    """

    def happens(probability: float) -> bool:
        return probability > 0 and bool(rng.random() < probability)

    def spread(deviation: float, count: int | None = None) -> Any:
        return np.exp(rng.normal(0.0, deviation * options.recolour, count))

    draws: dict[str, Any] = {
        "seed": int(rng.integers(2**62)),
        "gamma": spread(0.25),
        "gain": (spread(0.12) * spread(0.06, 3)).astype(np.float32),
        "contrast": spread(0.15),
        "saturation": spread(0.25),
    }
    blur = rng.uniform(*_SOFT_BLUR) if happens(_SOFT * options.recolour) else 0.0
    noise = rng.uniform(*_NOISE) if happens(_NOISY * options.recolour) else 0.0
    draws["jitter"] = happens(options.color_jitter_probability)
    draws["pivots"] = rng.permutation(_PIVOTS)
    draws["factors"] = rng.uniform(1 - options.color_jitter, 1 + options.color_jitter, _PIVOTS)
    draws["hue"] = rng.uniform(-options.hue_jitter, options.hue_jitter)
    if happens(options.gaussian_blur_probability):
        blur = np.hypot(blur, rng.uniform(*options.gaussian_blur))
    draws["blur"] = float(blur)
    moves = happens(options.motion_blur_probability)
    draws["motion"] = rng.uniform(*options.motion_blur) if moves else 0.0
    draws["angle"] = rng.uniform(0.0, np.pi)
    if happens(options.gaussian_noise_probability):
        noise = np.hypot(noise, rng.uniform(*options.gaussian_noise) / 255)
    draws["noise"] = float(noise)
    specks = happens(options.salt_and_pepper_probability)
    draws["specks"] = rng.uniform(*options.salt_and_pepper) if specks else 0.0
    hides = happens(options.hide_and_seek_probability)
    draws["cell"] = int(rng.choice(options.hide_and_seek_cells)) if hides else 0
    draws["hidden"] = options.hide_and_seek
    return draws


@torch.no_grad()
def apply_photometry(images: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Change images as drawn: first their light, then the lens, then the sensor.

    Args:
        images: uint8 [B, 3, H, W] RGB.
        draws: of `draw_photometry`, stacked: [B, ...] each, on the CPU, so that nothing is asked of
            the device.

    Returns:
        uint8 [B, 3, H, W].
    """
    device = images.device
    # no copy that waits for the device: what it is asked to do must not run dry
    there = {name: each.to(device, non_blocking=True) for name, each in draws.items()}
    x = _relit(images.float() / 255, there)
    for changed, change in (
        (draws["jitter"], _jittered),
        ((draws["blur"] > 0) | (draws["motion"] > 0), partial(_blurred, half=_half(draws))),
    ):
        index = changed.nonzero()[:, 0].to(device, non_blocking=True)
        if len(index):
            x[index] = change(x[index], {name: each[index] for name, each in there.items()})
    _add_sensor(x, draws)
    return (x * 255 + 0.5).to(torch.uint8)


def _relit(x: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Exposure, white balance, contrast and saturation; clipped to 0-1."""
    x = x ** _each(draws["gamma"], x) * _each(draws["gain"], x)
    x = torch.lerp(x.mean(dim=(1, 2, 3), keepdim=True), x, _each(draws["contrast"], x))
    return torch.lerp(_grey(x), x, _each(draws["saturation"], x)).clamp(0, 1)


def _jittered(x: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Brightness, contrast and saturation in random order, then hue, as torchvision's ColorJitter.

    Each of the three multiplies the distance from a pivot.
    """
    for turn in range(_PIVOTS):
        kind = _each(draws["pivots"][:, turn], x)
        grey = _grey(x)
        pivot = (kind == 1) * grey.mean(dim=(2, 3), keepdim=True) + (kind == 2) * grey
        x = torch.lerp(pivot, x, _each(draws["factors"][:, turn], x)).clamp(0, 1)
    return _turn_hue(x, _each(draws["hue"], x)[:, 0])


def _turn_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` ([B, 1, 1]) of the colour circle, by way of HSV."""
    red, green, blue = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    scale = 1 / chroma.clamp(min=1e-6)
    hue = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    # the closed form of the way back: https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB
    turned = hue + 6 * shift
    k = torch.stack([start + turned for start in (5, 3, 1)], dim=1) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def _half(draws: dict[str, Tensor]) -> int:
    """How far the kernels of `_blurred` reach, pixels."""
    reach = max(4 * float(draws["blur"].max()), float(draws["motion"].max()) / 2)
    return max(1, int(np.ceil(reach)))


def _blurred(x: Tensor, draws: dict[str, Tensor], half: int) -> Tensor:
    """Convolve [B, 3, H, W] with a Gaussian and a line each, by way of its spectrum."""
    height, width = x.shape[2:]
    rows, columns = (_mirrored(side, 2 * half, x.device) for side in (height, width))
    padded = x[:, :, rows[:, None], columns]
    # sides that the transform is fast for; what is added never gets into the result
    size = tuple(-(-side // 64) * 64 for side in padded.shape[2:])
    spectrum = torch.fft.rfft2(padded, s=size)
    lines = _lines(half, draws["motion"], draws["angle"])
    for kernel in (_gaussians(half, draws["blur"]), lines):
        spectrum *= torch.fft.rfft2(kernel, s=size)[:, None]
    # each kernel moves the image by its own half
    result = torch.fft.irfft2(spectrum, s=size)[
        :, :, 4 * half : 4 * half + height, 4 * half : 4 * half + width
    ]
    return result.clamp(0, 1)


def _mirrored(side: int, more: int, device: torch.device) -> Tensor:
    """Indices into a side that is continued on both ends without its last pixel said twice."""
    period = max(1, 2 * (side - 1))
    index = torch.arange(-more, side + more, device=device) % period
    return torch.minimum(index, period - index)


def _gaussians(half: int, sigma: Tensor) -> Tensor:
    """[B, k, k], sum 1, of the deviations [B] in pixels; a single 1 where it is 0."""
    offset = torch.arange(-half, half + 1, dtype=torch.float64, device=sigma.device)
    line = torch.exp(-0.5 * (offset / sigma[:, None].clamp(min=1e-3)) ** 2)
    line = line / line.sum(dim=1, keepdim=True)
    return (line[:, :, None] * line[:, None, :]).float()


def _lines(half: int, length: Tensor, angle: Tensor) -> Tensor:
    """[B, k, k], sum 1: lines one pixel thick through the middle, as `image_noise.line_kernel`.

    Args:
        half: k is twice it and one.
        length: [B] pixels; up to 1 gives a single 1.
        angle: [B] radians, clockwise from the image's right.
    """
    offset = torch.arange(-half, half + 1, dtype=torch.float64, device=length.device)
    y, x = offset[:, None], offset
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    beyond = ((x * cos + y * sin).abs() - ((length - 1) / 2).clamp(min=0)[:, None, None]).clamp(
        min=0
    )
    kernel = (1 - torch.hypot(beyond, x * sin - y * cos)).clamp(min=0)
    return (kernel / kernel.sum(dim=(1, 2), keepdim=True)).float()


def _add_sensor(x: Tensor, draws: dict[str, Tensor]) -> None:
    """Noise, black and white pixels and hidden patches, in place; each sample from its seed."""
    generator = torch.Generator(x.device)
    height, width = x.shape[2:]
    seeds, noise, specks, cells, hidden = (
        draws[name].tolist() for name in ("seed", "noise", "specks", "cell", "hidden")
    )
    for index, image in enumerate(x):
        if not (noise[index] or specks[index] or cells[index]):
            continue
        generator.manual_seed(seeds[index])
        if noise[index]:
            grain = torch.randn(image.shape, generator=generator, device=x.device)
            image.add_(grain, alpha=noise[index]).clamp_(0, 1)
        if specks[index]:
            draw = torch.rand((height, width), generator=generator, device=x.device)
            image.masked_fill_(draw < specks[index], 1.0)
            image.masked_fill_(draw < specks[index] / 2, 0.0)
        if cells[index]:
            cell = cells[index]
            grid = (-(-height // cell), -(-width // cell))
            draw = torch.rand(grid, generator=generator, device=x.device)
            mask = (draw < hidden[index]).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
            image.masked_fill_(mask[:height, :width], _HIDDEN)


def _each(values: Tensor, x: Tensor) -> Tensor:
    """A value, or one of each channel, of each image as [B, 1 or 3, 1, 1] beside `x`."""
    return values.reshape(len(values), -1, 1, 1).to(x.dtype)


def _grey(x: Tensor) -> Tensor:
    """[B, 1, H, W] of [B, 3, H, W]."""
    red, green, blue = _GREY
    return red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]
