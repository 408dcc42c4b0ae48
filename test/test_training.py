"""Both trainings: they learn, they resume exactly, they stop at a loss that is no number."""

import json
import math

import numpy as np
import pytest
import torch

from camss_ros.data.augmentation import AugmentationOptions
from camss_ros.model.camseg import CamSeg
from camss_ros.training.loop import LoopOptions, TrainingError, train
from camss_ros.training.samples import LabelledFrames
from camss_ros.training.train_autoencoder import AutoencoderTraining, train_autoencoder
from camss_ros.training.train_segmenter import SegmenterTraining, train_segmenter

CROP = AugmentationOptions(size=(32, 48))


@pytest.fixture
def frames() -> LabelledFrames:
    """Grey frames whose brightness tells the class: learnable in a few steps."""
    rng = np.random.default_rng(0)
    three = np.array([0, 5, 10], np.uint8)
    labels = [np.repeat(rng.choice(three, (4, 1)), 48, 1) for _ in range(6)]
    labels = [np.repeat(label, 16, 0) for label in labels]
    images = [np.repeat((label * 23)[..., None], 3, 2) for label in labels]
    return LabelledFrames(images, labels, 11)


def options(steps: int, **changes) -> LoopOptions:
    values = {"learning_rate": 3e-3, "warmup": 2, "ema_decay": 0.5, "bf16": False}
    return LoopOptions(steps, **{**values, "evaluate_every": 1000, "save_every": 2, **changes})


def metrics(folder) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_autoencoder_learns_to_reconstruct(frames, tiny_config, tmp_path):
    training = AutoencoderTraining(batch=8, crop=CROP)
    config = tiny_config.mask_autoencoder
    model = train_autoencoder(frames, frames, tmp_path, options(80), training, config)
    # One class everywhere would score at most 1 / 3 on the three that occur.
    assert metrics(tmp_path)[-1]["miou"] > 0.6
    # Normalised latents of the training masks have mean 0 and deviation 1 a channel.
    latents = torch.cat(
        [model.encode(torch.from_numpy(y)[None].long()) for _, y in frames.multiple_of_16()]
    )
    pooled = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(pooled.mean(1), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(pooled.std(1), torch.ones(8), atol=1e-3, rtol=0)


def test_the_segmenter_learns_and_leaves_the_autoencoder_alone(frames, tiny_config, tmp_path):
    torch.manual_seed(0)
    model = CamSeg(tiny_config)
    before = {k: v.clone() for k, v in model.mask_autoencoder.state_dict().items()}
    training = SegmenterTraining(batch=4, crop=CROP)
    trained = train_segmenter(model, frames, frames, tmp_path, options(40), training)
    losses = [entry["loss"] for entry in metrics(tmp_path) if "loss" in entry]
    assert losses[-1] < losses[0]
    for name, value in trained.mask_autoencoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    written = CamSeg.from_pretrained(tmp_path)
    assert written.config.transformer == tiny_config.transformer
    # What segments needs no encoder of masks.
    assert written.mask_autoencoder.encoder is None


def test_a_refinement_trains_the_mask_decoder_and_not_the_encoder(frames, tiny_config, tmp_path):
    torch.manual_seed(0)
    model = CamSeg(tiny_config)
    before = {k: v.clone() for k, v in model.mask_autoencoder.named_parameters()}
    training = SegmenterTraining(batch=2, crop=CROP, decoder_rate=1.0)
    trained = train_segmenter(model, frames, frames, tmp_path, options(3), training)
    for name, value in trained.mask_autoencoder.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_a_resumed_run_ends_as_an_uninterrupted_one(frames, tiny_config, tmp_path):
    training = SegmenterTraining(batch=2, crop=CROP)

    def run(folder, stop_at: int | None) -> CamSeg:
        torch.manual_seed(3)
        model = CamSeg(tiny_config)
        if stop_at is not None:
            draw, calls = LabelledFrames.draw, [0]

            def draw_until(self, rng):
                calls[0] += 1
                if calls[0] > stop_at * training.batch:
                    raise KeyboardInterrupt
                return draw(self, rng)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LabelledFrames, "draw", draw_until)
                with pytest.raises(KeyboardInterrupt):
                    train_segmenter(model, frames, frames, folder, options(6), training)
            torch.manual_seed(4)
            model = CamSeg(tiny_config)
        return train_segmenter(model, frames, frames, folder, options(6), training)

    whole = run(tmp_path / "whole", None)
    resumed = run(tmp_path / "resumed", stop_at=5)
    for name, value in whole.denoiser.state_dict().items():
        torch.testing.assert_close(value, resumed.denoiser.state_dict()[name], msg=name)


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_step(tmp_path):
    module = torch.nn.Linear(2, 2)

    def losses(step: int) -> dict[str, torch.Tensor]:
        value = module(torch.ones(2)).sum()
        return {"loss": value * (math.nan if step == 3 else 1.0)}

    with pytest.raises(TrainingError, match="step 3"):
        train(module, losses, lambda average: {}, tmp_path, options(6))
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 2


def test_focused_crops_show_rare_classes(frames):
    rng = np.random.default_rng(0)
    frames.labels[2][:20, 3:9] = 7
    rare, never = 7, 9
    for _ in range(5):
        image, label, (row, column) = frames.draw_focused(rng, (rare, never))
        assert label[row, column] == rare
        assert image.shape[:2] == label.shape
