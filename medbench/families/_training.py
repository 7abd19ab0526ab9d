"""What the torch families share on top of transformers.Trainer: batches of like lengths, checkpoints, resume, stop."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError, Stopped
from medbench.families import Fitting
from medbench.families._averaging import Average
from medbench.families._imbalance import rarity_weights
from medbench.families._memory import keep_freed_memory
from medbench.families._narration import Narrator, agreement, last_checkpoint
from medbench.families._training_options import TrainingOptions
from medbench.records import AnswerKind, Scores, Truth
from medbench.workspace import read_json, write_json

if TYPE_CHECKING:
    import torch

_IDENTITY = "training.json"


@dataclass
class Training:
    """One training: what is trained on what. Validation items stand in the order in which they are scored.

    Attributes:
        network: A torch module; `forward` takes a batch's tensors and gives "loss" and "logits". Parameters under
            "head." get the head's learning rate.
        collate: Items -> a batch of tensors, "labels" (n, n_labels) float32 included.
        train: Training items, each a mapping for `collate`.
        lengths: Cost of each training item (tokens), so that like lengths meet in a batch.
        train_truth: (n_train, n_labels) bool.
        validation: Validation items; may be empty.
        rows: Position of each validation item in the caller's examples.
        texts: Each validation item as text; its first characters are shown among the mistakes.
        truth: (n_validation, n_labels) bool.
        labels: Label names.
        answer: "one" or "many".
        rates: Learning rates of the base and of the head.
        to_scores: (n, n_labels) logits -> scores in [0, 1].
        identity: What is trained on what, in short; only checkpoints of the same identity are gone on from.
        whole: Keep every tensor of the network in a checkpoint, running averages too; else the trainable ones.
        frozen_epochs: Epochs in which only what stands under "head." learns.
    """

    network: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    train: Sequence[dict[str, Any]]
    lengths: Sequence[int]
    train_truth: Truth
    validation: Sequence[dict[str, Any]]
    rows: Sequence[int]
    texts: Sequence[str]
    truth: Truth
    labels: tuple[str, ...]
    answer: AnswerKind
    rates: tuple[float, float]
    to_scores: Callable[[npt.NDArray[np.float32]], Scores]
    identity: str
    whole: bool = False
    frozen_epochs: float = 0.0


class LengthSampler:
    """Draws an epoch's order: shuffled (or drawn by weight), then batches of like lengths, longest batch of all first.

    The order depends only on the seed and the epoch, so that every process and a resumed run see the same.
    """

    def __init__(
        self, lengths: Sequence[int], batch: int, seed: int, weights: npt.NDArray[np.float64] | None = None
    ) -> None:
        """Take each item's length, items per optimizer step, a seed, and drawing weights (None: each item once)."""
        self._lengths, self._batch, self._seed, self._weights = np.asarray(lengths), batch, seed, weights
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of items of an epoch."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield the positions of one epoch."""
        rng = np.random.default_rng([self._seed, self._epoch])
        n = len(self._lengths)
        order = rng.permutation(n) if self._weights is None else rng.choice(n, size=n, p=self._weights)
        pool = self._batch * 50
        batches: list[npt.NDArray[np.int64]] = []
        for at in range(0, n, pool):
            part = order[at : at + pool]
            part = part[np.argsort(-self._lengths[part], kind="stable")]
            batches += [part[i : i + self._batch] for i in range(0, len(part), self._batch)]
        short = [batch for batch in batches if len(batch) < self._batch]
        whole = [batches[i] for i in rng.permutation(len(batches)) if len(batches[i]) == self._batch]
        if whole:
            first = max(range(len(whole)), key=lambda i: int(self._lengths[whole[i]].sum()))
            whole[0], whole[first] = whole[first], whole[0]
        return iter([int(row) for batch in (*whole, *short) for row in batch])


class _Steps:
    """What differs from transformers.Trainer; joined with it in `_trainer`."""

    job: Training
    sampler: LengthSampler
    average: Average | None
    args: Any
    state: Any
    model: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        return self.sampler

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the trainable weights only (or the `whole` network); nothing is pickled."""
        from safetensors.torch import save_file

        from medbench.families._networks import trained_state, whole_state

        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            state = whole_state(self.job.network) if self.job.whole else trained_state(self.job.network)
            save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
            if self.average is not None:
                self.average.save(folder)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Look at the validation split, with the averaged weights where there are any."""
        with self.average.worn() if self.average is not None else nullcontext():
            found: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]  # Trainer's
            return found

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]  # Trainer's
        if self.average is not None:
            self.average.load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()  # type: ignore[misc]  # Trainer's
        if self.average is not None:
            self.average.load(Path(self.state.best_model_checkpoint))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Say nothing of the frozen weights that a checkpoint does not hold; anything unexpected is a fault."""
        if load_result.unexpected_keys:
            raise MedbenchError(
                "a checkpoint of the same network",
                f"one with {len(load_result.unexpected_keys)} other weights",
                "Start the run anew, or resume it with the options it began with.",
            )


def train(job: Training, options: TrainingOptions, fitting: Fitting) -> None:
    """Train `job.network` in place and leave its best weights in it (the last ones when nothing was evaluated).

    Leaves the best and the last checkpoint in `fitting.checkpoints`. Says "progress", "metric" and "mistakes".

    Raises:
        Stopped: When the user stopped it before the first step.
        MedbenchError: When the device or precision cannot be had.
    """
    if fitting.say.stopping:
        raise Stopped
    if fitting.device.name == "cpu":
        keep_freed_memory()
    with ExitStack() as stack:
        folder = fitting.checkpoints or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        resumed = resumable(fitting, job.identity)
        trainer = _trainer(job, options, fitting, folder)
        _rehearse(trainer, job, folder)
        if trainer.args.should_save:
            _clear(folder, resumed)
            write_json(folder / _IDENTITY, {"identity": job.identity})
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        if trainer.state.global_step == 0:
            raise Stopped
        if trainer.average is not None:
            trainer.average.wear()
    job.network.eval()


def resumable(fitting: Fitting, identity: str) -> Path | None:
    """Return the checkpoint that a fit should go on from, None when it begins anew."""
    if not fitting.resume or fitting.checkpoints is None or not (fitting.checkpoints / _IDENTITY).exists():
        return None
    same = read_json(fitting.checkpoints / _IDENTITY).get("identity") == identity
    return last_checkpoint(fitting.checkpoints) if same else None


def _clear(folder: Path, resumed: Path | None) -> None:
    """Remove checkpoints that are torn or of an earlier start."""
    for path in folder.glob("checkpoint-*"):
        if resumed is None or not (path / "trainer_state.json").exists():
            shutil.rmtree(path)


def _rehearse(trainer: Any, job: Training, folder: Path) -> None:
    """Score two validation batches (the longest) and write the weights once, so that a fault shows in seconds."""
    size = trainer.args.per_device_eval_batch_size
    for at in range(0, min(2 * size, len(job.validation)), size):
        trainer.prediction_step(trainer.model, job.collate(list(job.validation[at : at + size])), False)
    if trainer.args.should_save:
        trainer.save_model(str(folder / "rehearsal"))
        shutil.rmtree(folder / "rehearsal")


def _trainer(job: Training, options: TrainingOptions, fitting: Fitting, folder: Path) -> Any:
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback
    from transformers.trainer_utils import EvalPrediction

    class Told(Narrator, TrainerCallback):  # type: ignore[misc]  # its hooks name what they use
        """The narrator, as a callback."""

    class OurTrainer(_Steps, Trainer):  # type: ignore[misc]  # our sampler is no torch Sampler
        """transformers.Trainer with our sampler and our checkpoints."""

    seed = int(fitting.rng.integers(2**31 - 1))
    args = _arguments(job, options, fitting, folder, seed)
    per_step = options.batch * options.accumulation * args.world_size
    told = Told(job, fitting.say, per_step, options.max_minutes)

    def measured(found: EvalPrediction) -> dict[str, float]:
        told.scores = job.to_scores(np.asarray(found.predictions, dtype=np.float32))
        return agreement(job.truth, told.scores, job.answer)

    trainer = OurTrainer(
        model=job.network,
        args=args,
        data_collator=job.collate,
        train_dataset=job.train,
        eval_dataset=job.validation if len(job.validation) else None,
        compute_metrics=measured,
        optimizers=(torch.optim.AdamW(_groups(job, options.weight_decay)), None),
        callbacks=[told],
    )
    if job.frozen_epochs:
        trainer.add_callback(_thawing(job))
    trainer.job = job
    trainer.average = _average(job, options, trainer)
    power = {"sampler": 0.5, "oversampling": 1.0}.get(options.imbalance)
    weights = rarity_weights(job.train_truth, power) if power else None
    trainer.sampler = LengthSampler(job.lengths, per_step, seed, weights)
    trainer.remove_callback(PrinterCallback)
    if options.early_stopping and len(job.validation):
        patience = max(1, round(options.early_stopping * options.evals_per_epoch))
        trainer.add_callback(EarlyStoppingCallback(patience))
    return trainer


def _average(job: Training, options: TrainingOptions, trainer: Any) -> Average | None:
    """Return the running mean of the weights, updated after every step; None when the options want none."""
    from transformers import TrainerCallback

    if not options.average_epochs:
        return None
    steps = len(job.train) / (options.batch * options.accumulation * trainer.args.world_size)
    average = Average(job.network, round(options.average_epochs * steps), whole=job.whole)

    class Averaging(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            average.update()

    trainer.add_callback(Averaging())
    return average


def _thawing(job: Training) -> Any:
    """Return the callback that lets only the head learn until `frozen_epochs` are over."""
    from transformers import TrainerCallback

    class Thawing(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            learning = (state.epoch or 0.0) >= job.frozen_epochs
            for name, parameter in job.network.named_parameters():
                if not name.startswith("head."):
                    parameter.requires_grad_(learning)

    return Thawing()


def _arguments(job: Training, options: TrainingOptions, fitting: Fitting, folder: Path, seed: int) -> Any:
    from transformers import TrainingArguments

    use_cpu = fitting.device.name == "cpu"
    precision = _precision(options.precision, use_cpu)
    looks = len(job.validation) > 0
    # torchrun tells every process how many there are; each takes its share of a step's batches.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = -(-len(job.train) // (options.batch * options.accumulation * processes))
    every = max(1, steps // options.evals_per_epoch)
    args = TrainingArguments(
        output_dir=str(folder),
        use_cpu=use_cpu,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=min(options.batch, 16),
        gradient_accumulation_steps=options.accumulation,
        num_train_epochs=options.epochs,
        lr_scheduler_type="constant_with_warmup" if options.schedule == "constant" else options.schedule,
        lr_scheduler_kwargs={"num_cycles": options.restarts} if options.schedule == "cosine_with_restarts" else None,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        learning_rate=job.rates[0],
        eval_strategy="steps" if looks else "no",
        eval_steps=every if looks else None,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=looks,
        metric_for_best_model=options.best_by if looks else None,
        greater_is_better=options.best_by != "loss" if looks else None,
        restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, round(steps * options.epochs) // 500),
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=not use_cpu,
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        data_seed=seed,
    )
    if args.device.type == "cuda" and args.n_gpu > 1:
        # Several GPUs are for torchrun, one process each; without it one GPU is used, not a split of every batch.
        args._n_gpu = 1
    return args


def _precision(asked: str, use_cpu: bool) -> str:
    import torch

    if not use_cpu and not torch.cuda.is_available():
        raise MedbenchError("a CUDA device", "none that torch can use", "Set device to cpu, or run where a GPU is.")
    if use_cpu:
        if asked in ("bf16", "fp16"):
            raise MedbenchError("precision fp32 on a CPU", repr(asked), "Set precision to auto or fp32.")
        return "fp32"
    if asked == "auto":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return asked


def _groups(job: Training, decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: base and head with their rates; biases and norms are not pulled to zero."""
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in job.network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("head."), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": found, "lr": job.rates[head], "weight_decay": decay if matrix else 0.0}
        for (head, matrix), found in groups.items()
    ]
