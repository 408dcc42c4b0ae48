"""The training loop: what is learned, and what happens to files when something goes wrong."""

import copy
import dataclasses
import errno
import itertools
import math
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import save_small_model
from training_run import training_data

from camss_ros.atomic_files import locked
from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.model.autoencoder import MaskAutoencoder, MaskAutoencoderConfig
from camss_ros.model.checkpoint import load_pretrained, save_pretrained
from camss_ros.model.schedule import SamplingOptions
from camss_ros.training import loop as loop_module
from camss_ros.training import segmenter_losses
from camss_ros.training.config import (
    AutoencoderConfig,
    DataConfig,
    LoopOptions,
    SegmenterConfig,
    SourceConfig,
)
from camss_ros.training.label_codes import LabelCodes
from camss_ros.training.loop import Training, make_accelerator, train
from camss_ros.training.masking import RandomlyKnown, TruncatedNormalRatio
from camss_ros.training.optimization import (
    ExponentialMovingAverage,
    learning_rate,
    parameter_groups,
)
from camss_ros.training.run_folder import (
    MetricsFile,
    TrainingError,
    read_metrics,
    save_checkpoint,
    write_atomically,
)
from camss_ros.training.samples import TrainingSamples, collate, validation_scores
from camss_ros.training.sources import (
    TrainingData,
    TrainingSource,
    ValidationSource,
    resize_pair,
)
from camss_ros.training.train_autoencoder import AutoencoderTraining
from camss_ros.training.train_segmenter import SampleDraws, SegmenterTraining

CLASSES = tuple(LabelClass(index, f"class{index}", (0, 0, 0)) for index in range(11))
DATA = DataConfig((SourceConfig("camvid"),))


def options(steps: int, **changes) -> LoopOptions:
    values = {"batch": 2, "learning_rate": 3e-3, "warmup": 2, "ema_decay": 0.5, "log_every": 1}
    values |= {"precision": "fp32", "save_every": 2, "evaluate_every": 1000}
    return LoopOptions(steps, **{**values, **changes})


def pairs(count: int = 6):
    """Grey frames whose brightness tells the class."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.array([0, 5, 10], np.uint8), (4, 1)) for _ in range(count)]
    labels = [np.repeat(np.repeat(row, 48, 1), 16, 0) for row in rows]
    return [(np.repeat((label * 23)[..., None], 3, 2), label) for label in labels]


def data() -> TrainingData:
    return training_data(pairs(), CLASSES)


def samples(
    loop: LoopOptions, draw=lambda count, generator: {}, frames=None, **changes
) -> TrainingSamples:
    """Windows of the frames, by default of `data`; `changes` are of the configuration."""
    crop = AugmentationOptions(size=(32, 48), recolour=0.0)
    config = AutoencoderConfig(**{"data": DATA, "loop": loop, "augmentation": crop, **changes})
    return TrainingSamples(config, frames or data(), draw)


class Broken(Training):
    """Its loss is no number at one step."""

    def __init__(self, bad_step: int) -> None:
        super().__init__()
        self.model = torch.nn.Linear(2, 2)
        self.calls, self.bad_step = 0, bad_step

    def forward(self, batch):
        factor = math.nan if self.calls == self.bad_step else 1.0
        self.calls += 1
        return {"loss": self.model(torch.ones(2)).square().sum() * factor}

    def validate(self, average, accelerator):
        return {"miou": 0.5}

    def write(self, average, directory):
        (directory / "weights").write_text("written")


SMALL = MaskAutoencoderConfig(8, (16, 16, 32), (1, 1, 1))  # as that of `tiny_model`


def draw_for_autoencoder(count, generator):
    noise = torch.randn(count, 8, 2, 3, generator=generator)
    return {"noise": noise, "classes": torch.arange(11).expand(count, -1)}


def train_autoencoder(model, output, steps=80, **changes) -> MaskAutoencoder:
    loop = options(steps, batch=8, learning_rate=5e-3)
    training = AutoencoderTraining(model, AutoencoderConfig(DATA, loop, SMALL, **changes), data())
    return train(training, samples(loop, draw_for_autoencoder), output, make_accelerator(loop))


@pytest.fixture(scope="module")
def autoencoder_run(tmp_path_factory):
    """A trained autoencoder and the folder of its training."""
    torch.manual_seed(0)
    output = tmp_path_factory.mktemp("autoencoder")
    return train_autoencoder(MaskAutoencoder(11, SMALL), output), output


def test_the_autoencoder_learns_to_reconstruct(autoencoder_run):
    average, output = autoencoder_run
    # One class everywhere would score at most 1 / 3 on the three that occur.
    scores = read_metrics(output / "validation.csv")[-1]
    assert np.mean([scores[f"iou_{index}"] for index in (0, 5, 10)]) > 0.5
    # Normalised latents of the training masks have mean 0 and deviation 1 a channel.
    labels = torch.from_numpy(np.stack([label for _, label in pairs()])).long()
    pooled = average.encode(labels).transpose(0, 1).flatten(1)
    torch.testing.assert_close(pooled.mean(1), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(pooled.std(1), torch.ones(8), atol=1e-3, rtol=0)


def test_an_encoder_learns_alone_for_the_decoder_of_a_model(autoencoder_run, tiny_model, tmp_path):
    torch.manual_seed(1)
    network = copy.deepcopy(tiny_model)
    network.mask_autoencoder = copy.deepcopy(autoencoder_run[0])
    network.mask_autoencoder.encoder = MaskAutoencoder(11, SMALL).encoder  # knows no such decoder
    save_pretrained(network, tmp_path / "model")
    autoencoder = copy.deepcopy(network.mask_autoencoder)
    run = tmp_path / "run"
    source = str(tmp_path / "model")
    train_autoencoder(autoencoder, run, 40, start_from=source, frozen_decoder=True)
    before, after = network.state_dict(), load_pretrained(run / "last").state_dict()
    changed = {
        name
        for name in before
        if not torch.allclose(before[name], after[name], rtol=2e-3, atol=1e-4)
    }
    assert changed
    assert all(name.startswith("mask_autoencoder.encoder.") for name in changed)
    losses = read_metrics(run / "metrics.csv")
    assert losses[-1]["cross_entropy"] < 0.7 * losses[0]["cross_entropy"]
    assert losses[-1]["distance"] > 0


def test_a_decoder_stays_as_it_is_only_where_there_is_one():
    with pytest.raises(ValueError, match="give start_from"):
        AutoencoderConfig(DATA, options(1), frozen_decoder=True)


def test_shuffled_classes_keep_the_weight_of_what_they_were():
    torch.manual_seed(0)
    config = AutoencoderConfig(DATA, options(1), SMALL)
    training = AutoencoderTraining(MaskAutoencoder(11, SMALL), config, data()).eval()
    labels = torch.from_numpy(np.stack([label for _, label in pairs()]))
    labels[:, :5] = 255
    order, noise = torch.randperm(11), torch.randn(6, 8, 4, 3)

    def loss(labels, classes):
        batch = {"labels": labels, "noise": noise, "classes": classes.expand(6, -1)}
        return training(batch)["loss"].item()

    shuffled = loss(labels, order)
    renamed = torch.cat([order, torch.full((245,), 255)])[labels.long()].to(torch.uint8)
    assert loss(renamed, torch.arange(11)) != pytest.approx(shuffled, rel=1e-3)
    training.weights[order] = training.weights.clone()
    assert loss(renamed, torch.arange(11)) == pytest.approx(shuffled, rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_step(tmp_path):
    loop = options(6, log_every=20)
    with pytest.raises(TrainingError, match=r"loss is nan at step 3.*checkpoint\.pt"):
        train(Broken(3), samples(loop), tmp_path, make_accelerator(loop))
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 2
    assert all(value.isfinite().all() for value in checkpoint["module"].values())


def test_a_gradient_that_is_no_number_ends_the_run_too(tmp_path):
    class Steep(Broken):
        def forward(self, batch):
            return {"loss": (0 * self.model.weight).sqrt().sum()}

    loop = options(4)
    with pytest.raises(TrainingError, match=r"gradient_norm is nan at step 0.*no checkpoint yet"):
        train(Steep(-1), samples(loop), tmp_path, make_accelerator(loop))


def test_of_slow_steps_a_checkpoint_comes_before_its_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "_SAVE_MINUTES", 0)
    loop = options(6, save_every=20)
    with pytest.raises(TrainingError, match="nan at step 3"):
        train(Broken(3), samples(loop), tmp_path, make_accelerator(loop))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_a_run_that_goes_on_has_its_best_score_and_its_time(tmp_path, monkeypatch):
    class Scored(Broken):
        def __init__(self, *scores):
            super().__init__(bad_step=-1)
            self.scores = iter(scores)

        def validate(self, average, accelerator):
            assert average is not self.model
            self.score = next(self.scores)
            return {"miou": self.score}

        def write(self, average, directory):
            assert average is not self.model
            (directory / "weights").write_text(f"of {self.score}")

    def run(steps, *scores):
        loop = options(steps, save_every=20, evaluate_every=1)
        train(Scored(*scores), samples(loop), tmp_path, make_accelerator(loop))

    path = tmp_path / "checkpoint.pt"
    run(2, 0.5, 0.9)
    state = torch.load(path, weights_only=True)
    state["minutes"] = 100.0
    save_checkpoint(state, path)
    saved = []

    def save(state, path):
        saved.append(state["step"])
        save_checkpoint(state, path)

    monkeypatch.setattr(loop_module, "save_checkpoint", save)
    run(4, 0.7, 0.8)
    assert saved == [4]  # no five minutes after the last one
    assert torch.load(path, weights_only=True)["minutes"] > 100
    written = {name: (tmp_path / name / "weights").read_text() for name in ("best", "last")}
    assert written == {"best": "of 0.9", "last": "of 0.8"}
    other = Scored()
    other.model = torch.nn.Linear(2, 2, bias=False)
    loop = options(5)
    with pytest.raises(TrainingError, match=r"does not fit .*lacks \[\], has \['bias'\]"):
        train(other, samples(loop), tmp_path, make_accelerator(loop))


def _kill_workers():
    for worker in multiprocessing.active_children():
        worker.kill()


def _fill_the_disk():
    raise OSError(errno.ENOSPC, "No space left on device")  # as TensorBoard does


def _run_out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (_kill_workers, r"DataLoader worker.*\. If .* fewer data\.workers.*no checkpoint yet"),
        (_fill_the_disk, r"No space left on device: make room .*no checkpoint yet"),
        (_run_out_of_memory, r"out of memory.*2 GiB\. A smaller loop\.batch.*no checkpoint yet"),
    ],
)
def test_a_killed_worker_and_a_lack_of_memory_or_room_are_told(tmp_path, happens, told):
    class Ended(Broken):
        def forward(self, batch):
            happens()
            return super().forward(batch)

    loop = options(6, save_every=20)
    frames = samples(loop, data=dataclasses.replace(DATA, workers=1))
    with pytest.raises(TrainingError, match=told):
        train(Ended(-1), frames, tmp_path, make_accelerator(loop))


def test_frames_of_less_than_a_token_are_enlarged_to_one(tmp_path):
    label = np.zeros((12, 40), np.uint8)
    tiny = training_data([(np.zeros((12, 40, 3), np.uint8), label)], CLASSES)
    loop = options(1)
    training = AutoencoderTraining(
        MaskAutoencoder(11, SMALL), AutoencoderConfig(DATA, loop, SMALL), tiny
    )
    frames = samples(loop, draw_for_autoencoder, tiny)
    train(training, frames, tmp_path, make_accelerator(loop))
    assert [row["step"] for row in read_metrics(tmp_path / "validation.csv")] == [1]


def test_a_worker_that_outlives_a_killed_run_does_not_lock_the_folder(tmp_path):
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    with locked(tmp_path):
        worker = fork.Process(target=lambda: there.send("begun") or time.sleep(60))
        worker.start()
        here.recv()
    try:
        with locked(tmp_path):
            pass
    finally:
        worker.kill()
        worker.join()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"step": 2}, path)
    # writes to /dev/full fail as on a full disk
    (tmp_path / "checkpoint.pt.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt.*No space left on device"):
        save_checkpoint({"step": 4, "weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True)["step"] == 2


@pytest.mark.parametrize(
    "ended_by",
    [KeyboardInterrupt("Ctrl-C"), SystemExit(143), RuntimeError("DataLoader worker is gone")],
)
def test_what_ends_a_run_while_it_saves_is_not_told_of_the_disk(tmp_path, ended_by):
    class Ended:
        def __init__(self, file):
            self.file, self.calls = file, 0

        def write(self, data):
            self.calls += 1
            if self.calls == 5:
                raise ended_by
            return self.file.write(data)

    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"step": 2}, path)
    state = {"step": 4, "weights": torch.zeros(100)}
    with pytest.raises(type(ended_by), match=str(ended_by)):
        write_atomically(path, lambda file: torch.save(state, Ended(file)))
    assert torch.load(path, weights_only=True)["step"] == 2


def test_a_full_disk_that_keeps_the_masks_from_being_written_is_told(tmp_path):
    model = MaskAutoencoder(11, SMALL)
    training = AutoencoderTraining(model, AutoencoderConfig(DATA, options(1)), data())
    (tmp_path / "autoencoder.pt.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"autoencoder\.pt: No space left on device"):
        training.write(model.eval(), tmp_path)


def test_a_run_that_its_time_ends_may_have_any_number_of_steps(tmp_path):
    loop = options(10**12, minutes=1e-6)
    accelerator = make_accelerator(loop)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    try:
        train(Broken(bad_step=-1), samples(loop), tmp_path, accelerator)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert len(read_metrics(tmp_path / "metrics.csv")) == 1


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, 0)
    for step in (1, 2, 3):
        file.append(step, {"loss": step / 3})
    path.write_text(path.read_text() + "4,0.")
    resumed = MetricsFile(path, 2)
    resumed.append(3, {"loss": 7.0})
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]
    assert read_metrics(path)[-1]["loss"] == 7.0
    MetricsFile(path, 0)  # killed before its first checkpoint
    assert read_metrics(path) == []


@pytest.mark.parametrize("size", [(176, 240), (160, 224), (240, 320)])
def test_a_resized_label_stays_where_the_image_is(size):
    rows, columns = np.mgrid[:180, :240].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    for channel, label in ((0, rows), (1, columns)):
        resized, moved = resize_pair(image, label, size)
        beside = moved.astype(float) - resized[..., channel]
        assert abs(beside.mean()) < 0.1  # of a pixel


@pytest.mark.parametrize("size", [(8, 2), (2, 8), (8, 8)])
def test_an_image_that_grows_in_a_direction_is_smooth(size):
    corner = np.zeros((4, 4, 3), np.uint8)
    corner[2:, 2:] = 200
    resized, _ = resize_pair(corner, corner[..., 0], size)
    assert len(np.unique(resized)) > 2  # pixels are not repeated


def test_every_epoch_has_another_order_of_all_frames():
    taken = samples(options(1))
    seen = [tuple(np.flatnonzero([(taken._frame(e * 6 + i, np.random.default_rng(0))[1] == label)
            .all() for _, label in pairs()])[0] for i in range(6)) for e in range(3)]  # fmt: skip
    assert len(set(seen)) > 1
    assert len({frozenset(epoch) for epoch in seen}) == 1


def test_sources_are_drawn_as_often_as_their_shares_say_each_in_epochs():
    def source(value: int, frames: int, share: float) -> TrainingSource:
        labels = [np.full((32, 48), value + index, np.uint8) for index in range(frames)]
        return TrainingSource([(np.zeros((32, 48, 3), np.uint8), one) for one in labels], share)

    one = data()
    several = dataclasses.replace(one, sources=(source(0, 4, 3.0), source(10, 7, 1.0)))
    taken = samples(options(1), frames=several)
    rng = np.random.default_rng(0)
    seen = np.array([taken._frame(number, rng)[1][0, 0] for number in range(2000)])
    assert (seen < 10).sum() == 1500
    assert 600 < (seen[:1000] < 10).sum() < 900
    for values, frames in ((seen[seen < 10], 4), (seen[seen >= 10], 7)):
        epochs = values[: len(values) // frames * frames].reshape(-1, frames)
        assert all(len(set(epoch)) == frames for epoch in epochs.tolist())
    # classes are counted as often as they are drawn
    shares = several.code_shares(several.codes)
    np.testing.assert_allclose((shares[:4].sum(), shares[10:].sum()), (0.75, 0.25))
    # any sample by itself is the same
    assert taken._frame(1234, rng)[1][0, 0] == seen[1234]


def test_what_is_random_is_of_the_seed_the_step_and_the_place_in_it():
    def draw(count, generator):
        return {"noise": torch.rand(count, 3, generator=generator)}

    one_frame = training_data([(np.zeros((90, 120, 3), np.uint8), np.mgrid[:90, :120][1] % 11)],
                              CLASSES)  # fmt: skip
    taken = samples(options(9), draw, one_frame)
    windows = [taken[number]["labels"] for number in range(6)]
    assert all((a != b).any() for a, b in itertools.combinations(windows, 2))
    assert (taken[3]["labels"] == windows[3]).all()

    def noise(numbers, step, first):
        batch = collate([taken[number] for number in numbers])
        return taken.complete(batch, step, first, torch.device("cpu"))["noise"]

    whole = noise([2, 3], 1, 0)
    assert torch.equal(noise([3], 1, 1), whole[1:])  # as one of several processes
    assert not torch.equal(noise([4, 5], 2, 0), whole)


@pytest.mark.parametrize("recolour", [0.0, 0.8])
def test_images_are_recoloured_where_the_batch_is_completed(recolour):
    grey = training_data([(np.full((32, 48, 3), 100, np.uint8), np.zeros((32, 48), np.uint8))],
                         CLASSES)  # fmt: skip
    crop = AugmentationOptions((32, 48), recolour=recolour)
    taken = samples(options(9), frames=grey, augmentation=crop)
    batch = collate([taken[number] for number in range(20)])
    before = batch["images"].clone()
    images = taken.complete(batch, 0, 0, torch.device("cpu"))["images"]
    assert (images != before).any() == (recolour > 0)


def test_without_a_share_the_synthetic_street_is_not_asked_for():
    recipe = dataclasses.replace(DATA, synthetic_scenes=60)  # whose classes are others
    assert samples(options(1), data=recipe)[0]["labels"].shape == (32, 48)
    with pytest.raises(DataError, match=r"set data\.synthetic_share to 0"):
        samples(options(1), data=dataclasses.replace(recipe, synthetic_share=0.1))


def test_scores_of_several_sources_are_in_their_own_classes():
    image, label = np.zeros((16, 32, 3), np.uint8), np.zeros((16, 32), np.uint8)
    label[:, 16:] = 1
    merged = np.full(256, 255, np.uint8)
    merged[:4] = 0, 0, 1, 1
    sources = (
        ValidationSource("fine", [(image, label)], 4, np.arange(256, dtype=np.uint8)),
        ValidationSource("coarse", [(image, label)], 2, merged, (32, 32)),
    )
    sizes = []

    def predict(images, labels):
        sizes.append(tuple(images.shape[2:]))
        return labels * 2  # 0 and 2: half of it right in the fine classes, all in the coarse ones

    accelerator = make_accelerator(options(1))
    scores = validation_scores(sources, predict, accelerator)
    assert sizes == [(16, 32), (32, 32)]
    # of the classes 0, 1 and 2, which occur or are predicted, one is right
    assert scores["miou_coarse"] == 1
    assert scores["miou_fine"] == pytest.approx(1 / 3)
    assert scores["miou"] == pytest.approx(2 / 3)
    # frames whose source asks for no size are of the network's
    validation_scores(sources, predict, accelerator, (48, 64))
    assert sizes[2:] == [(48, 64), (32, 32)]
    # 5 is no class of the fine ones: half is right, and the other one never found
    other = validation_scores(sources[:1], lambda images, labels: labels * 5, accelerator)
    assert other["miou"] == 1 / 2


def test_the_official_mask_ratio_is_that_of_the_step():
    masking = TruncatedNormalRatio()
    counts = []
    for step in range(200):
        known = masking.known(2, 400, torch.Generator().manual_seed(step))
        assert known[0].sum() == known[1].sum() <= 120
        counts.append(known[0].sum().item() / 400)
    # mean of the half-normal distance from 1, of deviation 0.25, cut at 0.3
    assert np.mean(counts) == pytest.approx(0.132, abs=0.02)
    assert not masking.known(9, 1, torch.Generator().manual_seed(0)).any()  # masked is rounded up


def test_in_a_share_of_the_samples_some_tokens_are_known():
    masking = RandomlyKnown(known_share=0.4, most_known=0.7)
    shares = masking.known(5000, 300, torch.Generator().manual_seed(0)).float().mean(dim=1)
    some = shares[shares > 0]
    assert len(some) / 5000 == pytest.approx(0.4, abs=0.03)
    assert some.mean().item() == pytest.approx(0.35, abs=0.02)
    assert 0.65 < some.max() < 0.85


def test_the_rate_follows_steps_or_clock_whichever_is_further_on():
    loop = options(102, minutes=10.0, learning_rate=1.0)
    assert learning_rate(0, 9.0, loop) == 0.5  # the warm-up goes by steps
    assert learning_rate(1, 9.0, loop) == 1.0
    assert learning_rate(52, 1.0, loop) == pytest.approx(0.51)
    assert learning_rate(12, 5.0, loop) == pytest.approx(0.51)
    assert learning_rate(12, 11.0, loop) == pytest.approx(0.02)
    assert learning_rate(52, 11.0, options(102, learning_rate=1.0)) == pytest.approx(0.51)
    assert learning_rate(99, 9.0, dataclasses.replace(loop, schedule="constant")) == 1.0


def test_norms_biases_and_position_tables_do_not_decay():
    module = torch.nn.Module()
    module.mask_token = torch.nn.Parameter(torch.zeros(1, 1, 4))
    module.encoder_pos_embed_learned = torch.nn.Parameter(torch.zeros(1, 3, 4))
    module.linear = torch.nn.Linear(4, 4)
    groups = parameter_groups(module, 0.1, lambda name: 1.0)
    decayed = [p for group in groups if group["weight_decay"] for p in group["params"]]
    assert len(decayed) == 1
    assert decayed[0] is module.linear.weight


def test_steps_are_of_adamw_with_a_clipped_gradient_and_are_averaged(tmp_path):
    class Calming(Broken):
        def forward(self, batch):
            self.calls += 1
            return {"loss": loss(self.model, self.calls)}

    def loss(model, call):
        return 100.0 ** (2 - call) * model(torch.ones(2)).square().sum()

    loop = options(4, betas=(0.5, 0.7), clip=0.1, weight_decay=0.1, ema_decay=0.22)
    training = Calming(-1)
    model = copy.deepcopy(training.model)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1, lambda _: 1.0), betas=loop.betas)
    expected = ExponentialMovingAverage(model, loop.ema_decay)
    for step in range(4):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 0.0, loop)
        optimizer.zero_grad()
        loss(model, step + 1).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
        optimizer.step()
        expected.update(model)
    average = train(training, samples(loop), tmp_path, make_accelerator(loop))
    for found, wanted in ((training.model, model), (average, expected.module)):
        for one, other in zip(found.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_micro_batches_are_the_samples_of_the_step(tmp_path, precision, dtype):
    class Watched(Broken):
        def forward(self, batch):
            self.calls += 1
            seen.append(torch.cat([batch["noise"], batch["labels"].float().flatten(1)], dim=1))
            output = self.model(batch["noise"])
            assert str(output.dtype) == f"torch.{dtype}"
            return {"loss": output.float().square().mean()}

    def draw(count, generator):
        return {"noise": torch.rand(count, 2, generator=generator)}

    torch.manual_seed(0)
    model = torch.nn.Linear(2, 2)
    runs = []
    for accumulation in (1, 2):
        loop = options(2, batch=4, accumulation=accumulation, precision=precision)
        training, seen = Watched(-1), []
        training.model = copy.deepcopy(model)
        output = tmp_path / str(accumulation)
        train(training, samples(loop, draw), output, make_accelerator(loop))
        assert training.calls == 2 * accumulation
        row = read_metrics(output / "metrics.csv")[-1]
        runs.append((torch.cat(seen), training.model.weight, torch.tensor(row["loss"])))
    for one, two in zip(*runs, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)


def test_each_group_learns_at_its_own_rate(tmp_path):
    class Slow(Broken):
        def rate_of(self, name):
            return 0.25 if name == "bias" else 1.0

    training = Slow(bad_step=-1)
    before = [p.detach().clone() for p in training.model.parameters()]
    loop = options(1, warmup=0, weight_decay=0.0, learning_rate=0.01)
    train(training, samples(loop), tmp_path, make_accelerator(loop))
    # Adam's first step is as long as the rate, whatever the gradient
    for old, new, rate in zip(before, training.model.parameters(), (0.01, 0.0025), strict=True):
        torch.testing.assert_close((new - old).abs(), torch.full_like(old, rate))


def test_backbone_and_decoder_of_the_segmenter_have_rates_of_their_own(tmp_path):
    model = load_pretrained(save_small_model(tmp_path))
    config = SegmenterConfig(DATA, options(1), model.config, backbone_rate=0.5, decoder_rate=0.125)
    training = SegmenterTraining(model, config, data())
    groups = parameter_groups(training.model, 0.0, training.rate_of)
    rates = {id(p): group["rate"] for group in groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    for name, rate in found.items():
        expected = 0.125 if name.startswith("mask_autoencoder.decoder.") else 1.0
        assert rate == (0.5 if name.startswith("tokenizer.backbone.") else expected), name
    assert set(found.values()) == {0.125, 0.5, 1.0}


def test_all_that_is_trained_has_a_gradient(tmp_path):
    """Several processes wait for every one."""
    model = load_pretrained(save_small_model(tmp_path))
    only = segmenter_losses.SegmenterLossOptions(auxiliary_weight=0)
    crop = AugmentationOptions(size=(32, 48))
    config = SegmenterConfig(DATA, options(1), model.config, crop, losses=only, decoder_rate=1)
    training = SegmenterTraining(model, config, data())
    taken = TrainingSamples(config, data(), SampleDraws(config, model))
    batch = taken.complete(collate([taken[0], taken[1]]), 0, 0, torch.device("cpu"))
    training(batch)["loss"].backward()
    lacking = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lacking


def test_estimates_of_small_batches_start_from_noise_and_from_zero(tmp_path):
    model = load_pretrained(save_small_model(tmp_path))
    crop = AugmentationOptions(size=(32, 48))
    draw = SampleDraws(SegmenterConfig(DATA, options(1), model.config, crop), model)
    for samples in (1, 2, 8):
        kinds = [draw(samples, torch.Generator().manual_seed(n))["start_kind"] for n in range(400)]
        counts = torch.cat(kinds).bincount(minlength=4) / (400 * samples)
        torch.testing.assert_close(counts, torch.full((4,), 0.25), atol=0.06, rtol=0)


def test_the_auxiliary_loss_judges_what_samplers_of_one_and_two_steps_lead_to(tiny_model):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    latents = (4, 6, tiny_model.latent_channels)
    two = SamplingOptions(steps=2)
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:, 2] = True
    batch = {
        "images": torch.randint(0, 256, (4, 3, 32, 48), generator=generator).byte(),
        "labels": torch.randint(0, 11, (4, 32, 48), generator=generator).byte(),
        "known": known,
        "timesteps": torch.full((4, 1, 6), 300),
        "noise": random(4, 1, 6, latents[2]),
        "start_kind": torch.arange(4),
        "second_timestep": torch.full((4,), tiny_model.plan(two).sampler.timesteps[1]),
        "start_noise": random(*latents),
    }
    target = tiny_model.mask_autoencoder.encode(batch["labels"].long()).flatten(2).transpose(1, 2)
    image_tokens = tiny_model.image_tokens(tiny_model.normalize(batch["images"]))
    embedded = tiny_model.denoiser.cond_embed(tiny_model.condition(image_tokens, target, known))

    def drawn(options, noise=None):
        plan = tiny_model.plan(options)

        def predict(x, index):
            return tiny_model.denoiser(x, plan.time_embeddings[index], embedded)

        return plan.sampler.sample(predict, latents, torch.device("cpu"), noise=noise)

    one = SamplingOptions(steps=1)
    noisy = drawn(dataclasses.replace(one, temperature=1.0), batch["start_noise"][None])
    expected = torch.cat([noisy[:1], drawn(one)[1:2], drawn(two)[2:]])
    expected = torch.where(known[..., None], target, expected)
    judged = []

    def judge(logits, labels):
        judged.append(logits)
        return torch.tensor(3.0)

    weights = segmenter_losses.SegmenterLossOptions(auxiliary_weight=0.5)
    losses = segmenter_losses.segmenter_losses(tiny_model, batch, judge, weights)
    decoded = tiny_model.mask_autoencoder.decode(tiny_model.latent_map(expected, (2, 3)))
    torch.testing.assert_close(judged[0], decoded, rtol=1e-3, atol=1e-4)
    assert losses["loss"] == losses["diffusion"] + 1.5


def test_void_that_is_a_class_weighs_by_its_share(tmp_path):
    model = load_pretrained(save_small_model(tmp_path))
    model.config = dataclasses.replace(model.config, void_color=(0, 0, 0))
    label = np.repeat(np.array([0, 3, 255], np.uint8), [32, 16, 16])[None].repeat(16, axis=0)
    frames = training_data([(np.zeros((16, 64, 3), np.uint8), label)], CLASSES)
    weighed = segmenter_losses.SegmenterLossOptions(class_weight_power=1)
    config = SegmenterConfig(DATA, options(1), model.config, losses=weighed)
    weights = SegmenterTraining(model, config, frames).decoded_loss.weights
    assert weights[11] == weights[3] == pytest.approx(2 * weights[0].item())


def test_the_average_follows_the_first_steps_closely():
    source = torch.nn.Linear(1, 1, bias=False)
    source.weight.data.fill_(0.0)
    source.register_buffer("count", torch.zeros(1))
    average = ExponentialMovingAverage(source, decay=0.99)
    slow = ExponentialMovingAverage(source, decay=0.1)
    source.weight.data.fill_(1.0)
    source.count.fill_(7.0)
    expected = 0.0
    for kept in (2 / 11, 3 / 12, 4 / 13):
        average.update(source)
        slow.update(source)
        expected = kept * expected + 1 - kept
        assert average.module.weight.item() == pytest.approx(expected)
    assert slow.module.weight.item() == pytest.approx(1 - 0.1**3)  # never above its own decay
    assert slow.module.count.item() == 7  # as it is
    average.updates = 100_000
    average.module.weight.data.fill_(0.0)
    average.update(source)
    assert average.module.weight.item() == pytest.approx(0.01)


@pytest.mark.parametrize("void_color", [None, (0, 0, 0)])
def test_a_token_weighs_as_much_as_of_it_is_labelled(tmp_path, monkeypatch, void_color):
    """Unless void is a class of the model; known tokens have no weight."""
    model = load_pretrained(save_small_model(tmp_path))
    model.config = dataclasses.replace(model.config, void_color=void_color)
    labels = torch.zeros(1, 32, 48, dtype=torch.uint8)
    labels[:, :16, :16] = 255
    labels[:, :8, 16:32] = 255
    known = torch.tensor([[False, False, False, False, False, True]])
    batch = {
        "images": torch.zeros(1, 3, 32, 48, dtype=torch.uint8),
        "labels": labels,
        "known": known,
        "timesteps": torch.full((1, 2, 6), 500),
        "noise": torch.zeros(1, 2, 6, 4),
    }
    errors = torch.tensor([[5.0, 7, 1, 2, 3, 11], [13, 17, 4, 6, 8, 19]])
    monkeypatch.setattr(segmenter_losses, "diffusion_loss", lambda *_: errors.flatten())
    only = segmenter_losses.SegmenterLossOptions(auxiliary_weight=0)
    loss = segmenter_losses.segmenter_losses(model, batch, None, only)["loss"]
    if void_color is None:
        assert loss.item() == pytest.approx(((7 + 17) / 2 + 24) / 7)
    else:
        assert loss.item() == pytest.approx((5 + 13 + 7 + 17 + 24) / 10)


def test_focused_samples_show_a_rare_class():
    size, rare = (16, 16), 7
    label = np.zeros((64, 96), np.uint8)
    label[50:54, 80:84] = rare
    frames = [(np.zeros((64, 96, 3), np.uint8), label)]
    config = DataConfig(
        (SourceConfig("camvid"),), focus_share=1.0, focus_classes=("class7", "class9")
    )
    crop = AugmentationOptions(size=size, recolour=0.0, rotation=0.0)
    only = training_data(frames, CLASSES)
    taken = samples(options(1), frames=only, data=config, augmentation=crop)
    assert all((taken[number]["labels"] == rare).any() for number in range(12))
    half = samples(options(1), frames=only, augmentation=crop,
                   data=dataclasses.replace(config, focus_share=0.5))  # fmt: skip
    assert 3 < sum((half[number]["labels"] == rare).any() for number in range(20)) < 17
    # a label of several classes is rare if all of them are
    codes = LabelCodes(11, ((7, 9), (3, 7)))
    several = samples(options(1), frames=dataclasses.replace(only, codes=codes), data=config,
                      augmentation=crop)  # fmt: skip
    for code, is_rare in ((11, True), (12, False)):
        label[50:54, 80:84] = code
        assert all((several[n]["labels"] == code).any() for n in range(12)) == is_rare
    label[:] = 0
    assert not taken[0]["labels"].any()  # of what is not there nothing is shown
