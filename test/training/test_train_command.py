"""`camss-ros train` from YAML and files to a model; across kills and processes."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from training_run import CONFIGS, SHORT, segmenter_arguments, three_sources, write_camvid
from typer.testing import CliRunner

from camss_ros.atomic_files import locked
from camss_ros.cli import app
from camss_ros.commands.train import with_root
from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.datasets.datasets import open_data
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.model.official import base_config
from camss_ros.training.config import (
    AutoencoderConfig,
    DataConfig,
    DecoderTrainingConfig,
    SegmenterConfig,
    SourceConfig,
    TwinTrainingConfig,
)
from camss_ros.training.config_files import ConfigError, config_text, load_config, override
from camss_ros.training.resume import check_resumable
from camss_ros.training.run_folder import TrainingError, read_metrics
from camss_ros.training.sources import open_training_data
from camss_ros.training.start import start_model

ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true"}


def run(arguments) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def failure(arguments) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 1, result.output
    return result.output.replace("\n", "")


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("autoencoder") / "autoencoder.pt"
    torch.manual_seed(0)
    config = MaskAutoencoderConfig(8, (16, 16, 32), (1, 1, 1))
    torch.save(MaskAutoencoder(11, config).state_dict(), path)
    return path


def test_two_commands_make_a_model(root, tmp_path):
    sizes = ("model={latent_channels: 8, widths: [16,16,32], depths: [1,1,1]}",)
    entries = (*SHORT, *sizes, "augmentation.size=[32,48]", "loop.steps=2", "loop.batch=2")
    command = ["train", "autoencoder", "--config", CONFIGS / "camss_tiny_autoencoder.yaml"]
    command += ["--root", root, "--output", tmp_path / "a"]
    printed = run(command + [part for entry in entries for part in ("--set", entry)])
    assert f"reading {root.name}" in printed
    weights = tmp_path / "a" / "best" / "autoencoder.pt"
    extras = (
        "loop.steps=2",
        "loop.batch=2",
        "loop.accumulation=2",
        "data.sources.0.split=train+val",
    )
    extras += ("data.focus_share=0.5", "losses.jaccard_weight=1", "data.workers=1")
    run(segmenter_arguments(root, tmp_path / "s", weights, *extras))
    assert (tmp_path / "s" / "config.yaml").exists()
    assert list((tmp_path / "s" / "tensorboard").iterdir())
    for name in ("last", "best"):
        segmenter = Segmenter(tmp_path / "s" / name, device="cpu")
        assert segmenter.segment(np.zeros((50, 70, 3), np.uint8)).labels.shape == (50, 70)
    # what a run wrote can be started from, as a model and as a checkpoint
    # (a model has the encoder of the masks, a checkpoint leaves it to `autoencoder`)
    for source, of_masks in (("last", "null"), ("last", weights), ("checkpoint.pt", weights)):
        start = (f"start_from={tmp_path / 's' / source}", "loop.steps=1", "loop.batch=1")
        output = tmp_path / f"from_{source}_{of_masks == weights}"
        run(segmenter_arguments(root, output, of_masks, *start, "decoder_rate=1"))
    # or with other masks, of which the checkpoint brings none of its own
    other = torch.load(weights, weights_only=True)
    for value in other.values():
        value.add_(1)
    torch.save(other, tmp_path / "other.pt")
    arguments = segmenter_arguments(root, output, tmp_path / "other.pt", *start)
    config = load_config(SegmenterConfig, CONFIGS / "camss_tiny_camvid.yaml", arguments[9::2])
    classes = load_label_set("camvid11").classes
    model = dataclasses.replace(config.model, label_set=classes)
    started = start_model(dataclasses.replace(config, model=model))
    for name, value in started.mask_autoencoder.state_dict().items():
        assert torch.equal(value, other[name]), name
    checkpoint = torch.load(tmp_path / "s" / "checkpoint.pt", weights_only=True)
    for name, value in started.denoiser.state_dict(prefix="denoiser.").items():
        assert torch.equal(value, checkpoint["average"][name]), name


def test_what_is_wrong_is_named(root, autoencoder, tmp_path):
    def message(*overrides):
        return failure(segmenter_arguments(root, tmp_path / "o", autoencoder, *overrides))

    assert "loop.steps" in message("loop.steps=many")
    assert "nosuch" in message("loop.nosuch=1")
    assert "--set loop" in message("loop")
    assert "fp16" in message("loop.precision=fp16")
    assert "focus_classes" in message("data.focus_share=1", "data.focus_classes=[tram]")
    assert "multiples of 16" in message("augmentation.size=[40,50]")
    assert "start must be from 1 to 999" in message("losses.start=1000")
    assert "auxiliary_weight must be 0 or more" in message("losses.auxiliary_weight=-1")
    assert "std must be above 0" in message("masking={center: 1.0, std: 0, minimum: 0.7}")
    assert "known_share must be from 0 to 1" in message("masking={known_share: 5}")
    assert "size must be 16 or more" in message("data.sources=[{name: camvid, size: [8, 32]}]")
    assert "nowhere.pt" in message("autoencoder=nowhere.pt")
    assert "mask_autoencoder" in message("autoencoder=null")
    assert "betas must be from 0 to below 1, not 1.0" in message("loop.betas=[0.9, 1]")
    assert "center must be from 0 to 1, not 100" in message("masking={center: 100}")
    assert "frozen_stages must be from 0 to 7, not 8" in message("frozen_stages=8")
    assert "input_size is 40 x 48: its sides" in message("model.input_size=[40, 48]")
    assert "multiple of 4 times the number of heads" in message("model.transformer.heads=5")
    assert "has_encoder must be true" in message("model.mask_autoencoder.has_encoder=false")
    assert str(tmp_path / "none") in failure(
        segmenter_arguments(tmp_path / "none", tmp_path / "o", autoencoder)
    )


def test_masks_are_trained_with_continuous_latents_and_an_encoder():
    for entry in ("codebook_size=8", "has_encoder=false"):
        with pytest.raises(ConfigError, match="an encoder and no codebook_size"):
            load_config(
                AutoencoderConfig, CONFIGS / "camss_tiny_autoencoder.yaml", [f"model.{entry}"]
            )


@pytest.mark.parametrize(
    ("kind", "name", "entry", "told"),
    [
        (AutoencoderConfig, "tiny_autoencoder", "model.latent_channels=0", "1 or more, not 0"),
        (AutoencoderConfig, "tiny_autoencoder", "model.depths.1=-1", "0 or more, not -1"),
        (AutoencoderConfig, "tiny_autoencoder", "kl_weight=.inf", "finite number, not inf"),
        (SegmenterConfig, "tiny_camvid", "model.tokenizer.channels=-8", "1 or more, not -8"),
        (SegmenterConfig, "tiny_camvid", "augmentation.zoom=[1, .inf]", r"zoom\[1\] must be a"),
        (SegmenterConfig, "tiny_camvid", "data.sources.0.share=.nan", "finite number, not nan"),
        (SegmenterConfig, "base_cityscapes", "model.transformer.decoder_depth=0", "1 or more"),
        (SegmenterConfig, "base_cityscapes", "model.mask_autoencoder.multipliers=[]", "each level"),
        (SegmenterConfig, "base_cityscapes", "model.mask_autoencoder.latent_scale=0", "above 0"),
        (DecoderTrainingConfig, "base_decoder", "decoder.widths.2=0", "1 or more, not 0"),
    ],
)
def test_sizes_without_a_layer_and_numbers_without_end_are_told(kind, name, entry, told):
    (path,) = CONFIGS.glob(f"cam*_{name}.yaml")
    given = ["start_from=x", entry] if kind is DecoderTrainingConfig else [entry]
    with pytest.raises(ConfigError, match=told):
        load_config(kind, path, given)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("augmentation.size=[64, 96]", r"must be model.input_size, \[768, 768\], not \[64, 96\]"),
        ("data.sources.0.size=[512, 1024]", r"not \[512, 1024\]"),
        ("masking={known_share: 0.5}", "masking must leave equally many tokens"),
    ],
)
def test_what_position_tables_do_not_fit_is_told_before_the_first_validation(entry, told):
    with pytest.raises(ConfigError, match=told):
        load_config(SegmenterConfig, CONFIGS / "cam_seg_base_cityscapes.yaml", [entry])


@pytest.mark.parametrize("text", ["1e-4", "\N{AUTOMOBILE} \xfc", "no", "x\udcff", "a: b, c", ""])
def test_any_name_can_be_written_and_read_again(tmp_path, text):
    path = CONFIGS / "camss_tiny_camvid.yaml"
    entries = [override("model.name", text), *with_root(None, Path(text))]
    config = load_config(SegmenterConfig, path, entries)
    assert (config.model.name, config.data.root) == (text, str(Path(text)))
    (tmp_path / "config.yaml").write_text(config_text(config))
    assert load_config(SegmenterConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize("text", ["", "7", "[1, 2]"])
def test_a_file_that_is_no_configuration_is_told(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"own\.yaml: the file must be an object"):
        load_config(SegmenterConfig, path, ["data.root=x"])


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("masking={1: 2, centre: 3}", r"masking must have the entries .* not \[1, 'centre'\]"),
        ("losses={1: 2, x: 3}", r"losses has unknown entries \[1, 'x'\]$"),
    ],
)
def test_keys_of_several_types_are_told(entry, told):
    with pytest.raises(ConfigError, match=told):
        load_config(SegmenterConfig, CONFIGS / "camss_tiny_camvid.yaml", [entry])


def test_a_run_may_have_the_name_of_its_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camss_tiny_camvid").mkdir()
    named = load_config(SegmenterConfig, Path("camss_tiny_camvid"))
    assert named == load_config(SegmenterConfig, CONFIGS / "camss_tiny_camvid.yaml")


def test_sources_are_read_as_they_are_asked_for_and_those_of_one_name_have_scores_each(tmp_path):
    for name in ("a", "b", "c"):
        write_camvid(tmp_path / name / ("other" if name == "c" else "frames"), frames=2)
    both = SourceConfig("camvid", "b/frames", "train+val", share=3.0, size=(32, 48))
    sources = (SourceConfig("camvid", "a/frames"), both, SourceConfig("camvid", "c/other"))
    data = open_training_data(DataConfig(sources, root=str(tmp_path), validation_every=2))
    assert [one.name for one in data.validation] == ["frames-1", "frames-2", "other"]
    assert [(len(one.pairs), one.share) for one in data.sources] == [(2, 1), (4, 3), (2, 1)]
    assert [(len(one.pairs), one.size) for one in data.validation] == [
        (1, None), (1, (32, 48)), (1, None)
    ]  # fmt: skip


def test_labels_of_void_alone_are_refused_before_the_training(autoencoder, tmp_path):
    root = write_camvid(tmp_path / "data")
    for label in (root / "val" / "labels").iterdir():
        cv2.imwrite(str(label), np.full((64, 72), 255, np.uint8))
    arguments = segmenter_arguments(root, tmp_path / "o", autoencoder)
    assert "no pixel of the split 'val' has a class" in failure(arguments)


def test_windows_of_masks_and_twins_are_whole_tokens(root, tmp_path):
    for kind in ("autoencoder", "twin"):
        config = CONFIGS / f"camss_tiny_{kind}.yaml"
        command = ["train", kind, "--config", config, "--root", root, "--output", tmp_path / kind]
        entries = ("augmentation.size=[40,50]", "data.synthetic_scenes=0", "data.synthetic_share=0")
        told = failure(command + [part for each in entries for part in ("--set", each)])
        assert "must be multiples of 16" in told


@pytest.mark.parametrize("kind", ["autoencoder", "twin"])
def test_a_missing_model_is_told_before_the_frames_are_read(tmp_path, kind):
    command = ["train", kind, "--config", CONFIGS / f"camss_tiny_{kind}.yaml", "--root", tmp_path]
    command += ["--output", tmp_path / "o", "--set", "start_from=nowhere"]
    assert "no model 'nowhere'" in failure(command)


def test_an_unreadable_sample_is_named(autoencoder, tmp_path):
    root = write_camvid(tmp_path / "data")
    broken = root / "train" / "images" / "2.png"
    broken.write_bytes(broken.read_bytes()[:100])
    overrides = ("data.in_memory=false", "data.workers=1", "loop.steps=4", "loop.batch=2")
    overrides += ("losses.auxiliary_weight=0",)
    output = failure(segmenter_arguments(root, tmp_path / "o", autoencoder, *overrides))
    assert str(broken) in output
    assert "Traceback" not in output


KILLED = """
import os, signal
from camss_ros.cli import main
from camss_ros.training.run_folder import MetricsFile

append = MetricsFile.append

def append_and_end(self, step, values):
    append(self, step, values)
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

MetricsFile.append = append_and_end
main()
"""


def test_a_killed_run_goes_on_as_if_it_had_not_been(autoencoder, tmp_path):
    root = tmp_path / "data"
    overrides = ("loop.steps=8", "loop.batch=2", *three_sources(root))
    run(segmenter_arguments(root, tmp_path / "whole", autoencoder, *overrides))
    killed = tmp_path / "killed"
    arguments = segmenter_arguments(root, killed, autoencoder, *overrides)
    command = [sys.executable, "-c", KILLED, *arguments]
    process = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    assert process.returncode == -signal.SIGKILL
    assert torch.load(killed / "checkpoint.pt", weights_only=True)["step"] == 2
    run(arguments)
    # Sums on a CPU depend on the alignment of memory in their last bit.
    whole = read_metrics(tmp_path / "whole" / "metrics.csv")
    for row, expected in zip(read_metrics(killed / "metrics.csv"), whole, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    one, other = (
        load_pretrained(tmp_path / name / "last").state_dict() for name in ("whole", "killed")
    )
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4, msg=name)


def test_another_configuration_does_not_go_on_with_a_run(root, autoencoder, tmp_path):
    def arguments(*overrides):
        return segmenter_arguments(root, tmp_path, autoencoder, "loop.steps=4", *overrides)

    (tmp_path / "checkpoint.pt").touch()
    assert "has a checkpoint, but not the configuration" in failure(arguments())
    path = CONFIGS / "camss_tiny_camvid.yaml"
    config = load_config(SegmenterConfig, path, arguments()[arguments().index("--set") + 1 :: 2])
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=str(root)))
    text = config_text(config)
    (tmp_path / "config.yaml").write_text(text)
    for entry, named in (
        ("loop.seed=1", "loop.seed 0 there, 1 now"),
        ("loop.batch=1", "loop.batch 8 there, 1 now"),
        ("loop.learning_rate=1e-5", "loop.learning_rate"),
        ("loop.precision=bf16", "loop.precision"),
        ("losses.jaccard_weight=0", "losses.jaccard_weight"),
        ("masking={minimum: 0.5}", "masking.minimum None there, 0.5 now"),
        ("data.sources.0.split=val", "data.sources"),
        ("loop.steps=3", "loop.steps 4 there, 3 now"),
    ):
        message = failure(arguments(entry, "loop.log_every=7"))
        assert named in message
        assert "loop.log_every 1" not in message
        assert (tmp_path / "config.yaml").read_text() == text
    longer = dataclasses.replace(config.loop, steps=5, log_every=7, save_every=7, evaluate_every=7)
    data = dataclasses.replace(config.data, root="elsewhere", workers=7, in_memory=False)
    check_resumable(dataclasses.replace(config, loop=longer, data=data), tmp_path)
    # no limit is more than any
    limited = dataclasses.replace(config, loop=dataclasses.replace(longer, minutes=5))
    with pytest.raises(TrainingError, match=r"loop\.minutes None there, 5 now"):
        check_resumable(limited, tmp_path)
    (tmp_path / "config.yaml").write_text(config_text(limited))
    check_resumable(dataclasses.replace(config, loop=longer), tmp_path)


def test_one_process_at_a_time_trains_in_a_folder(root, autoencoder, tmp_path):
    """Whose configuration stays there, also before its first checkpoint."""
    arguments = segmenter_arguments(root, tmp_path, autoencoder, "loop.steps=1", "loop.batch=1")
    with locked(tmp_path):
        assert "another process is writing to" in failure(arguments)
        assert not list(tmp_path.iterdir())
    run(arguments)


def test_a_run_takes_more_steps_but_no_other_weights(root, autoencoder, tmp_path):
    weights = shutil.copy(autoencoder, tmp_path)
    output = tmp_path / "o"
    run(segmenter_arguments(root, output, weights, "loop.steps=1", "loop.batch=1"))
    other = torch.load(autoencoder, weights_only=True)
    for value in other.values():
        value.add_(1)
    torch.save(other, weights)
    longer = segmenter_arguments(root, output, weights, "loop.steps=2", "loop.batch=1")
    assert "other weights in `autoencoder`" in failure(longer)
    shutil.copy(autoencoder, tmp_path)
    run(longer)
    assert [row["step"] for row in read_metrics(output / "metrics.csv")] == [1, 2]
    assert "steps: 2" in (output / "config.yaml").read_text()


def test_a_run_does_not_go_on_with_other_names_of_its_classes(autoencoder, tmp_path):
    root, output = write_camvid(tmp_path / "own"), tmp_path / "o"
    save_label_set(load_label_set("camvid11"), root / "label_set.yaml")
    entries = ("data.sources=[{name: folder}]", "data.focus_classes=[pole]", "loop.batch=1")
    run(segmenter_arguments(root, output, autoencoder, *entries, "loop.steps=1"))
    longer = segmenter_arguments(root, output, autoencoder, *entries, "loop.steps=2")
    path = root / "label_set.yaml"
    path.write_text(path.read_text().replace("bicyclist", "rider"))
    told = failure(longer)
    assert "the classes were" in told
    assert "bicyclist" in told
    assert "rider" in told
    path.write_text(path.read_text().replace("rider", "bicyclist"))
    run(longer)


def test_two_processes_compute_what_one_does(autoencoder, tmp_path):
    root = tmp_path / "data"
    overrides = ("loop.steps=3", "loop.batch=4", "losses.jaccard_weight=1", *three_sources(root))
    run(segmenter_arguments(root, tmp_path / "one", autoencoder, *overrides))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {**ENVIRONMENT, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    arguments = segmenter_arguments(root, tmp_path / "two", autoencoder, *overrides)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "camss_ros.cli", *arguments],
            env={**world, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=500) for process in processes] == [0, 0]
    for name in ("metrics.csv", "validation.csv"):
        one, two = (read_metrics(tmp_path / folder / name) for folder in ("one", "two"))
        assert len(one) == len(two) > 0
        for row, other in zip(one, two, strict=True):
            assert row == pytest.approx(other, abs=1e-4, nan_ok=True)


def test_a_run_ends_when_its_time_is_over_and_does_not_begin_anew(root, autoencoder, tmp_path):
    overrides = ("loop.steps=100000", "loop.batch=1", "loop.minutes=0.02")
    arguments = segmenter_arguments(root, tmp_path, autoencoder, *overrides)
    run(arguments)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    steps = checkpoint["step"]
    assert 0 < steps < 100000
    assert [row["step"] for row in read_metrics(tmp_path / "validation.csv")] == [steps]
    run(arguments)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == steps
    assert "loop.minutes 0.02 there, 0.01 now" in failure(
        [*arguments, "--set", "loop.minutes=0.01"]
    )
    # the first step of a process alone may take longer than it was given
    run([*arguments, "--set", f"loop.minutes={checkpoint['minutes'] + 0.01}"])
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] > steps
    zero = segmenter_arguments(root, tmp_path / "o", autoencoder, "loop.minutes=0")
    assert "minutes must be above 0" in failure(zero)


def test_the_recipe_for_three_data_sets_can_be_read():
    config = load_config(SegmenterConfig, CONFIGS / "camss_tiny_street.yaml")
    assert [source.root for source in config.data.sources] == [
        "cityscapes256",
        "camvid",
        "idd_lite",
    ]
    assert sum(source.share for source in config.data.sources) == pytest.approx(1)
    known = {one.name for one in load_label_set(config.data.label_set).classes}
    assert set(config.data.focus_classes) <= known


def test_the_twin_of_the_recipe_is_trained_as_it_is():
    config = load_config(SegmenterConfig, CONFIGS / "camss_tiny_street.yaml")
    twin = load_config(TwinTrainingConfig, CONFIGS / "camss_tiny_street_twin.yaml")
    assert (twin.data, twin.augmentation, twin.loop) == (
        config.data,
        config.augmentation,
        config.loop,
    )
    assert twin.class_weight_power == config.losses.class_weight_power
    assert twin.jaccard_weight == config.losses.jaccard_weight
    assert twin.backbone_rate == config.backbone_rate


def test_masks_alone_are_trained_with_the_likeliest_class_of_a_label(root):
    """And validated with it: it is their shapes that matter."""
    recipe = load_config(AutoencoderConfig, CONFIGS / "camss_tiny_street_autoencoder.yaml")
    size = dataclasses.replace(recipe.data.sources[1], root=".", size=(32, 48))
    masks = dataclasses.replace(recipe.data, root=str(root), sources=(size,))
    data = open_training_data(masks)
    (validation,) = data.validation
    own = open_data("camvid", root, "val")
    camvid, model = load_label_set("camvid11"), load_label_set("cityscapes19")
    first = {one.id: camvid.candidates_in(model)[one.id][0] for one in camvid.classes}
    _, label = validation.pairs[0]
    expected = np.vectorize(lambda value: first.get(value, 255))(own[0][1])
    np.testing.assert_array_equal(
        label, cv2.resize(expected.astype(np.uint8), (48, 32), interpolation=cv2.INTER_NEAREST)
    )
    assert validation.classes == len(model.classes) == len(data.codes)


def test_the_bundled_model_is_trained_further_without_an_autoencoder(root, tmp_path):
    entries = (
        "start_from=camss-tiny", "data.sources=[{name: camvid, size: [32, 48]}]",
        "augmentation.size=[32,48]", "loop.steps=1", "loop.batch=1", *SHORT,
    )  # fmt: skip
    command = ["train", "segmenter", "--config", "camss_tiny_street", "--root", root]
    command += ["--output", tmp_path, *(part for entry in entries for part in ("--set", entry))]
    run(command)
    bundled, further = (load_pretrained(one) for one in ("camss-tiny", tmp_path / "last"))
    assert further.config.label_set == load_label_set("cityscapes19").classes
    for name, value in bundled.mask_autoencoder.encoder.state_dict().items():
        assert torch.equal(further.mask_autoencoder.encoder.state_dict()[name], value), name


def test_the_official_recipe_runs_at_a_small_size(tmp_path):
    path = CONFIGS / "cam_seg_base_cityscapes.yaml"
    config = load_config(SegmenterConfig, path)
    assert config.model == base_config()
    assert config.augmentation == AugmentationOptions(  # what the paper names
        size=(768, 768),
        crop_probability=1.0,
        zoom=(0.9, 1.25),
        rotation=5.0,
        shear=3.0,
        skew=0.05,
        recolour=0.0,
        color_jitter_probability=0.5,
        gaussian_noise_probability=0.2,
        salt_and_pepper_probability=0.1,
        gaussian_blur_probability=0.2,
        motion_blur_probability=0.1,
        hide_and_seek_probability=0.2,
    )
    with torch.device("meta"):
        model = CamSeg(config.model)
    parts = (model.transformer, model.denoiser)
    assert sum(p.numel() for part in parts for p in part.parameters()) == 217_097_760

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
            folder = tmp_path / "data" / kind / split / "aachen"
            folder.mkdir(parents=True)
            for number in range(2):
                shape = (64, 128, 3) if kind == "leftImg8bit" else (64, 128)
                cv2.imwrite(
                    str(folder / f"aachen_{number}_{end}.png"),
                    rng.integers(0, 34, shape, np.uint8),
                )
    small = (
        "model.input_size=[64,64]",
        "model.mask_autoencoder={width: 32, multipliers: [1,1,1,1,1], res_blocks: 1,"
        " attention_levels: []}",
        "model.transformer={width: 32, encoder_depth: 2, decoder_depth: 2, heads: 2}",
        "model.denoiser={width: 32, depth: 1}",
        "data.sources.0.size=[64,64]", "augmentation.size=[64,64]", "data.workers=0",
        "loop.steps=2", "loop.batch=2", "loop.log_every=1", "validation.steps=2",
    )  # fmt: skip
    entries = [part for entry in small for part in ("--set", entry)]
    frozen = load_config(SegmenterConfig, path, small)
    save_pretrained(CamSeg(frozen.model), tmp_path / "kl")
    output = tmp_path / "o"
    command = ["train", "segmenter", "--config", path, "--root", tmp_path / "data"]
    command += ["--output", output, *entries, "--set", f"autoencoder={tmp_path / 'kl'}"]
    run(command)
    assert len(read_metrics(output / "metrics.csv")) == 2
    written, start = (
        load_pretrained(output / "last"),
        load_pretrained(tmp_path / "kl"),
    )
    for (name, one), other in zip(
        written.mask_autoencoder.named_parameters(),
        start.mask_autoencoder.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3, msg=name)
