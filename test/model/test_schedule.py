import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.model.schedule import (
    Sampler,
    SamplingOptions,
    cosine_alpha_bar,
    predict_x0,
    q_sample,
    reveal_counts,
    snr,
    spaced_timesteps,
    trailing_timesteps,
    v_target,
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


def run_ours(sampler, x):
    x, previous = x.clone(), None
    for i, timestep in enumerate(sampler.timesteps):
        x, previous = sampler.step(i, x, toy_network(x, timestep), previous)
    return x


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
    sampler = Sampler(SamplingOptions(steps, "ddim", start=999), prediction)
    assert sampler.timesteps == scheduler.timesteps.tolist()
    expected = run_diffusers(scheduler, start_noise())
    assert relative_error(run_ours(sampler, start_noise()), expected) < 1e-4


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
    sampler = Sampler(SamplingOptions(steps, "dpm++2m"), prediction)
    scheduler.set_timesteps(timesteps=sampler.timesteps)
    expected = run_diffusers(scheduler, start_noise())
    assert relative_error(run_ours(sampler, start_noise()), expected) < 1e-4


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


def test_same_seed_same_latents():
    sampler = Sampler(SamplingOptions(5, "ddpm", temperature=0.8), "v")

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return sampler.sample(lambda x, i: toy_network(x, i), (4, 16), CPU, generator)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


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


def test_latents_stay_float32_with_a_half_precision_network():
    seen = []

    def predict(x, i):
        seen.append(x.dtype)
        return x.bfloat16()

    sampler = Sampler(SamplingOptions(3, "dpm++2m", temperature=1.0), "v")
    result = sampler.sample(predict, (4, 16), CPU, torch.Generator().manual_seed(0))
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
        ({"start": 1000}, "start"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"samples": 0}, "samples"),
        ({"iterations": 0}, "iterations"),
        ({"sampler": "euler"}, "sampler"),
        ({"order": "raster"}, "order"),
    ],
)
def test_bad_options_are_refused_by_name(bad, named):
    with pytest.raises(ValueError, match=named):
        SamplingOptions(**bad)


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


def test_snr_falls():
    ratio = snr(torch.arange(1000))
    assert (ratio.diff() < 0).all()
    bar = cosine_alpha_bar()[500]
    assert ratio[500].item() == pytest.approx((bar / (1 - bar)).item(), rel=1e-5)


@given(tokens=st.integers(1, 5000), iterations=st.integers(1, 100))
def test_every_iteration_reveals_something_and_together_everything(tokens, iterations):
    counts = reveal_counts(tokens, iterations)
    assert len(counts) == min(tokens, iterations)
    assert min(counts) >= 1
    assert sum(counts) == tokens


def test_reveal_counts_follow_the_cosine():
    # masked after each iteration: floor(100 * cos(pi/2 * k/4)) = 92, 70, 38, 0
    assert reveal_counts(100, 4) == [8, 22, 32, 38]
