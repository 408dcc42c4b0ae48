"""The training loop that all trainings share, on Hugging Face accelerate.

One process or many (`accelerate launch`): the samples of a step are split over the processes, and
what a step computes does not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from camss_ros.images.image_files import DataError
from camss_ros.training.config import LoopOptions
from camss_ros.training.global_batch import synchronize_batch_norm
from camss_ros.training.optimization import (
    ExponentialMovingAverage,
    Model,
    learning_rate,
    parameter_groups,
    saved_state,
)
from camss_ros.training.outside_causes import outside_causes
from camss_ros.training.progress import step_progress
from camss_ros.training.run_folder import (
    MetricsFile,
    TrainingError,
    replace_files,
    save_checkpoint,
)
from camss_ros.training.samples import TrainingSamples, collate

CHECKPOINT = "checkpoint.pt"
SCORE = "miou"
_SAVE_MINUTES = 5  # without a checkpoint, at most; steps may take seconds


class Training(nn.Module, ABC, Generic[Model]):
    """A model with its losses, and what the loop needs to know of them.

    Attributes:
        model: what is trained, averaged and written.
    """

    model: Model

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of the global batch, of which `loss` is minimised.

        Args:
            batch: the samples of this process, stacked. Everything random is in them.
        """

    @abstractmethod
    def validate(self, average: Model, accelerator: Accelerator) -> dict[str, float]:
        """Scores of the averaged model, the same in every process; the best `miou` is kept."""

    @abstractmethod
    def write(self, average: Model, directory: Path) -> None:
        """Write the averaged model into an empty folder."""

    def prepare_backward(self, device: torch.device) -> None:
        """Change how `model` computes while training; its average computes as before."""

    def is_external(self, name: str) -> bool:
        """Whether a frozen parameter of `model` is left out of checkpoints: its own file has it."""
        return False

    def rate_of(self, name: str) -> float:
        """Factor on the learning rate of a parameter of `model`."""
        return 1.0


def make_accelerator(options: LoopOptions) -> Accelerator:
    """The accelerator, which decides on the device, of `accelerate launch` or of one process.

    Raises:
        TrainingError: the device has no such precision, or the batch can't be split evenly.
    """
    # Lets a process run trainings of different precision one after the other.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(
            mixed_precision={"fp32": "no"}.get(options.precision, options.precision),
            gradient_accumulation_steps=options.accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except ValueError as error:
        raise TrainingError(f"loop.precision {options.precision}: {error}") from error
    if options.precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("loop.precision fp16 needs a GPU: take bf16 or fp32 on a CPU")
    parts = accelerator.num_processes * options.accumulation
    if options.batch % parts:
        raise TrainingError(
            f"loop.batch is {options.batch}, which {accelerator.num_processes} processes with "
            f"{options.accumulation} micro-batches can't share evenly: take a multiple of {parts}"
        )
    return accelerator


def train(
    training: Training[Model], samples: TrainingSamples, output: Path, accelerator: Accelerator
) -> Model:
    """Train `training.model` in place, resuming from `output/checkpoint.pt` when it is there.

    Args:
        training: model and losses.
        samples: with the configuration of the run.
        output: folder of the checkpoint, the metrics, and the models `last` and `best`; see
            `begin_run`.
        accelerator: from `make_accelerator`.

    Returns:
        The averaged model.

    Raises:
        TrainingError: the loss is no number, the checkpoint is of another model, a file can't be
            written, or memory or a data worker is gone.
        DataError: a sample can't be read.
    """
    options = samples.config.loop
    run = _Run(training, samples, output, accelerator)
    with outside_causes(run.last_good), contextlib.closing(run):
        first = run.resume()
        loader = DataLoader(
            samples,
            # not a list, which for many steps would take gigabytes
            batch_sampler=(
                [step * options.batch + place for place in places]
                for step in range(first, options.steps)
                for places in _places(options, accelerator)
            ),
            num_workers=samples.config.data.workers,
            collate_fn=collate,
            pin_memory=accelerator.device.type == "cuda",
        )
        run.steps(first, iter(loader))
    accelerator.wait_for_everyone()
    return run.average.module


def _places(options: LoopOptions, accelerator: Accelerator) -> list[range]:
    """Places in a step of the samples of each micro-batch of this process."""
    size = options.batch // (accelerator.num_processes * options.accumulation)
    micro = range(options.accumulation)
    starts = (
        (each * accelerator.num_processes + accelerator.process_index) * size for each in micro
    )
    return [range(start, start + size) for start in starts]


class _Run(Generic[Model]):
    """State of a run: everything that a checkpoint holds, and the files."""

    def __init__(
        self,
        training: Training[Model],
        samples: TrainingSamples,
        output: Path,
        accelerator: Accelerator,
    ) -> None:
        self.training, self.samples, self.output = training, samples, output
        self.accelerator, self.options = accelerator, samples.config.loop
        options = self.options
        self.checkpoint = output / CHECKPOINT
        self.best = -math.inf
        self.minutes = 0.0  # that the run has taken, over all its resumptions
        self.stale = 0  # validations since the best one
        training.to(accelerator.device)
        self.average = ExponentialMovingAverage(training.model, options.ema_decay)
        named = training.model.named_parameters()
        self.saved = {
            name for name, it in named if it.requires_grad or not training.is_external(name)
        }
        trained = {f"model.{name}" for name in self.saved}
        self.external = _digest(it for it in training.named_parameters() if it[0] not in trained)
        training.prepare_backward(accelerator.device)
        if accelerator.num_processes > 1:
            synchronize_batch_norm(training.model)
        groups = parameter_groups(training.model, options.weight_decay, training.rate_of)
        on_gpu = accelerator.device.type == "cuda"
        optimizer = torch.optim.AdamW(
            groups, lr=options.learning_rate, betas=options.betas, fused=on_gpu
        )
        self.module, self.optimizer = accelerator.prepare(training, optimizer)
        self.parameters = [p for p in training.model.parameters() if p.requires_grad]
        self.pending: list[tuple[int, dict[str, Tensor]]] = []
        self.writer: Any = None

    # --- Files ------------------------------------------------------------------------------------

    def resume(self) -> int:
        """Load the checkpoint if there is one, and open the metrics; the number of steps done."""
        done = 0
        if self.checkpoint.exists():
            done = self._load()
        # every process has read it before one writes it
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self._open_metrics(done)
        return done

    def _load(self) -> int:
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            for model, entry in ((self.training.model, "module"), (self.average.module, "average")):
                missing, unexpected = model.load_state_dict(state[entry], strict=False)
                missing = sorted(self.saved & set(missing))
                if missing or unexpected:
                    raise ValueError(f"lacks {missing[:3]}, has {unexpected[:3]}")
            if state.get("classes", now := self.samples.classes) != now:
                raise ValueError(f"the classes were {state['classes']}, and are {now}")
            if state.get("external", self.external) != self.external:
                raise ValueError("it was trained with other weights in `autoencoder`/`start_from`")
            self.average.updates = state["updates"]
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except Exception as error:  # the unpickler raises whatever the bytes lead it to
            raise TrainingError(
                f"{self.checkpoint} does not fit this configuration: {error}; give another "
                "--output, or remove it to start anew"
            ) from error
        self.best, self.minutes, self.stale = state["best"], state["minutes"], state.get("stale", 0)
        return state["step"]

    def _save(self, done: int) -> None:
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "module": saved_state(self.training.model, self.saved),
            "average": saved_state(self.average.module, self.saved),
            "external": self.external,
            "classes": self.samples.classes,
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "best": self.best,
            "minutes": self.minutes,
            "stale": self.stale,
            "step": done,
        }
        save_checkpoint(state, self.checkpoint)

    def _open_metrics(self, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.metrics = MetricsFile(self.output / "metrics.csv", done)
        self.scores = MetricsFile(self.output / "validation.csv", done)
        self.writer = SummaryWriter(str(self.output / "tensorboard"), purge_step=done + 1)

    def _report(self, file: MetricsFile, kind: str, step: int, values: dict[str, float]) -> None:
        file.append(step, values)
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)
        self.writer.flush()

    def close(self) -> None:
        """Close the metrics."""
        if self.writer is not None:
            self.writer.close()

    # --- Steps ------------------------------------------------------------------------------------

    def steps(self, first: int, batches: Iterator[dict[str, Any] | Exception]) -> None:
        """Do the steps from `first` on."""
        options, earlier, started = self.options, self.minutes, time.monotonic()
        due = earlier + _SAVE_MINUTES
        if self._out_of_time() or self._out_of_patience():
            return
        with step_progress(self.accelerator.is_main_process) as progress:
            task = progress.add_task(
                self.output.name, total=options.steps, completed=first, text="",
                seconds=self._seconds_left(),
            )  # fmt: skip
            for step in range(first, options.steps):
                self.module.train()
                self.pending.append((step, self._step(step, batches)))
                done = step + 1
                self.minutes = self._agreed(earlier + (time.monotonic() - started) / 60)
                ends = done == options.steps or self._out_of_time()
                evaluates = ends or done % options.evaluate_every == 0
                saves = ends or done % options.save_every == 0 or self.minutes > due
                logs = done % options.log_every == 0
                if evaluates or saves or logs:
                    values = self._look_at_pending()
                    progress.update(task, text=f"loss {values['loss']:.4f}")
                    if (logs or ends) and self.accelerator.is_main_process:
                        self._report(self.metrics, "training", done, values)
                if evaluates:
                    self._validate(done)
                    ends = ends or self._out_of_patience()
                if saves or ends:
                    self._save(done)
                    due = self.minutes + _SAVE_MINUTES
                progress.update(task, advance=1, seconds=self._seconds_left())
                if ends:
                    break

    def _seconds_left(self) -> float:
        limit = math.inf if self.options.minutes is None else self.options.minutes
        return max(0.0, 60 * (limit - self.minutes))

    def _out_of_time(self) -> bool:
        return self._seconds_left() == 0

    def _out_of_patience(self) -> bool:
        return self.options.patience is not None and self.stale >= self.options.patience

    def _agreed(self, minutes: float) -> float:
        """The time of the main process, by which all go where the schedule follows it."""
        if self.options.minutes is None or self.accelerator.num_processes == 1:
            return minutes
        shared = torch.tensor([minutes], dtype=torch.float64, device=self.accelerator.device)
        return broadcast(shared).item()

    def _step(self, step: int, batches: Iterator[dict[str, Any] | Exception]) -> dict[str, Tensor]:
        """One optimizer step; its losses, mean over the micro-batches, not waited for."""
        rate = learning_rate(step, self.minutes, self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        parts = []
        for places in _places(self.options, self.accelerator):
            batch = next(batches)
            if isinstance(batch, Exception):
                raise DataError(f"step {step}: {batch}") from batch
            batch = self.samples.complete(batch, step, places.start, self.accelerator.device)
            with self.accelerator.accumulate(self.module):
                losses = self.module(batch)
                # processes hold parts of one sum, of which accelerate takes the mean
                self.accelerator.backward(losses["loss"] * self.accelerator.num_processes)
                parts.append({name: value.detach() for name, value in losses.items()})
                if self.accelerator.sync_gradients:
                    norm = self.accelerator.clip_grad_norm_(self.parameters, self.options.clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.average.update(self.training.model)
        mean = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return {**mean, "gradient_norm": norm, "learning_rate": torch.tensor(rate)}

    def _look_at_pending(self) -> dict[str, float]:
        """Wait for the steps since the last look; the values of the last one.

        Raises TrainingError where a loss, or the gradient, is no number. (In float16 single
        gradients may overflow: that step is left out and the loss scaled down.)
        """
        values: dict[str, float] = {}
        for step, tensors in self.pending:
            values = {name: float(value) for name, value in tensors.items()}
            checked = ("loss",) if self.options.precision == "fp16" else ("loss", "gradient_norm")
            for name in checked:
                if not math.isfinite(values[name]):
                    raise TrainingError(
                        f"{name} is {values[name]} at step {step}; {self.last_good()}: lower "
                        "loop.learning_rate or take loop.precision fp32, in another --output"
                    )
        self.pending.clear()
        return values

    def last_good(self) -> str:
        """What is left of the run where it ends."""
        if self.checkpoint.exists():
            return f"the checkpoint {self.checkpoint} of an earlier step is intact"
        return "there is no checkpoint yet"

    def _validate(self, done: int) -> None:
        with torch.no_grad():
            scores = self.training.validate(self.average.module, self.accelerator)
        better = scores[SCORE] > self.best
        if self.accelerator.is_main_process:
            self._report(self.scores, "validation", done, scores)
            for name in ("last", "best") if better else ("last",):
                replace_files(
                    self.output / name, lambda it: self.training.write(self.average.module, it)
                )
        self.stale = 0 if better else self.stale + 1
        self.best = max(self.best, scores[SCORE])


def _digest(named: Iterable[tuple[str, Tensor]]) -> str:
    """What tells tensors from others of the same names."""
    digest = hashlib.sha256()
    for name, value in named:
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
