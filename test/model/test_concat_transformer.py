import pytest
import torch
from small_model import small_official_config

from camss_ros.model.camseg import CamSeg
from camss_ros.model.config import ConcatTransformerConfig
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.transformer import ConcatTransformer

GRID = (3, 4)


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return ConcatTransformer(GRID, 5, 5, ConcatTransformerConfig(32, 2, 2, heads=4)).eval()


@pytest.fixture
def tokens():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 2, 12, 5, generator=generator)


def known_mask(*rows):
    known = torch.zeros(len(rows), 12, dtype=torch.bool)
    for row, places in enumerate(rows):
        known[row, list(places)] = True
    return known


@torch.no_grad()
def test_only_known_mask_tokens_are_read(transformer, tokens):
    image, mask = tokens
    known = known_mask([1, 7], [11, 0])
    out = transformer(image, GRID, mask, known)
    assert out.shape == (2, 12, 32)
    torch.testing.assert_close(transformer(image, GRID, mask, known, known_count=2), out)
    hidden = torch.where(known[..., None], mask, 1e6)
    torch.testing.assert_close(transformer(image, GRID, hidden, known), out)
    seen = torch.where(known[..., None], mask + 1, mask)
    assert not torch.allclose(transformer(image, GRID, seen, known), out, atol=1e-3)


@torch.no_grad()
def test_known_tokens_of_one_image_do_not_reach_another(transformer, tokens):
    image, mask = tokens
    known = known_mask([1, 7], [11, 0])
    together = transformer(image, GRID, mask, known)
    for row in range(2):
        alone = transformer(image[row, None], GRID, mask[row, None], known[row, None])
        torch.testing.assert_close(together[row, None], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_nothing_known_is_the_one_pass_path(transformer, tokens):
    image, mask = tokens
    expected = transformer(image, GRID)
    torch.testing.assert_close(transformer(image, GRID, mask, known_mask([], [])), expected)


@torch.no_grad()
def test_skipping_the_image_rows_changes_nothing(transformer, tokens):
    encoded = transformer.encode(tokens[0])
    full = transformer.decode(encoded, image_rows=True)
    assert full.shape == (2, 24, 32)
    torch.testing.assert_close(transformer.decode(encoded), full[:, 12:], rtol=1e-4, atol=1e-5)


def test_rows_with_unequal_numbers_are_refused(transformer, tokens):
    with pytest.raises(ValueError, match="equally many"):
        transformer(*tokens[:1], GRID, tokens[1], known_mask([1], [2, 3]))


def test_another_grid_is_refused(transformer, tokens):
    with pytest.raises(ValueError, match="3 x 4"):
        transformer(tokens[0], (4, 3))


def test_every_parameter_learns_when_some_tokens_are_known(transformer, tokens):
    transformer(tokens[0], GRID, tokens[1], known_mask([1, 7], [11, 0])).square().sum().backward()
    without = [name for name, value in transformer.named_parameters() if value.grad is None]
    assert without == []


@pytest.mark.parametrize("order", ["confidence", "random"])
def test_the_official_network_decodes_iteratively(order):
    torch.manual_seed(0)
    model = CamSeg(small_official_config(input_size=(8, 8))).eval()
    torch.nn.init.normal_(model.denoiser.final_layer.linear.weight, std=0.1)
    plan = model.plan(SamplingOptions(2, temperature=1.0, iterations=4, order=order))
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)

    def draw(seed):
        return model.generate(images, plan, torch.Generator().manual_seed(seed))

    assert draw(0).shape == (2, 20, 8, 8)
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
