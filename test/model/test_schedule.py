import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.model.diffusion import predict_x0, q_sample, v_target
from camss_ros.model.schedule import (
    Sampler,
    SamplingOptions,
    cosine_alpha_bar,
    spaced_timesteps,
    trailing_timesteps,
)

CPU = torch.device("cpu")
COSINE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
PREDICTION = {"v": "v_prediction", "epsilon": "epsilon"}


def toy_network(x: torch.Tensor, timestep: int) -> torch.Tensor:
    """A smooth function of latents and time, standing in for a denoiser."""
    return torch.tanh(x * 0.7 + math.sin(timestep / 300)) + 0.1 * x


def run_diffusers(scheduler, x):
    for timestep in scheduler.timesteps:
        output = toy_network(x, int(timestep))
        x = scheduler.step(output, timestep, x, return_dict=False)[0]
    return x


def run_ours(options, prediction, x):
    sampler = Sampler(replace(options, temperature=1.0), prediction)

    def predict(latents, i):
        return toy_network(latents, sampler.timesteps[i])

    return sampler.sample(predict, x.shape, CPU, noise=x[None])


def relative_error(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def start_noise():
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


def test_alpha_bar_is_that_of_diffusers():
    theirs = DDPMScheduler(**COSINE).alphas_cumprod.double()
    # theirs is accumulated in float32
    torch.testing.assert_close(cosine_alpha_bar(), theirs, rtol=1e-3, atol=1e-6)


def test_alpha_bar_end_values():
    amplification = cosine_alpha_bar().rsqrt()
    assert round(amplification[999].item()) == 20291
    assert round(amplification[980].item()) == 34


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10, 50])
def test_ddim_matches_diffusers(steps, prediction):
    """From 999, as diffusers' DDIM knows even strides only."""
    scheduler = DDIMScheduler(
        **COSINE,
        prediction_type=PREDICTION[prediction],
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    options = SamplingOptions(steps, "ddim", start=999)
    assert Sampler(options, prediction).timesteps == scheduler.timesteps.tolist()
    expected = run_diffusers(scheduler, start_noise())
    assert relative_error(run_ours(options, prediction, start_noise()), expected) < 1e-4


@pytest.mark.parametrize("lower_order_final", [True, False])
@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 20, 50])
def test_dpm_solver_matches_diffusers(steps, prediction, lower_order_final):
    """Midpoint; ending at zero noise, its last step is of first order either way."""
    scheduler = DPMSolverMultistepScheduler(
        **COSINE,
        prediction_type=PREDICTION[prediction],
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=lower_order_final,
        final_sigmas_type="zero",
    )
    options = SamplingOptions(steps, "dpm++2m")
    scheduler.set_timesteps(timesteps=Sampler(options, prediction).timesteps)
    expected = run_diffusers(scheduler, start_noise())
    assert relative_error(run_ours(options, prediction, start_noise()), expected) < 1e-4


@pytest.mark.parametrize("learned_variance", [False, True])
@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("steps", [2, 10, 100])
def test_ddpm_matches_diffusers_step_by_step(steps, prediction, learned_variance):
    scheduler = DDPMScheduler(
        **COSINE,
        prediction_type=PREDICTION[prediction],
        clip_sample=False,
        variance_type="learned_range" if learned_variance else "fixed_small",
    )
    options = SamplingOptions(steps, "ddpm", temperature=1.0)
    sampler = Sampler(options, prediction, learned_variance)
    scheduler.set_timesteps(timesteps=sampler.timesteps)
    x = start_noise().flatten(0, 1)
    for i, timestep in enumerate(sampler.timesteps):
        output = toy_network(x, timestep)
        if learned_variance:
            output = torch.cat([output, torch.cos(3 * x)], dim=1)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i))
        ours, _ = sampler.step(i, x.clone(), output, None, noise)
        same_noise = torch.Generator().manual_seed(i)
        x = scheduler.step(output, timestep, x, generator=same_noise, return_dict=False)[0]
        assert relative_error(ours, x) < 1e-4


def test_ddpm_spacing_takes_both_ends():
    assert spaced_timesteps(1000, 1000) == list(range(1000))
    assert spaced_timesteps(1000, 4) == [0, 333, 666, 999]
    assert spaced_timesteps(951, 1) == [950]


@given(
    start=st.integers(1, 999), steps=st.integers(1, 1000), name=st.sampled_from(["ddim", "ddpm"])
)
def test_timesteps_fall_from_the_start(start, steps, name):
    timesteps = Sampler(SamplingOptions(steps, name, start), "v").timesteps
    assert len(timesteps) == min(steps, start + 1)
    assert timesteps[0] == start
    assert timesteps[-1] >= 0
    assert all(earlier > later for earlier, later in pairwise(timesteps))


def test_trailing_timesteps_of_four():
    assert trailing_timesteps(950, 4) == [950, 712, 475, 237]


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "ddpm"])
@pytest.mark.parametrize("steps", [1, 2, 5, 1000])
def test_an_exact_network_leads_to_the_clean_latents(steps, name, prediction):
    """A network that knows x0 must be followed to x0, whatever the sampler, noise and steps."""
    clean = torch.linspace(-2, 2, 48).view(3, 16)
    sampler = Sampler(SamplingOptions(steps, name, temperature=1.0), prediction)
    bars = cosine_alpha_bar()[sampler.timesteps].float()

    def predict(x, i):
        signal, sigma = bars[i].sqrt(), (1 - bars[i]).sqrt()
        noise = (x - signal * clean) / sigma
        return noise if prediction == "epsilon" else signal * noise - sigma * clean

    result = sampler.sample(predict, (3, 16), CPU, torch.Generator().manual_seed(0))
    torch.testing.assert_close(result, clean, rtol=1e-3, atol=1e-3)


def test_zero_temperature_starts_from_zero_and_needs_no_generator():
    seen = []

    def predict(x, i):
        seen.append(x.clone())
        return x - 1

    first = Sampler(SamplingOptions(3, "ddpm"), "v").sample(predict, (4, 16), CPU)
    again = Sampler(SamplingOptions(3, "ddpm"), "v").sample(predict, (4, 16), CPU)
    assert not seen[0].any()
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_noise_drawn_beforehand_is_the_generators(name):
    sampler = Sampler(SamplingOptions(4, name, temperature=0.7), "v")

    def generator():
        return torch.Generator().manual_seed(3)

    drawn = sampler.sample(toy_network, (5, 16), CPU, generator())
    noise = sampler.draw_noise((5, 16), CPU, generator())
    kept = noise.clone()
    assert torch.equal(sampler.sample(toy_network, (5, 16), CPU, noise=noise), drawn)
    assert torch.equal(noise, kept)
    assert Sampler(SamplingOptions(4, name), "v").draw_noise((5, 16), CPU) is None


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_start_is_the_latents_diffused_to_the_first_timestep(temperature):
    options = SamplingOptions(steps=2, start=300, temperature=temperature)
    latents = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(1))
    seen = []

    def predict(x, index):
        seen.append(x.clone())
        return torch.zeros_like(x)

    generator = torch.Generator().manual_seed(2)
    Sampler(options, "v").sample(predict, latents.shape, CPU, generator, latents=latents)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    bar = float(cosine_alpha_bar()[300])
    expected = math.sqrt(bar) * latents + temperature * math.sqrt(1 - bar) * noise
    torch.testing.assert_close(seen[0], expected)


def test_a_warm_start_needs_one_pass_and_a_timestep():
    with pytest.raises(ValueError, match="warm_start_time needs iterations 1"):
        SamplingOptions(warm_start_time=300, iterations=2)
    with pytest.raises(ValueError, match="warm_start_time must be from 0 to 999"):
        SamplingOptions(warm_start_time=1000)


def test_latents_stay_float32_with_a_half_precision_network():
    seen = []
    sampler = Sampler(SamplingOptions(3, "dpm++2m", temperature=1.0), "v")

    def draw(dtype):
        def predict(x, i):
            seen.append(x.dtype)
            return x.bfloat16().to(dtype)

        return sampler.sample(predict, (4, 16), CPU, torch.Generator().manual_seed(0))

    result = draw(torch.bfloat16)
    assert torch.equal(result, draw(torch.float32))  # nor is anything else rounded
    assert {*seen, result.dtype} == {torch.float32}


@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "ddpm"])
def test_sampling_stays_on_its_device(name):
    meta = torch.device("meta")
    sampler = Sampler(SamplingOptions(3, name, temperature=1.0), "epsilon", learned_variance=True)
    result = sampler.sample(lambda x, i: torch.cat([x, x], dim=-1), (4, 16), meta)
    assert result.device == meta
    assert result.shape == (4, 16)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps must be an integer"),
        ({"start": 0}, "start must be from 1 to 999"),
        ({"start": 1000}, "start"),
        ({"warm_start_time": -1}, "warm_start_time"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"samples": 0}, "samples must be from 1 upwards"),
        ({"iterations": 0}, "iterations"),
        ({"sampler": "euler"}, "sampler"),
        ({"order": "raster"}, "order"),
    ],
)
def test_bad_options_are_refused_by_name(bad, named):
    with pytest.raises(ValueError, match=named):
        SamplingOptions(**bad)


@pytest.mark.parametrize(
    "good",
    [
        {"steps": 1000, "start": 999, "samples": 1000, "iterations": 1000},
        {"start": 1, "temperature": 0, "warm_start_time": 999},
        {"iterations": 2, "warm_start_time": 0},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(good):
    assert {name: getattr(SamplingOptions(**good), name) for name in good} == good


def test_one_step_from_zero_without_a_warm_start_is_the_default():
    assert SamplingOptions() == SamplingOptions(
        steps=1, sampler="ddim", start=950, temperature=0.0, samples=1, iterations=1,
        order="confidence", warm_start_time=0,
    )  # fmt: skip
    warm = SamplingOptions(steps=3, temperature=0.5, warm_start_time=300).warm()
    assert warm == SamplingOptions(steps=3, temperature=0.5, start=300)


def test_sampling_records_no_gradients():
    weight = torch.ones(16, requires_grad=True)
    sampler = Sampler(SamplingOptions(2), "v")
    assert not sampler.sample(lambda x, i: weight * x + 1, (3, 16), CPU).requires_grad
    x, x0 = sampler.step(0, torch.ones(3, 16), weight.expand(3, 16))
    assert not x.requires_grad
    assert not x0.requires_grad


def test_images_that_share_noise_get_what_one_alone_would():
    sampler = Sampler(SamplingOptions(3, "ddpm", temperature=0.7), "v")

    def draw(rows, images):
        generator = torch.Generator().manual_seed(3)
        return sampler.sample(toy_network, (rows, 16), CPU, generator, images=images)

    assert torch.equal(draw(6, 3), draw(2, 1).repeat_interleave(3, dim=0))


def test_noise_is_drawn_for_the_start_and_every_noisy_step():
    for name, steps, count in (("ddim", 4, 1), ("dpm++2m", 4, 1), ("ddpm", 1, 1), ("ddpm", 4, 4)):
        warm = Sampler(SamplingOptions(steps, name, temperature=0.5), "v")
        assert warm.noise_count == count
        assert warm.draw_noise((2, 16), CPU).shape == (count, 2, 16)
        assert Sampler(SamplingOptions(steps, name), "v").noise_count == 0


def test_the_drawn_noise_has_the_deviation_of_the_temperature():
    sampler = Sampler(SamplingOptions(1, temperature=0.25), "v")
    noise = sampler.draw_noise((10_000,), CPU, torch.Generator().manual_seed(0))
    assert noise.std().item() == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_training_targets_lead_back_to_x0(prediction):
    x0, noise = torch.randn(2, 6, 3, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 10, 300, 500, 700, 900])
    x = q_sample(x0, t, noise)
    target = noise if prediction == "epsilon" else v_target(x0, t, noise)
    torch.testing.assert_close(predict_x0(x, t, target, prediction), x0, rtol=1e-3, atol=1e-3)


def test_q_sample_matches_diffusers():
    x0, noise = torch.randn(2, 6, 3, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 10, 300, 500, 700, 900])
    expected = DDPMScheduler(**COSINE).add_noise(x0, noise, t)
    torch.testing.assert_close(q_sample(x0, t, noise), expected, rtol=1e-4, atol=1e-4)
