"""`camss-ros finetune`: from own labelled images and a model to a better model."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from small_model import save_small_model
from training_run import write_camvid
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet, load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.model.config import TwinConfig
from camss_ros.model.twin import Twin
from camss_ros.training.other_classes import class_origins, with_other_classes
from camss_ros.training.run_folder import read_metrics

SHORT = (
    "loop.precision=fp32",
    "loop.steps=2",
    "loop.evaluate_every=2",
    "loop.batch=2",
    "loop.warmup=1",
)
MASKS = tuple(f"masks.{entry}" for entry in SHORT)
CLASSES = [
    LabelClass(i, name, (9 * i, 90, 9)) for i, name in enumerate(("sky", "tree", "bicyclist"))
]
VOID = "void: {file_values: [5, 10, 255]}\n"


@pytest.fixture
def data(tmp_path):
    """Of the classes of CamVid in another order."""
    root = write_camvid(tmp_path / "own")
    own = [dataclasses.replace(it, id=10 - it.id) for it in load_label_set("camvid11").classes]
    (root / "label_set.yaml").write_text(label_set_text("own", own[::-1]))
    return root


@pytest.fixture
def other_data(tmp_path):
    """Of classes that are not all of the model's, without a mapping."""
    root = write_camvid(tmp_path / "own")
    (root / "label_set.yaml").write_text(label_set_text("small", CLASSES, VOID))
    return root


def label_set_text(name, classes, more=""):
    rows = "".join(
        f"  - {{id: {i}, name: {it.name}, color: {list(it.color)}}}\n"
        for i, it in enumerate(classes)
    )
    return f"name: {name}\nclasses:\n{rows}{more}"


def entry(run, name):
    """Of a run's configuration."""
    return yaml.safe_load((run / "config.yaml").read_text())[name]


def finetune(data, output, model, *overrides, code=0, options=()):
    arguments = ["finetune", "--data", data, "--output", output, "--model", model, *options]
    arguments += [part for entry in (*SHORT, *overrides) for part in ("--set", entry)]
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_with_the_same_classes_it_starts_from_the_model_and_tells_before_and_after(
    data, small_model, tmp_path
):
    output = tmp_path / "run"
    printed = finetune(data, output, small_model, "loop.learning_rate=1e-3")
    assert "before" in printed
    assert "after" in printed
    scores = json.loads((output / "finetune.json").read_text())
    assert list(scores) == ["own"]
    assert scores["own"]["frames"] == 4
    before, after = scores["own"]["before"], scores["own"]["after"]
    assert ("worse than before on own" in printed) == (after["miou"] < before["miou"])
    assert set(before["per_class_iou"]) == {one.name for one in load_label_set("camvid11").classes}
    segmenter = Segmenter(output / "best", device="cpu")
    assert segmenter.model_name == "run"
    assert segmenter.input_size == (64, 96)
    assert segmenter.classes == load_label_set("camvid11").classes  # in the order of the model
    assert entry(output, "data")["sources"][0]["size"] == [64, 96]
    was, now = (load_pretrained(each) for each in (small_model, output / "best"))
    learns = {
        name
        for name, value in now.named_parameters()
        if not torch.equal(value, was.get_parameter(name).half().float())
    }
    assert any(name.startswith("denoiser") for name in learns)
    stages = {name.split(".")[3] for name in learns if name.startswith("tokenizer.backbone.stages")}
    assert stages == {"3", "4", "5", "6"}  # what comes before them is kept
    assert not any(name.startswith("tokenizer.backbone.stem") for name in learns)
    statistics = now.tokenizer.backbone.named_buffers()
    assert all(torch.equal(it, was.tokenizer.backbone.get_buffer(name)) for name, it in statistics)
    # the same command has nothing left to do
    shutil.rmtree(output / "last")  # the best one is scored
    rows = read_metrics(output / "metrics.csv")
    finetune(data, output, small_model, "loop.learning_rate=1e-3")
    assert read_metrics(output / "metrics.csv") == rows


def test_it_ends_when_the_validation_drive_gets_no_better(data, small_model, tmp_path):
    # nothing is learnt, so that the first validation is the best
    still = ("loop.learning_rate=1e-12", "loop.patience=2", "loop.steps=50", "decoder_rate=0")
    still += ("loop.evaluate_every=1",)
    finetune(data, tmp_path / "run", small_model, *still)
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "validation.csv")] == [1, 2, 3]
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 3
    finetune(data, tmp_path / "run", small_model, *still)
    assert len(read_metrics(tmp_path / "run" / "validation.csv")) == 3


def test_with_other_classes_a_mask_autoencoder_comes_first(small_model, tmp_path):
    data = write_camvid(tmp_path / "own")
    more = f"{VOID}mappings: {{camvid11: {{sky: sky, tree: tree, bicyclist: bicyclist}}}}\n"
    (data / "label_set.yaml").write_text(label_set_text("own", CLASSES, more))
    finetune(data, tmp_path / "run", small_model, *MASKS)
    masks = tmp_path / "run" / "masks"
    trained = torch.load(masks / "last" / "autoencoder.pt", weights_only=True)
    begun = load_pretrained(masks / "start").mask_autoencoder.state_dict()
    used = load_pretrained(tmp_path / "run" / "start").mask_autoencoder.state_dict()
    for name, value in trained.items():
        assert torch.equal(used[name], value), name
    head = "decoder.head.0.weight"
    torch.testing.assert_close(trained[head], begun[head], atol=0.01, rtol=0)  # they learn on
    segmenter = Segmenter(tmp_path / "run" / "best", device="cpu")
    assert [one.name for one in segmenter.classes] == [one.name for one in CLASSES]
    assert segmenter.segment(np.zeros((50, 70, 3), np.uint8)).labels.max() < 3
    scores = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert scores["own"]["after"]["miou"] is not None


def test_with_more_minutes_a_run_goes_on_with_the_masks_that_it_has(
    other_data, small_model, tmp_path
):
    output = tmp_path / "run"
    overrides = (*MASKS, "masks.loop.steps=1000000", "loop.save_every=1")
    finetune(other_data, output, small_model, *overrides, options=("--minutes", 0.01))
    masks = (output / "masks" / "checkpoint.pt").read_bytes()
    finetune(
        other_data, output, small_model, *overrides, "loop.steps=3", options=("--minutes", 0.5)
    )
    assert (output / "masks" / "checkpoint.pt").read_bytes() == masks
    assert torch.load(output / "checkpoint.pt", weights_only=True)["step"] > 1
    minutes = [entry(run, "loop")["minutes"] for run in (output, output / "masks")]
    assert minutes == pytest.approx([0.4, 0.1])  # of which the masks have their part


def test_with_other_classes_too_a_run_goes_on_where_its_data_have_moved(
    other_data, small_model, tmp_path
):
    output = tmp_path / "run"
    finetune(other_data, output, small_model, *MASKS)
    moved = other_data.rename(tmp_path / "moved")
    finetune(moved, output, small_model, *MASKS, "loop.steps=3")
    assert torch.load(output / "checkpoint.pt", weights_only=True)["step"] == 3


def test_a_wrong_entry_is_told_before_the_masks_are_trained(other_data, small_model, tmp_path):
    told = finetune(other_data, tmp_path / "run", small_model, *MASKS, "loop.stps=2", code=1)
    assert "loop has unknown entries ['stps']" in told.replace("\n", " ")
    assert not (tmp_path / "run" / "masks").exists()


def test_another_model_or_other_classes_do_not_go_on_with_a_run(other_data, small_model, tmp_path):
    output = tmp_path / "run"
    finetune(other_data, output, small_model, *MASKS)
    checkpoint = (output / "checkpoint.pt").read_bytes()
    camvid = load_label_set("camvid11").classes
    another = save_small_model(tmp_path / "another", label_set=camvid, seed=1)
    told = finetune(other_data, output, another, *MASKS, code=1).replace("\n", " ")
    assert f"began from another model than {another}, or with other classes" in told
    changed = [*CLASSES[:2], LabelClass(2, "x", (9, 9, 9))]
    (other_data / "label_set.yaml").write_text(label_set_text("small", changed, VOID))
    assert "with other classes" in finetune(other_data, output, small_model, *MASKS, code=1)
    assert (output / "checkpoint.pt").read_bytes() == checkpoint


def test_the_original_data_are_mixed_in(data, small_model, tmp_path):
    write_camvid(tmp_path / "original" / "camvid")
    output = tmp_path / "run"
    printed = finetune(
        data, output, small_model, "loop.steps=1", options=["--original", tmp_path / "original"]
    )
    assert "camvid, 4 frames" in printed
    scores = json.loads((output / "finetune.json").read_text())
    assert list(scores) == ["own", "camvid"]
    shares = [source["share"] for source in entry(output, "data")["sources"]]
    assert shares == pytest.approx([0.7, 0.3])
    assert "miou_own" not in read_metrics(output / "validation.csv")[-1]  # which alone is validated
    assert "none of cityscapes256, camvid, idd_lite" in finetune(
        data, tmp_path / "o", small_model, options=["--original", tmp_path], code=1
    ).replace("\n", "")


def test_original_data_without_a_mapping_onto_other_classes_are_left_out(small_model, tmp_path):
    original = tmp_path / "original"
    write_camvid(original / "camvid")
    write_camvid(original / "idd_lite")  # whose labels are not known to be any of the own classes
    idd_lite = load_label_set("idd_lite")
    (original / "idd_lite" / "label_set.yaml").write_text(label_set_text("idd", idd_lite.classes))
    data = write_camvid(tmp_path / "own")
    more = f"{VOID}sources: {{camvid11: {{sky: sky, tree: tree}}}}\n"
    (data / "label_set.yaml").write_text(label_set_text("own", CLASSES, more))
    told = finetune(data, tmp_path / "o", small_model, *MASKS, options=["--original", original])
    assert "idd_lite is left out: label set idd has no mapping onto own" in told.replace("\n", " ")
    assert "camvid, 4 frames" in told


def test_a_twin_is_told_to_be_one(data, tmp_path):
    save_pretrained(Twin(TwinConfig("twin", load_label_set("camvid11").classes)), tmp_path / "twin")
    message = finetune(data, tmp_path / "o", tmp_path / "twin", code=1)
    assert "is a discriminative twin" in message.replace("\n", " ")


def test_what_is_wrong_is_named(data, small_model, tmp_path):
    (data / "label_set.yaml").unlink()
    message = finetune(data, tmp_path / "o", small_model, code=1)
    assert "label_set.yaml" in message
    assert "no data folder" in finetune(tmp_path / "none", tmp_path / "o", small_model, code=1)


def test_classes_that_no_label_set_has_are_wanted_in_the_order_of_the_model(data, tmp_path):
    model = save_small_model(tmp_path / "model")
    classes = load_pretrained(model).config.label_set
    own = [dataclasses.replace(it, id=10 - it.id) for it in classes][::-1]
    (data / "label_set.yaml").write_text(label_set_text("own", own))
    message = finetune(data, tmp_path / "o", model, code=1).replace("\n", " ")
    assert "in another order: expected class0, class1" in message


def test_data_that_are_not_split_are_to_be_imported(data, small_model, tmp_path):
    whole = data / "val"
    (whole / "label_set.yaml").write_text((data / "label_set.yaml").read_text())
    printed = finetune(whole, tmp_path / "run", small_model, code=1)
    assert f"`camss-ros data import {whole} --format png`" in printed


def test_classes_begin_as_those_that_they_are_made_of(small_model):
    earlier = load_label_set("camvid11")
    model = load_pretrained(small_model)
    own = LabelSet(
        "own",
        tuple(LabelClass(i, name, (i, i, i)) for i, name in enumerate(("ground", "tram", "sky"))),
        candidates={"camvid11": {"ground": ("road", "pavement"), "tram": (), "sky": ("sky",)}},
    )
    origins = class_origins(own, earlier)
    assert origins == [(3, 4), (), (0,)]
    other = with_other_classes(model, own.classes, origins)
    # what was sky alone gives the same latents, and the same logits of sky
    labels = torch.zeros(1, 32, 48, dtype=torch.long)
    torch.testing.assert_close(
        other.mask_autoencoder.encode(labels + 2), model.mask_autoencoder.encode(labels)
    )
    latents = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    was, now = (each.mask_autoencoder.decode(latents) for each in (model, other))
    torch.testing.assert_close(now[:, 2], was[:, 0])
    torch.testing.assert_close(now[:, 0], was[:, 3:5].mean(dim=1))
    torch.testing.assert_close(now[:, 1], was.mean(dim=1))


def test_without_a_mapping_classes_of_one_name_are_one():
    names = ("tram", "road")
    own = LabelSet("own", tuple(LabelClass(i, n, (0, 0, i)) for i, n in enumerate(names)))
    assert class_origins(own, load_label_set("cityscapes19")) == [(), (0,)]


def test_candidates_of_one_class_do_without_those_of_the_others():
    names = ("car", "two-wheeler", "tram")
    own = LabelSet(
        "own",
        tuple(LabelClass(i, n, (0, 0, i)) for i, n in enumerate(names)),
        candidates={"cityscapes19": {"two-wheeler": ("motorcycle", "bicycle")}},
    )
    assert class_origins(own, load_label_set("cityscapes19")) == [(13,), (17, 18), ()]


def test_a_mapping_onto_the_own_classes_does_as_well():
    own, earlier = load_label_set("autoware16"), load_label_set("cityscapes19")
    of_name = dict(zip((one.name for one in own.classes), class_origins(own, earlier), strict=True))
    assert [earlier.classes[i].name for i in of_name["vehicle"]] == [
        "car",
        "truck",
        "bus",
        "train",
    ]
    assert of_name["road"] == (0,)
    assert of_name["unknown"] == ()
