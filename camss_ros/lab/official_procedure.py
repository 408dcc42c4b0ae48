"""The official evaluation of a frame, step by step as published: what our speed is compared with.

After `validation.ipynb`, `models/mar.py` and MAR's `diffloss.py` of github.com/mahmed10/CAMSS: the
masked autoencoder computes all tokens, 100 respaced ancestral steps from the last timestep draw the
latents of all of them, those of the image are thrown away, time and condition are embedded anew for
each token in each step, everything is float32, and numpy looks for the palette colour that is
nearest to each pixel of the decoded mask. Two differences, neither of which costs time: the image
tokens are the mode of the posterior instead of a sample, and the true labels are not encoded.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from camss_ros.images.label_class import VOID
from camss_ros.inference.frame_ops import resize_frame, upload_frame
from camss_ros.inference.segmenter import check_image
from camss_ros.inference.stage_clock import StageClock
from camss_ros.model.camseg import CamSeg
from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig, TwinConfig
from camss_ros.model.denoiser import Denoiser, FinalLayer, ResidualBlock
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig, PaletteAutoencoder
from camss_ros.model.schedule import TRAIN_STEPS, Sampler, SamplingOptions
from camss_ros.model.transformer import ConcatTransformer

STEPS = 100


def check_official(config: CamSegConfig | TwinConfig) -> None:
    """Raise ValueError where a network of it is not of the official architecture."""
    if not (
        isinstance(config, CamSegConfig)
        and isinstance(config.mask_autoencoder, ImageAutoencoderConfig)
        and isinstance(config.transformer, ConcatTransformerConfig)
    ):
        raise ValueError(
            f"{config.name} is no cam-seg-base: the official procedure needs a palette "
            "autoencoder and the transformer over concatenated tokens"
        )


class OfficialProcedure:
    """Segments frames as the official script does.

    Args:
        network: an official one, in evaluation mode; taken over and moved.
        steps: of the ancestral sampler.

    Raises:
        ValueError: the network is none of the official architecture.
    """

    def __init__(self, network: CamSeg, device: torch.device, steps: int = STEPS) -> None:
        check_official(network.config)
        autoencoder, transformer = network.mask_autoencoder, network.transformer
        assert isinstance(autoencoder, PaletteAutoencoder)
        assert isinstance(transformer, ConcatTransformer)
        self._network = network.to(device=device, dtype=torch.float32)
        self._images, self._transformer = autoencoder.images, transformer
        self._device = device
        options = SamplingOptions(steps, "ddpm", start=TRAIN_STEPS - 1, temperature=1.0)
        config = network.config
        self._sampler = Sampler(options, config.prediction, config.learned_variance)
        self._palette = np.round(autoencoder.colors.cpu().numpy() / 255.0, 4)
        ids = np.arange(len(self._palette), dtype=np.uint8)
        if config.void_color is not None:
            ids[-1] = VOID
        self._ids = ids

    def draw_noise(self, generator: torch.Generator | None = None) -> Tensor:
        """The noise of a frame: [steps, tokens, channels], of image tokens, then of mask tokens."""
        shape = (2 * self._transformer.tokens, self._network.latent_channels)
        noise = self._sampler.draw_noise(shape, self._device, generator)
        assert noise is not None  # at a temperature of 1
        return noise

    @torch.inference_mode()
    def segment(
        self, image: np.ndarray, noise: Tensor | None = None
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Segment one frame.

        Args:
            image: uint8 [H, W, 3] RGB, resized where it has not the working size.
            noise: from `draw_noise`; fresh by default.

        Returns:
            uint8 [h, w] class ids at the working size, 255 for void, and the seconds of
            preprocess, tokens, transformer, sampling, decode, postprocess and total.

        Raises:
            ValueError: not such an image.
        """
        check_image(image)
        network, transformer = self._network, self._transformer
        clock = StageClock(self._device)
        pixels = resize_frame(upload_frame(image, self._device), network.config.input_size)
        images = network.normalize(pixels)
        clock.mark("preprocess")
        token_map = self._images.encode(images)
        clock.mark("tokens")
        encoded = transformer.encode(token_map.flatten(2).transpose(1, 2))
        condition = transformer.decode(encoded, image_rows=True)[0]
        clock.mark("transformer")
        latents = self._sample(condition, self.draw_noise() if noise is None else noise)
        clock.mark("sampling")
        mask_latents = latents[transformer.tokens :]
        decoded = self._images.decode(network.latent_map(mask_latents[None], transformer.grid))
        clock.mark("decode")
        colors = (decoded[0] * 0.5 + 0.5).permute(1, 2, 0).cpu().numpy()
        labels = self._nearest_colors(colors)
        clock.mark("postprocess")
        return labels, clock.seconds()

    def _sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        denoiser, timesteps = self._network.denoiser, self._sampler.timesteps

        def predict(x: Tensor, index: int) -> Tensor:
            t = torch.full((len(x),), timesteps[index], device=x.device)
            return _denoise(denoiser, x, t, condition)

        shape = (len(condition), self._network.latent_channels)
        return self._sampler.sample(predict, shape, self._device, noise=noise)

    def _nearest_colors(self, colors: np.ndarray) -> np.ndarray:
        """[H, W, 3] float32 about 0 to 1 -> uint8 [H, W] class ids."""
        pixels = colors.reshape(-1, 3)
        distances = np.linalg.norm(pixels[:, None, :] - self._palette[None, :, :], axis=2)
        return self._ids[np.argmin(distances, axis=1)].reshape(colors.shape[:2])


def _denoise(denoiser: Denoiser, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    """The denoiser on [n, channels] tokens, with nothing shared between steps or tokens.

    `t`: [n] times. `condition`: [n, width] of the transformer.
    """
    y = denoiser.time_embed(t) + denoiser.cond_embed(condition)
    x = denoiser.input_proj(x)
    for block in denoiser.res_blocks:
        assert isinstance(block, ResidualBlock)
        shift, scale, gate = block.adaLN_modulation(y).chunk(3, dim=-1)
        x = x + gate * block.mlp(block.in_ln(x) * (1 + scale) + shift)
    final: FinalLayer = denoiser.final_layer
    shift, scale = final.adaLN_modulation(y).chunk(2, dim=-1)
    normed = torch.nn.functional.layer_norm(x, (final.width,), eps=1e-6)
    return final.linear(normed * (1 + scale) + shift)
