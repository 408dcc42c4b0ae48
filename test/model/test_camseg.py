"""CamSeg as a whole: any size, determinism, iterative decoding, models on disk, meta device."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camss_ros.inference.backends.base import BatchRequest
from camss_ros.inference.backends.open_backend import open_backend
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.frame_ops import resize_frame, to_labels
from camss_ros.model.camseg import CamSeg, reveal_counts
from camss_ros.model.checkpoint import ModelError, load_camseg, load_pretrained, save_pretrained
from camss_ros.model.config import ConcatTransformerConfig
from camss_ros.model.fast_decoder import FastDecoderConfig
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.tiles import to_image

ROAD = {"id": 0, "name": "road", "color": [0, 0, 0]}


def images(batch: int = 1, height: int = 32, width: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator)


def run(model: CamSeg, frames: torch.Tensor, options: SamplingOptions, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return model.generate(frames, model.plan(options), generator)


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 5), columns=st.integers(1, 5), batch=st.integers(1, 2))
def test_any_multiple_of_16_is_segmented_at_its_own_size(tiny_model, rows, columns, batch):
    frames = images(batch, 16 * rows, 16 * columns)
    probabilities = run(tiny_model, frames, SamplingOptions(steps=1))
    assert probabilities.shape == (batch, 11, 16 * rows, 16 * columns)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(batch, *frames.shape[2:]))


def test_the_official_transformer_has_a_place_for_each_token_of_its_own_size(tiny_config):
    transformer = ConcatTransformerConfig(32, 1, 1, 2)
    model = CamSeg(replace(tiny_config, input_size=(48, 80), transformer=transformer)).eval()
    assert model.transformer.grid == (3, 5)
    probabilities = run(model, images(1, 48, 80), SamplingOptions(steps=1))
    assert probabilities.shape == (1, 11, 48, 80)


def test_same_seed_same_result_other_seed_another(tiny_model):
    options = SamplingOptions(steps=3, temperature=1.0)
    first, again, other = (run(tiny_model, images(), options, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_frames_of_a_batch_do_not_influence_each_other(tiny_model):
    both = torch.cat([images(seed=1), images(seed=2)])
    options = SamplingOptions(steps=2)
    together = run(tiny_model, both, options)
    alone = [run(tiny_model, frame[None], options)[0] for frame in both]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_several_samples_are_averaged(tiny_model):
    plan = tiny_model.plan(SamplingOptions(steps=2, temperature=1.0, samples=3))
    tokens = tiny_model.image_tokens(tiny_model.normalize(images(batch=2)))
    latents = tiny_model.draw_latents(tokens, plan, torch.Generator().manual_seed(5))
    probabilities = tiny_model.decode(latents)
    averaged = tiny_model.generate(images(batch=2), plan, torch.Generator().manual_seed(5))
    assert latents.shape[0] == 6
    expected = (probabilities[0:2] + probabilities[2:4] + probabilities[4:6]) / 3
    torch.testing.assert_close(averaged, expected)


@pytest.mark.parametrize("order", ["confidence", "random"])
def test_iterative_decoding_feeds_revealed_tokens_back(tiny_model, order):
    seen: list[tuple[int, torch.Tensor]] = []
    transformer_forward = tiny_model.transformer.forward

    def watch(tokens, grid, latents=None, known=None, *rest):
        if known is not None:
            seen.append((int(known.sum()), latents[known]))
        return transformer_forward(tokens, grid, latents, known, *rest)

    tiny_model.transformer.forward = watch
    try:
        options = SamplingOptions(steps=1, temperature=1.0, iterations=3, order=order)
        run(tiny_model, images(), options)
    finally:
        tiny_model.transformer.forward = transformer_forward
    counts = [count for count, _ in seen]
    assert len(counts) == 2
    assert 0 < counts[0] < counts[1] < 6
    # What was revealed first is still among the known latents of the later pass.
    for latent in seen[0][1]:
        assert (seen[1][1] == latent).all(dim=1).any()


def test_the_surest_token_is_revealed_first(tiny_model):
    tokens = tiny_model.image_tokens(tiny_model.normalize(images()))
    options = SamplingOptions(steps=2, iterations=3)  # 1, 2 and 3 of the 6 tokens
    first = tiny_model.draw_latents(tokens, tiny_model.plan(SamplingOptions(steps=2)))
    surest = tiny_model.decode(first).amax(dim=1).view(2, 16, 3, 16).mean(dim=(1, 3)).argmax()
    seen = []
    transformer_forward = tiny_model.transformer.forward

    def watch(tokens, grid, latents=None, known=None, *rest):
        seen.append((known, rest))
        return transformer_forward(tokens, grid, latents, known, *rest)

    tiny_model.transformer.forward = watch
    try:
        run(tiny_model, images(), options)
    finally:
        tiny_model.transformer.forward = transformer_forward
    assert [rest for _, rest in seen] == [(None,), (1,), (3,)]
    assert seen[1][0][0].nonzero().item() == surest


@pytest.mark.parametrize(
    ("iterations", "order"), [(1, "confidence"), (3, "confidence"), (3, "random")]
)
def test_images_that_share_noise_are_segmented_as_each_alone(tiny_model, iterations, order):
    both = tiny_model.image_tokens(tiny_model.normalize(images(batch=2)))
    options = SamplingOptions(
        steps=2, temperature=1.0, samples=2, iterations=iterations, order=order
    )
    plan = tiny_model.plan(options)

    def draw(tokens):
        generator = torch.Generator().manual_seed(4)
        return tiny_model.draw_latents(tokens, plan, generator, same_noise=True)

    together = draw(both).unflatten(0, (2, 2))
    for image in range(2):
        alone = draw(both[image : image + 1])
        torch.testing.assert_close(together[:, image], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("warm_start_time", [0, 300])
def test_noise_given_beforehand_is_that_of_the_generator(tiny_model, warm_start_time):
    options = SamplingOptions(
        steps=3, sampler="ddpm", temperature=0.7, warm_start_time=warm_start_time
    )
    plan = tiny_model.plan(options)
    assert plan.steps == 3
    assert plan.noise_count == (6 if warm_start_time else 3)
    condition = tiny_model.condition(tiny_model.image_tokens(tiny_model.normalize(images())))
    warm = {
        "previous": torch.ones(1, tiny_model.latent_channels, 2, 3),
        "steady": torch.tensor([[True, False, True, False, False, True]]),
    }
    shape, cpu = (1, 6, tiny_model.latent_channels), torch.device("cpu")
    noise = plan.draw_noise(shape, cpu, torch.Generator().manual_seed(1))
    assert noise.shape == (plan.noise_count, *shape)
    given = tiny_model.draw_from(condition, (2, 3), plan, noise=noise, **warm)
    drawn = tiny_model.draw_from(condition, (2, 3), plan, torch.Generator().manual_seed(1), **warm)
    torch.testing.assert_close(given, drawn)
    assert tiny_model.plan(SamplingOptions()).draw_noise(shape, cpu) is None


def test_pixels_are_normalized_and_variances_have_their_channels(tiny_model, tiny_config):
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert tiny_model.normalize(pixels).flatten().tolist() == [-127 / 128, 0, 1]
    with torch.device("meta"):
        both = CamSeg(replace(tiny_config, learned_variance=True))
    assert both.denoiser.final_layer.linear.out_features == 2 * tiny_model.latent_channels
    assert tiny_model.denoiser.final_layer.linear.out_features == tiny_model.latent_channels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": None}, "needs a tokenizer"),
        ({"fast_decoder": FastDecoderConfig()}, "a colour autoencoder only"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(tiny_config, change, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        CamSeg(replace(tiny_config, **change))


def test_segmenting_records_no_gradients(tiny_config):
    model = CamSeg(tiny_config).eval()
    assert not run(model, images(), SamplingOptions(samples=2)).requires_grad


def test_known_tokens_change_the_condition_of_the_others(tiny_model):
    tokens = tiny_model.image_tokens(tiny_model.normalize(images()))
    known = torch.tensor([[True, False, False, False, False, False]])
    latents = torch.randn(1, 6, tiny_model.latent_channels, generator=torch.Generator())
    without, given_one = tiny_model.condition(tokens), tiny_model.condition(tokens, latents, known)
    assert not torch.allclose(without[:, 1:], given_one[:, 1:])


def test_saved_models_come_back(tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path / "model")
    loaded = load_pretrained(tmp_path / "model")
    assert loaded.config == tiny_model.config
    options = SamplingOptions(steps=2)
    assert torch.equal(run(loaded, images(), options), run(tiny_model, images(), options))


def test_half_precision_files_are_half_the_size_and_load_in_float32(tiny_model, tmp_path):
    model = copy.deepcopy(tiny_model)
    model.mask_autoencoder.latent_std.fill_(1 / 3)
    save_pretrained(model, tmp_path / "full")
    save_pretrained(model, tmp_path / "half", torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_pretrained(tmp_path / "half")
    assert loaded.dtype == torch.float32
    for name, value in model.named_buffers():  # statistics lose nothing
        assert torch.equal(loaded.get_buffer(name), value), name


def test_a_model_saved_for_inference_segments_and_does_not_train(tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path, inference_only=True)
    loaded = load_pretrained(tmp_path)
    options = SamplingOptions(steps=2)
    assert torch.equal(run(loaded, images(), options), run(tiny_model, images(), options))
    with pytest.raises(RuntimeError, match="without the encoder"):
        loaded.mask_autoencoder.encode(torch.zeros(1, 32, 48, dtype=torch.long))


def test_the_encoder_of_the_masks_stays_on_disk_where_a_model_is_loaded_to_segment(
    tiny_model, tmp_path
):
    save_pretrained(tiny_model, tmp_path / "whole")
    save_pretrained(tiny_model, tmp_path / "decoder", inference_only=True)
    loaded = load_pretrained(tmp_path / "whole", inference_only=True)
    smaller = load_pretrained(tmp_path / "decoder")
    assert loaded.config == smaller.config
    assert loaded.mask_autoencoder.encoder is None
    assert list(loaded.state_dict()) == list(smaller.state_dict())
    backend = open_backend("torch", tmp_path / "whole", torch.device("cpu"), "fp32")
    for network in (backend._network, load_camseg(tmp_path / "whole")):
        assert network.mask_autoencoder.encoder is None
    options = SamplingOptions(steps=2)
    assert torch.equal(run(loaded, images(), options), run(tiny_model, images(), options))


def test_a_model_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ModelError) as error:
        load_pretrained(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert "bundled models" in str(error.value)
    with pytest.raises(ModelError) as error:
        load_pretrained("./nowhere")
    assert "Hub" not in str(error.value)  # nothing is asked for a path


def test_a_hub_id_that_cannot_be_reached_is_an_error_too(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="Hugging Face Hub"):
        load_pretrained("somebody/some-model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour"),
        ({"input_size": [352]}, "input_size"),
        ({"input_size": [350, 480]}, "input_size is 350 x 480: its sides must be multiples of 16"),
        ({"transformer": {"width": 96, "heads": 5}}, "a multiple of 4 times the number of heads"),
        ({"prediction": "w"}, "prediction"),
        ({"image_mean": "x"}, "image_mean"),
        ({"image_mean": math.inf}, "image_mean must be a finite number, not inf"),
        ({"image_std": 0}, "image_std must be above 0, not 0.0"),
        ({"label_set": [ROAD, ROAD]}, r"label_set has the ids \[0, 0\]: expected 0, 1, 2"),
        ({"denoiser": {"width": 0}}, "denoiser: width must be 1 or more, not 0"),
        ({"transformer": {"mlp_ratio": 0.001}}, "transformer: mlp_ratio 0.001 leaves no channel"),
    ],
)
def test_a_wrong_config_names_the_entry(tiny_model, tmp_path, change, message):
    save_pretrained(tiny_model, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        load_pretrained(tmp_path)


def test_weights_of_another_config_list_what_does_not_fit(tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["denoiser"]["depth"] += 1
    config["label_set"] = config["label_set"][:-1]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError) as error:
        load_pretrained(tmp_path)
    assert "missing denoiser.res_blocks" in str(error.value)
    assert "mask_autoencoder.decoder.head.0.weight has shape" in str(error.value)


def test_truncated_weights_are_a_clear_error(tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("iterations", [1, 3])
def test_no_tensor_is_made_on_another_device(tiny_config, iterations):
    """From frame to labels on the meta device, where any tensor from elsewhere is an error."""
    with torch.device("meta"):
        model = CamSeg(replace(tiny_config, name="meta")).eval()
        frame = torch.zeros(90, 120, 3, dtype=torch.uint8)
    options = SamplingOptions(steps=2, temperature=1.0, samples=2, iterations=iterations)
    images = resize_frame(frame, (32, 48))
    probabilities = model.generate(images, model.plan(options), None)
    assert probabilities.shape == (1, 11, 32, 48)
    result = to_labels(probabilities, (90, 120))
    assert result.device.type == "meta"
    assert result.shape == (2, 90, 120)


def test_tiles_are_the_image_that_is_decoded(tiny_model):
    latents = torch.randn(2, tiny_model.latent_channels, 2, 3, generator=torch.Generator())
    tiles = tiny_model.decode_tiled(latents)
    assert tiles.shape == (2, 8, 12, 11, 16)
    torch.testing.assert_close(to_image(tiles), tiny_model.decode(latents))


def test_a_warm_start_makes_no_tensor_on_another_device(tiny_config):
    with torch.device("meta"):
        model = CamSeg(replace(tiny_config, name="meta")).eval()
    meta, frame = torch.device("meta"), np.zeros((90, 120, 3), np.uint8)
    backend = TorchBackend(model, meta, torch.float32)
    sampling = SamplingOptions(steps=2, samples=2, warm_start_time=300)
    size = (32, 48)
    states = [None, backend.blank_state(2, size)]
    for _ in range(2):
        request = BatchRequest([frame, frame], sampling, size, torch.Generator(), states=states)
        predictions = backend.predict(request)
        states = [prediction.state for prediction in predictions]
        for prediction in predictions:
            assert prediction.probabilities.shape == (1, 11, 32, 48)
            assert [each.device for each in prediction.state] == [meta, meta]
            assert prediction.state.latents.shape == (2, model.latent_channels, 2, 3)


@given(tokens=st.integers(1, 5000), iterations=st.integers(1, 100))
def test_every_iteration_reveals_something_and_together_everything(tokens, iterations):
    counts = reveal_counts(tokens, iterations)
    assert len(counts) == min(tokens, iterations)
    assert min(counts) >= 1
    assert sum(counts) == tokens


def test_reveal_counts_follow_the_cosine():
    # masked after each iteration: floor(100 * cos(pi/2 * k/4)) = 92, 70, 38, 0
    assert reveal_counts(100, 4) == [8, 22, 32, 38]
