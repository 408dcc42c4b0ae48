"""Small trainings on generated data, for the tests of training."""

from pathlib import Path

import cv2
import numpy as np

from camss_ros.images.label_class import LabelClass
from camss_ros.training.label_codes import LabelCodes
from camss_ros.training.sources import Pairs, TrainingData, TrainingSource, ValidationSource

CONFIGS = Path(__file__).parent.parent / "config" / "train"

# The bundled recipe at a size that trains in a second.
SMALL_MODEL = (
    "model.input_size=[32,48]",
    "model.tokenizer.channels=32",
    "model.mask_autoencoder={latent_channels: 8, widths: [16,16,32], depths: [1,1,1]}",
    "model.transformer={width: 32, depth: 1, heads: 4}",
    "model.denoiser={width: 32, depth: 1}",
    "augmentation.size=[32,48]",
)
SHORT = (
    "loop.precision=fp32",
    "loop.warmup=1",
    "loop.log_every=1",
    "loop.save_every=2",
    "loop.evaluate_every=1000",
    "data.validation_every=1",
)


def write_camvid(root: Path, frames: int = 4) -> Path:
    """Grey frames whose brightness tells the class, in both splits."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        for number in range(frames):
            rows = rng.choice(np.array([0, 5, 10], np.uint8), (4, 1))
            label = np.repeat(np.repeat(rows, 72, 1), 16, 0)
            image = np.repeat((label * 23)[..., None], 3, 2)
            cv2.imwrite(str(root / split / "images" / f"{number}.png"), image)
            cv2.imwrite(str(root / split / "labels" / f"{number}.png"), label)
    return root


def training_data(frames: Pairs, classes: tuple[LabelClass, ...]) -> TrainingData:
    """Frames to train and to validate on, with the labels of the model."""
    own = ValidationSource("", frames, len(classes), np.arange(256, dtype=np.uint8))
    return TrainingData((TrainingSource(frames),), (own,), classes, LabelCodes(len(classes)))


def write_coarse(root: Path, frames: int = 3) -> Path:
    """Frames like those of `write_camvid`, higher, whose label 1 is a tree or a bicyclist."""
    rng = np.random.default_rng(1)
    for kind in ("images", "labels"):
        (root / "train" / kind).mkdir(parents=True)
    for number in range(frames):
        of_rows = rng.choice(np.array([0, 5, 10], np.uint8), (6, 1))
        fine = np.repeat(np.repeat(of_rows, 64, 1), 16, 0)
        image = np.repeat((fine * 23)[..., None], 3, 2)
        cv2.imwrite(str(root / "train" / "images" / f"{number}.jpg"), image)
        cv2.imwrite(str(root / "train" / "labels" / f"{number}.png"), (fine > 0).astype(np.uint8))
    (root / "label_set.yaml").write_text(
        "name: coarse\nclasses: [{id: 0, name: sky, color: [0, 0, 9]},"
        " {id: 1, name: other, color: [9, 0, 0]}]\n"
        "candidates: {camvid11: {sky: [sky], other: [tree, bicyclist]}}\n"
    )
    return root


def three_sources(root: Path) -> tuple[str, ...]:
    """Overrides of a run over three sources of two data sets below `root`, made there."""
    write_camvid(root / "camvid")
    write_coarse(root / "coarse")
    return (
        "data.label_set=camvid11",
        "data.sources=[{name: camvid, root: camvid, share: 2},"
        " {name: camvid, root: camvid, validation_split: null, size: [48, 64]},"
        " {name: folder, root: coarse, validation_split: null}]",
    )


def segmenter_arguments(root: Path, output: Path, autoencoder: Path, *overrides: str) -> list[str]:
    """Arguments of `camss-ros train segmenter` for the small model."""
    no_extras = ("data.synthetic_scenes=0", "data.synthetic_share=0", "imagenet_backbone=false")
    entries = (*SMALL_MODEL, *SHORT, *no_extras, f"autoencoder={autoencoder}", *overrides)
    arguments = ["train", "segmenter", "--config", str(CONFIGS / "camss_tiny_camvid.yaml")]
    arguments += ["--root", str(root), "--output", str(output)]
    return arguments + [part for entry in entries for part in ("--set", entry)]
