"""The loss in full is compared with an independent implementation in test_parity."""

import pytest
import torch

from camss_ros.model.diffusion import q_sample, v_target
from camss_ros.model.loss import diffusion_loss


def batch(prediction, count=64):
    x0, noise = torch.randn(2, count, 16, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0, 999, count).long()
    target = noise if prediction == "epsilon" else v_target(x0, t, noise)
    return x0, noise, t, q_sample(x0, t, noise), target


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_without_variance_it_is_the_squared_error(prediction):
    x0, noise, t, x, target = batch(prediction)
    assert not diffusion_loss(target, x0, x, t, noise, prediction).any()
    loss = diffusion_loss(target + 2, x0, x, t, noise, prediction)
    torch.testing.assert_close(loss, torch.full((64,), 4.0))


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_smallest_variance_is_best_for_a_perfect_prediction(prediction):
    """For t > 0 the bound is the divergence of two normals, zero where they are the same."""
    x0, noise, t, x, target = batch(prediction)

    def loss(value):
        output = torch.cat([target, torch.full_like(target, value)], dim=1)
        return diffusion_loss(output, x0, x, t, noise, prediction)[1:]

    torch.testing.assert_close(loss(-1.0), torch.zeros(63), rtol=0, atol=1e-3)
    assert (loss(1.0)[:20] > loss(-1.0)[:20]).all()


def test_the_bound_does_not_pull_at_the_prediction():
    x0, noise, t, x, target = batch("epsilon")
    output = torch.cat([target, torch.zeros_like(target)], dim=1).requires_grad_()
    diffusion_loss(output, x0, x, t, noise, "epsilon").sum().backward()
    assert not output.grad[:, :16].any()
    assert output.grad[:, 16:].any()


def test_half_precision_outputs_give_a_float32_loss():
    x0, noise, t, x, target = batch("v")
    assert diffusion_loss(target.bfloat16(), x0, x, t, noise, "v").dtype == torch.float32


def test_it_works_in_training_after_inference():
    x0, noise, t, x, target = batch("epsilon")
    output = torch.cat([target, target], dim=1)
    with torch.inference_mode():
        diffusion_loss(output, x0, x, t, noise, "epsilon")
    diffusion_loss(output.requires_grad_(), x0, x, t, noise, "epsilon").sum().backward()
    assert output.grad.isfinite().all()
