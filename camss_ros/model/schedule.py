"""Noise schedule and few-step samplers.

The schedule is the cosine one of improved diffusion (arXiv 2102.09672, equation 17), 1000 steps.
Every sampler is a table of coefficients, computed once in float64, and one loop:

    x0 = x0_from_x * x + x0_from_output * output
    x  = a * x + b * x0 + c * x0_previous + s * noise

Near the last timestep the cosine schedule leaves almost no signal (1 / sqrt(alpha_bar) is 20,291
at t = 999 and 13 at t = 950), so that an epsilon network's first error would be amplified by
thousands: few-step samplers start at t <= 950.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

TRAIN_STEPS = 1000

SamplerName = Literal["ddim", "dpm++2m", "ddpm"]
Prediction = Literal["v", "epsilon"]
Order = Literal["confidence", "random"]

_MAX_BETA = 0.999


@dataclass(frozen=True)
class SamplingOptions:
    """How mask latents are drawn.

    Attributes:
        steps: denoiser evaluations for a token, 1 to 1000. There are `start + 1` timesteps, so no
            more than that many are taken.
        sampler: "ddim" (arXiv 2010.02502, eta 0), "dpm++2m" (DPM-Solver++ second-order multistep,
            arXiv 2211.01095) or "ddpm" (ancestral, respaced).
        start: first timestep, 1 to 999. 999 is for the official ancestral chain only.
        temperature: factor of the start noise and of each step's noise. 0 starts from zero and
            walks towards the mode.
        samples: latents drawn for a frame, whose class probabilities are averaged.
        iterations: passes of masked-autoregressive decoding; 1 draws all tokens at once.
        order: which tokens are revealed first when `iterations` > 1.
        warm_start_time: timestep, 1 to 999, from which the steady tokens of a frame of a clip are
            drawn, by beginning from the latents of the frame before (`warm_start.py`); 0 draws
            every frame on its own. Needs one iteration.

    Raises:
        ValueError: a value is outside its range; the message names it.
    """

    steps: int = 1
    sampler: SamplerName = "ddim"
    start: int = 950
    temperature: float = 0.0
    samples: int = 1
    iterations: int = 1
    order: Order = "confidence"
    warm_start_time: int = 0

    def __post_init__(self) -> None:
        _check_range("steps", self.steps, 1, TRAIN_STEPS)
        _check_range("start", self.start, 1, TRAIN_STEPS - 1)
        _check_range("samples", self.samples, 1, None)
        _check_range("iterations", self.iterations, 1, None)
        _check_range("warm_start_time", self.warm_start_time, 0, TRAIN_STEPS - 1)
        if self.warm_start_time and self.iterations > 1:
            raise ValueError(
                "warm_start_time needs iterations 1: iterative decoding begins from masked tokens"
            )
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be a number from 0 upwards, not {self.temperature}")
        for name, value, choices in (
            ("sampler", self.sampler, get_args(SamplerName)),
            ("order", self.order, get_args(Order)),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")

    def warm(self) -> SamplingOptions:
        """How the tokens that begin from latents are drawn: as others, from `warm_start_time`."""
        return replace(self, start=self.warm_start_time, warm_start_time=0)


def _check_range(name: str, value: int, low: int, high: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer, not {value!r}")
    if value < low or (high is not None and value > high):
        allowed = f"from {low} upwards" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {allowed}, not {value}")


@lru_cache(maxsize=1)
def cosine_alpha_bar() -> Tensor:
    """Share of signal power left at each timestep: [1000] float64 on the CPU, falling."""
    with torch.inference_mode(False):
        edges = torch.arange(TRAIN_STEPS + 1, dtype=torch.float64, device="cpu") / TRAIN_STEPS
        signal = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - signal[1:] / signal[:-1]).clamp(max=_MAX_BETA)
        return torch.cumprod(1 - betas, dim=0)


@dataclass(frozen=True)
class Step:
    """Coefficients of one sampler step (module docstring).

    Where the network predicts its variance, s = exp(log_s + log_s_per_value * value) for a
    variance value in [-1, 1]; else s = exp(log_s). `noisy` is False where s is zero.
    """

    timestep: int
    x0_from_x: float
    x0_from_output: float
    a: float
    b: float
    c: float = 0.0
    noisy: bool = False
    log_s: float = 0.0
    log_s_per_value: float = 0.0


def spaced_timesteps(count: int, steps: int) -> list[int]:
    """`steps` of the timesteps 0 to `count` - 1, ascending, both ends included.

    Spacing of improved diffusion's `space_timesteps`, float accumulation included. A single step
    is the last timestep.
    """
    if steps == 1:
        return [count - 1]
    stride = (count - 1) / (steps - 1)
    timesteps, position = [], 0.0
    for _ in range(steps):
        timesteps.append(round(position))
        position += stride
    return timesteps


def trailing_timesteps(start: int, steps: int) -> list[int]:
    """`steps` timesteps, descending, that cut the way from `start` to the clean latent evenly.

    "Trailing" spacing (arXiv 2305.08891), which begins exactly at `start`.
    """
    return [round((start + 1) * k / steps) - 1 for k in range(steps, 0, -1)]


@lru_cache(maxsize=32)
def coefficient_table(
    sampler: SamplerName,
    steps: int,
    start: int,
    prediction: Prediction,
    learned_variance: bool,
) -> tuple[Step, ...]:
    """Steps of a sampler in sampling order; see `SamplingOptions` for the arguments.

    Args:
        prediction: what the network's output is.
        learned_variance: the network also predicts where the variance of an ancestral step lies
            between its two bounds (arXiv 2102.09672, equation 15). Only "ddpm" adds noise.
    """
    steps = min(steps, start + 1)
    if sampler == "ddpm":
        timesteps = spaced_timesteps(start + 1, steps)[::-1]
    else:
        timesteps = trailing_timesteps(start, steps)
    bars = [float(bar) for bar in cosine_alpha_bar()[timesteps]] + [1.0]
    table = []
    for i, timestep in enumerate(timesteps):
        bar, next_bar = bars[i], bars[i + 1]
        to_x0 = (timestep, *_to_x0(bar, prediction))
        if next_bar == 1.0:  # every sampler ends at its estimate of the clean latent
            table.append(Step(*to_x0, a=0.0, b=1.0))
        elif sampler == "ddpm":
            table.append(_ancestral_step(to_x0, bar, next_bar, learned_variance))
        elif sampler == "dpm++2m" and i > 0:
            table.append(_multistep(to_x0, bars[i - 1], bar, next_bar))
        else:
            # DPM-Solver++ of order 1 is DDIM
            ratio = math.sqrt((1 - next_bar) / (1 - bar))
            table.append(Step(*to_x0, a=ratio, b=math.sqrt(next_bar) - ratio * math.sqrt(bar)))
    return tuple(table)


def _to_x0(bar: float, prediction: Prediction) -> tuple[float, float]:
    signal, sigma = math.sqrt(bar), math.sqrt(1 - bar)
    return (signal, -sigma) if prediction == "v" else (1 / signal, -sigma / signal)


def _ancestral_step(
    to_x0: tuple[int, float, float], bar: float, next_bar: float, learned_variance: bool
) -> Step:
    """Mean of the posterior q(x_next | x, x0); noise between its variance and beta."""
    beta = 1 - bar / next_bar
    log_min = math.log(beta * (1 - next_bar) / (1 - bar))
    log_max = math.log(beta) if learned_variance else log_min
    return Step(
        *to_x0,
        a=math.sqrt(1 - beta) * (1 - next_bar) / (1 - bar),
        b=math.sqrt(next_bar) * beta / (1 - bar),
        noisy=True,
        # s = exp(log variance / 2) and a value v stands for the share (v + 1) / 2
        log_s=(log_min + log_max) / 4,
        log_s_per_value=(log_max - log_min) / 4,
    )


def _multistep(
    to_x0: tuple[int, float, float], previous_bar: float, bar: float, next_bar: float
) -> Step:
    """DPM-Solver++(2M), midpoint variant (arXiv 2211.01095, algorithm 2)."""
    previous, current, following = (
        0.5 * math.log(b / (1 - b)) for b in (previous_bar, bar, next_bar)
    )
    h = following - current
    slope = h / (current - previous) / 2
    gain = -math.sqrt(next_bar) * math.expm1(-h)
    return Step(
        *to_x0,
        a=math.sqrt((1 - next_bar) / (1 - bar)),
        b=gain * (1 + slope),
        c=-gain * slope,
    )


class Sampler:
    """Draws latents with a denoiser.

    The coefficients are Python numbers, so that nothing is moved between devices and the loop
    never waits for one. Latents are float32 whatever the precision of the network.

    Args:
        options: steps, sampler, start and temperature.
        prediction: what the network's output is.
        learned_variance: the output holds a variance value for each channel after the prediction.
    """

    def __init__(
        self, options: SamplingOptions, prediction: Prediction, learned_variance: bool = False
    ) -> None:
        self.temperature = options.temperature
        self.learned_variance = learned_variance
        self.table = coefficient_table(
            options.sampler, options.steps, options.start, prediction, learned_variance
        )
        bar = float(cosine_alpha_bar()[self.table[0].timestep])
        self._start_signal, self._start_sigma = math.sqrt(bar), math.sqrt(1 - bar)

    @property
    def timesteps(self) -> list[int]:
        """Timestep of each step in sampling order; its index is what `predict` is given."""
        return [step.timestep for step in self.table]

    @property
    def noise_count(self) -> int:
        """Noise tensors that drawing takes: the start's and one for each noisy step, or none."""
        return 1 + sum(step.noisy for step in self.table) if self.temperature > 0 else 0

    def draw_noise(
        self,
        shape: tuple[int, ...],
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor | None:
        """All noise of `sample` at once, as it would draw it from the generator.

        Returns:
            [noise_count, *shape] float32, scaled by the temperature; None if there is none.
        """
        if self.noise_count == 0:
            return None
        noise = torch.empty((self.noise_count, *shape), dtype=torch.float32, device=device)
        for each in noise:
            each.normal_(std=self.temperature, generator=generator)
        return noise

    @torch.no_grad()
    def sample(
        self,
        predict: Callable[[Tensor, int], Tensor],
        shape: tuple[int, ...],
        device: torch.device,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        images: int = 1,
    ) -> Tensor:
        """Draw latents.

        Args:
            predict: called with noisy latents (`shape`, float32) and the index of the step;
                returns v or epsilon of that shape, or with learned variance twice the channels.
            shape: of the latents, [rows, ..., channels].
            generator: on `device`; the latents are a function of its state.
            noise: [noise_count, *shape] of `draw_noise`, in place of the generator: the latents
                are then a pure function of tensors, as compilers want it.
            latents: clean ones of `shape` to begin from, diffused to the first timestep, in place
                of nothing but noise. Without noise they are only scaled: the way from a zero start
                leads through such points.
            images: this many rows that follow each other get the same noise of the generator.

        Returns:
            `shape` float32 on `device`.
        """
        given = None if noise is None else iter(noise.unbind(0))
        drawn_shape = (shape[0] // images, *shape[1:])

        def next_noise() -> Tensor:
            if given is not None:
                return next(given)
            fresh = torch.empty(drawn_shape, dtype=torch.float32, device=device)
            fresh.normal_(std=self.temperature, generator=generator)
            return fresh.repeat_interleave(images, dim=0)

        if self.temperature > 0:
            x = next_noise().clone()
        else:
            x = torch.zeros(shape, dtype=torch.float32, device=device)
        if latents is not None:
            x = x.mul_(self._start_sigma).add_(latents, alpha=self._start_signal)
        previous = None
        for i, step in enumerate(self.table):
            output = predict(x, i)
            noisy = step.noisy and self.temperature > 0
            x, previous = self.step(i, x, output, previous, next_noise() if noisy else None)
        return x

    @torch.no_grad()
    def step(
        self,
        i: int,
        x: Tensor,
        output: Tensor,
        previous: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One step of the loop.

        Args:
            i: index of the step.
            x: [..., channels] float32 latents; overwritten.
            output: of the network at `x`, of its shape, or with learned variance twice the
                channels.
            previous: x0 of the step before, of the shape of `x`.
            noise: normal noise of that shape, already scaled by the temperature; None adds none.

        Returns:
            (x after the step, x0), each of the shape of `x`.
        """
        step = self.table[i]
        channels = x.shape[-1]
        x0 = output[..., :channels].float() * step.x0_from_output
        x0.add_(x, alpha=step.x0_from_x)
        x.mul_(step.a).add_(x0, alpha=step.b)
        if step.c and previous is not None:
            x.add_(previous, alpha=step.c)
        if step.noisy and noise is not None:
            if self.learned_variance:
                log_s = output[..., channels:].float() * step.log_s_per_value
                x.addcmul_(log_s.add_(step.log_s).exp_(), noise)
            else:
                x.add_(noise, alpha=math.exp(step.log_s))
        return x, x0
