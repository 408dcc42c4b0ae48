"""The KL/VQ study on a few small label images."""

import json

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
from camss_ros.lab import kl_vs_vq, train_masks
from camss_ros.lab.kl_vs_vq import loss_against, run_key, study_kl_vs_vq, summarize
from camss_ros.lab.mask_autoencoders import (
    PaletteKL,
    Reconstruction,
    StudiedAutoencoder,
    variants,
)
from camss_ros.lab.train_masks import MaskTraining, StudyError, score_variant, train_variant
from camss_ros.model.autoencoder import MaskAutoencoderConfig

CAMVID = load_label_set("camvid11")
CONFIG = MaskAutoencoderConfig(4, (16, 16, 16), (1, 1, 1))
NAMES = list(variants(CONFIG))
TRAINING = MaskTraining(steps=2, batch=2, crop=32, bf16=False)


def half_images(count=4):
    """Sky over road, the horizon at different heights; a strip of void."""
    labels = []
    for index in range(count):
        label = np.zeros((64, 80), np.uint8)
        label[24 + 4 * index :] = 3
        label[:, 76:] = 255
        labels.append(label)
    return labels


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_of_every_variant(name):
    build, labels, weights = variants(CONFIG)[name], half_images(), torch.ones(11)
    batch = torch.from_numpy(np.stack(labels)).long()[:, :, :64]

    def loss(model):
        with torch.no_grad():
            return float(model.train().loss(batch, weights, torch.Generator().manual_seed(1)))

    training = MaskTraining(steps=25, batch=2, crop=32, learning_rate=3e-3, bf16=False)
    trained = train_variant(build, labels, weights, CAMVID, training, 0)
    torch.manual_seed(0)
    assert loss(trained) < 0.7 * loss(build(CAMVID))


def test_quantised_variants_tell_the_use_of_their_codes():
    for name in NAMES[:2]:
        torch.manual_seed(0)
        model = variants(CONFIG)[name](CAMVID).eval()
        scores = score_variant(model, half_images(), CAMVID)
        quantized = name.startswith("VQ")
        assert (scores["codes_used"] is not None) == quantized
        if quantized:
            assert 1 <= scores["perplexity"] <= scores["codes_used"] * 256 + 1e-6


def test_palette_reads_the_nearest_colour():
    """A decoder that gives back the painted image, with some noise, loses nothing."""
    model = PaletteKL(CAMVID, CONFIG).eval()
    labels = torch.arange(11).repeat(32, 16)[None, :, :32]
    painted = model._paint(labels)
    torch.testing.assert_close(painted[0, :, 0, 3], torch.tensor([128, 64, 128]) / 127.5 - 1)
    noisy = painted + 0.1 * torch.rand_like(painted)
    model.decoder.forward = lambda latents: noisy
    assert torch.equal(model.reconstruct(labels).labels, labels)


def test_void_counts_in_no_loss():
    for name in (NAMES[0], NAMES[-1]):
        torch.manual_seed(0)
        model = variants(CONFIG)[name](CAMVID).eval()
        void = torch.full((1, 32, 32), 255)
        loss = model.loss(void, torch.ones(11), torch.Generator().manual_seed(0))
        assert not loss > 1e-2  # the KL term alone; cross_entropy of nothing is NaN


def test_variants_of_a_seed_see_the_same_crops(monkeypatch):
    seen, original = [], train_masks._crops

    def recording(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(train_masks, "_crops", recording)
    for name in NAMES[:2]:
        build = variants(CONFIG)[name]
        train_variant(build, half_images(), torch.ones(11), CAMVID, TRAINING, 5)
    assert len(seen) == 4
    for first, second in zip(seen[:2], seen[2:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0], seen[1])


class Fixed(StudiedAutoencoder):
    """Gives back labels with the poles painted over by sky."""

    codebook_size = 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, labels, weights, generator):
        return torch.tensor(float("nan"), requires_grad=True)

    def reconstruct(self, labels):
        codes = torch.tensor([[[0, 0, 1]]])
        return Reconstruction(torch.where(labels == 2, 0, labels), codes)


def test_scores_by_hand():
    label = np.zeros((20, 32), np.uint8)  # the last four rows are cut off
    label[:, :8] = 2
    label[:, 24:] = 9
    label[16:] = 5
    scores = score_variant(Fixed(), [label], CAMVID)
    assert scores["per_class_iou"]["sky"] == pytest.approx(16 / 24)
    assert scores["per_class_iou"]["pole"] == 0
    assert scores["per_class_iou"]["tree"] is None
    assert scores["thin_iou"] == pytest.approx((0 + 1) / 2)  # pole and pedestrian; no sign
    assert scores["codes_used"] == pytest.approx(2 / 4)
    assert scores["perplexity"] == pytest.approx(3 / 2 ** (2 / 3))


def test_summary_and_loss():
    rows = {
        "KL, one-hot": [{"miou": 0.9}, {"miou": 0.7}],
        "VQ": [{"miou": 0.6}, {"miou": 0.6}],
    }
    assert summarize(rows["KL, one-hot"], "miou") == pytest.approx((0.8, 0.02**0.5))
    assert loss_against(rows, "VQ") == pytest.approx(0.25)
    assert summarize([{"miou": None}], "miou") is None


def study(output, **options):
    data = {"name": "camvid", "train": "train", "held_out": "val", "train_frames": 4}
    study_kl_vs_vq(
        half_images(), half_images(2), CAMVID, output, {"data": data}, "camss-ros study kl-vs-vq",
        TRAINING, 2, config=CONFIG, **options,
    )  # fmt: skip


def test_a_stopped_study_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    trained = []

    def stop_at(run):
        def counting(build, *arguments):
            if len(trained) == run:
                raise KeyboardInterrupt
            trained.append(arguments[-2])
            return train_variant(build, *arguments)

        monkeypatch.setattr(kl_vs_vq, "train_variant", counting)

    stop_at(6)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "a")
    content = json.loads((tmp_path / "a" / "kl_vs_vq.json").read_text())
    assert not content["complete"]
    assert list(content["rows"]) == [run_key(name, 0) for name in NAMES] + [run_key(NAMES[0], 1)]
    stop_at(None)
    study(tmp_path / "a")
    assert trained == [0] * 5 + [1] * 5
    study(tmp_path / "b")
    for name in ("kl_vs_vq.json", "kl_vs_vq.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "b" / "kl_vs_vq.json").read_text())["complete"]


def test_a_loss_that_is_no_number_names_run_and_step(tmp_path, monkeypatch):
    monkeypatch.setattr(kl_vs_vq, "variants", lambda config: {"broken": lambda labels: Fixed()})
    with pytest.raises(StudyError, match=r"broken: the loss is nan at step 0 with seed 0"):
        study(tmp_path)


def test_command_writes_page_plot_and_scores(tmp_path, monkeypatch):
    small = {name: variants(CONFIG)[name] for name in NAMES}
    monkeypatch.setattr(kl_vs_vq, "variants", lambda config: small)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
        for index, label in enumerate(half_images(2)):
            cv2.imwrite(str(tmp_path / split / "labels" / f"{index}.png"), label)
            cv2.imwrite(str(tmp_path / split / "images" / f"{index}.png"), label)
    output = tmp_path / "out"
    arguments = ["study", "kl-vs-vq", "--data", "camvid", "--root", tmp_path, "--output", output,
                 "--device", "cpu",
                 "--steps", 2, "--seeds", 2, "--crop", 32, "--batch", 2]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["camss-ros", *map(str, arguments)])
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    page = (output / "kl_vs_vq.md").read_text()
    text = " ".join(page.split())
    assert "2 steps of 2 crops of 32 x 32" in text
    assert "2 seeds" in text
    assert "2 label images of camvid train" in text
    assert "--steps 2 --seeds 2 --crop 32" in page
    assert str(tmp_path) not in page
    rows = json.loads((output / "kl_vs_vq.json").read_text())["rows"]
    mean = np.mean([rows[run_key(NAMES[1], seed)]["miou"] for seed in (0, 1)])
    assert f"| {NAMES[1]} | {mean:.3f} ± " in page
    assert cv2.imread(str(output / "kl_vs_vq.png")).shape[1] > 600

    result = CliRunner().invoke(app, [*map(str, arguments[:-3]), "40", "--batch", "2"])
    assert result.exit_code == 1
    assert "multiple of 16" in result.output
