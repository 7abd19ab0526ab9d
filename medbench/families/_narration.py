"""What a training says while it runs: rate, time left, memory, validation numbers, worst mistakes; and when to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medbench.events import Say
from medbench.records import AnswerKind, Scores, Truth

_EVERY_SECONDS = 1.0
_SHOWN_MISTAKES = 5
_SHOWN_CHARACTERS = 200
_TOLD = ("loss", "micro_f1", "macro_f1", "balanced_accuracy", "auc")
_GRID = np.linspace(0.05, 0.95, 19)


class Scored(Protocol):
    """The validation items of a training, in the order in which they are scored."""

    rows: Sequence[int]
    texts: Sequence[str]
    truth: Truth
    labels: tuple[str, ...]
    answer: AnswerKind


class Narrator:
    """Hears what transformers.Trainer does (its callback events), says it, and stops it.

    Every process of a distributed training has one; only the first speaks, and they stop together.
    """

    def __init__(self, job: Scored, say: Say, items_per_step: int, max_minutes: float | None) -> None:
        """Take what is trained, where to speak, items per optimizer step over all processes, and the time limit."""
        self._job, self._say, self._items, self._limit = job, say, items_per_step, max_minutes
        self._begun = self._spoken = time.monotonic()
        self._first_step = self._spoken_step = 0
        self._evaluating = 0.0
        self._loss: float | None = None
        self.scores: Scores | None = None
        self.stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock; a resumed training counts from where it goes on."""
        self._begun = self._spoken = time.monotonic()
        self._first_step = self._spoken_step = state.global_step
        if self._stop_asked(args):
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Remember the newest training loss."""
        self._loss = logs.get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Speak about once a second; stop when asked or when the time is up (then with one last look)."""
        now = time.monotonic()
        last = state.global_step >= state.max_steps
        if state.is_world_process_zero and (last or now - self._spoken >= _EVERY_SECONDS):
            self._progress(args, state, now)
        if self._stop_asked(args):
            self.stopped = control.should_training_stop = control.should_save = True
            return
        late = self._limit is not None and now - self._begun + self._evaluating >= self._limit * 60
        if (self._together(args, late) or last) and self._job.rows:
            control.should_evaluate = control.should_save = True
        if late:
            control.should_training_stop = control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Say the validation numbers and the worst mistakes of this moment."""
        self._evaluating = max(self._evaluating, float(metrics.get("eval_runtime", 0.0)))
        if not state.is_world_process_zero:
            return
        told = {name: round(metrics[f"eval_{name}"], 4) for name in _TOLD if f"eval_{name}" in metrics}
        self._say("metric", split="validation", step=state.global_step, epoch=round(state.epoch or 0.0, 2), **told)
        if self.scores is not None:
            self._say("mistakes", step=state.global_step, items=worst_mistakes(self._job, self.scores))

    def _progress(self, args: Any, state: Any, now: float) -> None:
        import psutil

        done, spent = state.global_step - self._first_step, now - self._begun
        rate = (state.global_step - self._spoken_step) * self._items / max(now - self._spoken, 1e-6)
        fields: dict[str, Any] = {
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": round(state.epoch or 0.0, 3),
            "loss": None if self._loss is None else round(self._loss, 5),
            "rate": round(rate, 2),
            "eta": round(spent / max(done, 1) * (state.max_steps - state.global_step), 1),
            "memory": psutil.Process().memory_info().rss,
        }
        if args.device.type == "cuda":
            import torch

            fields["gpu_memory"] = torch.cuda.max_memory_allocated()
        self._say("progress", **fields)
        self._spoken, self._spoken_step = now, state.global_step

    def _stop_asked(self, args: Any) -> bool:
        return self._together(args, self._say.stopping)

    def _together(self, args: Any, flag: bool) -> bool:
        """Return whether any process raised the flag, so that all of them stop at the same step."""
        if args.world_size == 1:
            return flag
        import torch

        value = torch.tensor(float(flag), device=args.device)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
        return bool(value.item())


def agreement(truth: Truth, scores: Scores, answer: AnswerKind) -> dict[str, float]:
    """Return micro-F1, macro-F1, AUC and, for "one", balanced accuracy (over labels that occur) for early stopping.

    "one" decides by the highest score; "many" by the one threshold, of 19, with the highest micro-F1, because
    thresholds are tuned after the training and a fixed one would blame the network for them.
    """
    if answer == "one":
        decided = np.zeros_like(truth)
        decided[np.arange(len(truth)), scores.argmax(axis=1)] = True
        micro, macro = _f1(truth, decided)
        found = (truth & decided).sum(axis=0)[truth.any(axis=0)] / truth.sum(axis=0)[truth.any(axis=0)]
        balanced = float(found.mean()) if len(found) else 0.0
        return {"micro_f1": micro, "macro_f1": macro, "balanced_accuracy": balanced, "auc": _auc(truth, scores)}
    micro, macro = max(_f1(truth, scores >= threshold) for threshold in _GRID)
    return {"micro_f1": micro, "macro_f1": macro, "auc": _auc(truth, scores)}


def _auc(truth: Truth, scores: Scores) -> float:
    """Return the mean area under the ROC curve (Mann-Whitney) over labels with both kinds of item, or 0.5."""
    from scipy.stats import rankdata

    positive = truth.sum(axis=0)
    both = (positive > 0) & (positive < len(truth))
    if not both.any():
        return 0.5
    ranks = rankdata(scores[:, both], axis=0)
    n, yes = len(truth), positive[both]
    return float(((np.where(truth[:, both], ranks, 0).sum(axis=0) - yes * (yes + 1) / 2) / (yes * (n - yes))).mean())


def _f1(truth: Truth, decided: npt.NDArray[np.bool_]) -> tuple[float, float]:
    hits = (truth & decided).sum(axis=0)
    either = truth.sum(axis=0) + decided.sum(axis=0)
    per_label = 2 * hits / np.maximum(either, 1)
    known = truth.any(axis=0)
    macro = float(per_label[known].mean()) if known.any() else 0.0
    return float(2 * hits.sum() / max(either.sum(), 1)), macro


def worst_mistakes(job: Scored, scores: Scores) -> list[dict[str, Any]]:
    """Return the most wrong (item, label) pairs, at most one per item, worst first, with the item's first words."""
    wrong = np.abs(job.truth - scores)
    labels = wrong.argmax(axis=1)
    worst = wrong[np.arange(len(wrong)), labels]
    items = []
    for at in np.argsort(-worst, kind="stable")[:_SHOWN_MISTAKES]:
        if worst[at] < 0.5:
            break
        label = int(labels[at])
        items.append(
            {
                "row": int(job.rows[at]),
                "label": job.labels[label],
                "probability": round(float(scores[at, label]), 4),
                "truth": bool(job.truth[at, label]),
                "text": job.texts[at][:_SHOWN_CHARACTERS],
            }
        )
    return items


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a folder, None when there is none.

    The state file is written last, so a checkpoint without a readable one was torn by a kill and is passed over.
    """
    steps = [
        (int(path.name.removeprefix("checkpoint-")), path) for path in folder.glob("checkpoint-*") if path.is_dir()
    ]
    for _, path in sorted(steps, reverse=True):
        state = path / "trainer_state.json"
        if state.exists() and (path / "model.safetensors").exists() and _is_json(state):
            return path
    return None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
