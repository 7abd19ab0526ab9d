"""Before a run starts: everything that stands against it, at once, and what it will cost. Never imports torch."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from medbench import datasets, metrics, splits
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import (
    Estimate,
    Family,
    FamilyOptions,
    Fitting,
    Surroundings,
    check_folding,
    check_relearning,
    check_searching,
    get_family,
)
from medbench.records import AnswerKind, Device, Examples, Metric, RunSpec, Scores, SplitName, Truth, TuneSpec
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_json, write_json

VERSION = 1
BASELINE_ROWS = 5_000
_FREE_MEMORY_SHARE = 0.95
_SPARE_DISK = 200_000_000
_KEPT_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known before the start.

    Attributes:
        problems: Reasons why the run would fail, one sentence each; empty when it can start.
        notes: Facts worth knowing, one sentence each.
        seconds: Expected wall-clock seconds, or None.
        memory: Expected peak bytes, or None.
        disk: Bytes the run will write, or None.
        cut: Share of texts of which the model will not read all words, 0-1.
        device: Name of the device the run will use: "cpu", "cuda:0".
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    memory: int | None = None
    disk: int | None = None
    cut: float = 0.0
    device: str = "cpu"

    @property
    def ready(self) -> bool:
        """True when nothing stands against the start."""
        return not self.problems


def check(workspace: Workspace, spec: RunSpec) -> Preflight:
    """Look at a run before it starts and name all its problems at once. Never raises for a bad spec."""
    problems: list[str] = []
    notes: list[str] = []
    device = _device(spec.device, problems)
    family = _kept(problems, get_family, spec.family)
    options = _options(family, spec.options, problems)
    dataset = _kept(problems, datasets.load, workspace, spec.dataset)
    task = _kept(problems, get_task, spec.task)
    if dataset is not None and family is not None:
        problems += _mismatch(dataset, family, task.item if task else "text")
        problems += _row_problems(dataset, family)
        _kept(problems, check_relearning, family, spec.keep_learning)
        if spec.tune is not None:
            _kept(problems, check_searching, family, spec.options)
        notes += _row_notes(dataset)
    cost = Estimate()
    if dataset is not None and family is not None and options is not None and dataset.labels:
        train = _examples(dataset, ("train", "validation") if family.cheap else ("train",))
        if len(train):
            headline = task.metrics[0] if task else "micro_f1"
            around = Surroundings(workspace, dataset.id, dataset.item, headline)
            cost = family.estimate_among(train, options, device, around)
            cost = _with_folds(cost, family, options, train, spec.folds)
            cost = _with_search(cost, spec.tune)
            problems += cost.problems
            notes += cost.notes
    problems += _room_problems(workspace, cost, device)
    return Preflight(
        tuple(dict.fromkeys(problems)),
        tuple(dict.fromkeys(notes)),
        cost.seconds,
        cost.memory,
        cost.disk,
        cost.cut,
        device.name,
    )


def _with_folds(
    cost: Estimate, family: Family[Any], options: FamilyOptions, known: Examples, k: int | None
) -> Estimate:
    """Add to a run's cost what cross-validation takes: k fits on all rows but one fold's are k - 1 runs."""
    if k is None:
        return cost
    problems: list[str] = []
    _kept(problems, check_folding, family, options)
    _kept(problems, splits.check_folds, known, k)
    note = f"Cross-validation in {k} folds, then the model itself: together about {k} times what one split takes."
    seconds = None if cost.seconds is None else cost.seconds * k
    return replace(cost, seconds=seconds, problems=(*cost.problems, *problems), notes=(*cost.notes, note))


def _with_search(cost: Estimate, tune: TuneSpec | None) -> Estimate:
    """Add to a run's cost the search of its options, which ends at the latest when its minutes are over."""
    if tune is None:
        return cost
    seconds = None if cost.seconds is None else cost.seconds + 60 * tune.minutes
    note = f"The search takes at most {tune.minutes:g} minutes of it, and the trial that is then at work."
    return replace(cost, seconds=seconds, notes=(*cost.notes, note))


def _kept(problems: list[str], call: Any, *arguments: Any) -> Any:
    """Return what `call` returns; a MedbenchError becomes a problem and None."""
    try:
        return call(*arguments)
    except MedbenchError as error:
        problems.append(str(error))
        return None


def _options(family: Family[Any] | None, options: dict[str, Any], problems: list[str]) -> FamilyOptions | None:
    if family is None:
        return None
    parsed: FamilyOptions | None = _kept(problems, family.parse, options)
    return parsed


def _mismatch(dataset: Dataset, family: Family[Any], item: str) -> list[str]:
    told = []
    if item not in family.items:
        told.append(f"{family.title} does not read {item}s. Choose another method.")
    if dataset.labels and dataset.answer not in family.answers:
        words = {"one": "one label per item", "many": "several labels per item"}[dataset.answer]
        told.append(f"{family.title} cannot give {words}, as this dataset needs. Choose another method.")
    return told


def _row_problems(dataset: Dataset, family: Family[Any]) -> list[str]:
    counts = dataset.counts
    if not dataset.labels:
        return ["The dataset has no labels: it can be classified, not trained on. Add it again with a label column."]
    told = []
    if len(dataset.labels) < 2 and dataset.answer == "one":
        told.append("The dataset has a single label, so there is nothing to tell apart.")
    if counts.get("train", 0) < 2:
        told.append("The train split has fewer than 2 rows. Save the dataset with a larger train share.")
    if dataset.item == "text" and counts.get("train", 0) >= 2 and len(set(_examples(dataset, ("train",)).items)) == 1:
        told.append("All training rows have the same text, so there is nothing to learn. Check the text column.")
    if not family.cheap and counts.get("validation", 0) < 1:
        told.append(
            f"{family.title} needs a validation split to stop in time. Save the dataset with a validation share."
        )
    return told


def _row_notes(dataset: Dataset) -> list[str]:
    told = []
    if dataset.labels and not dataset.counts.get("test", 0):
        told.append("There is no test split: the figures will come from rows that also tuned the thresholds.")
    if dataset.labels and dataset.counts.get("train", 0):
        train = _examples(dataset, ("train",))
        absent = [dataset.label_names.get(name, name) for name in np.array(train.labels)[~train.truth.any(axis=0)]]
        if absent and len(train):
            shown = ", ".join(absent[:5]) + (" …" if len(absent) > 5 else "")
            told.append(f"{len(absent)} labels have no training row and cannot be learnt: {shown}.")
    return told


def _room_problems(workspace: Workspace, cost: Estimate, device: Device) -> list[str]:
    told = []
    free = shutil.disk_usage(_existing(workspace.data)).free
    if free < (cost.disk or 0) + _SPARE_DISK:
        told.append(
            f"The run needs about {_gigabytes((cost.disk or 0) + _SPARE_DISK)} of disk and {_gigabytes(free)} is free. "
            "Delete old runs or free some space."
        )
    available = device.memory or psutil.virtual_memory().available
    if cost.memory and cost.memory > _FREE_MEMORY_SHARE * available:
        where = "on the graphics card" if device.name != "cpu" else "of memory"
        told.append(
            f"The run needs about {_gigabytes(cost.memory)} {where} and {_gigabytes(available)} is free. "
            "Lower the batch size or the number of tokens."
        )
    return told


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _device(name: str, problems: list[str]) -> Device:
    """Return the device `name` stands for, "auto" included; what stands against it goes to `problems`."""
    cards = graphics_cards() if name != "cpu" else []
    if name == "auto":
        return cards[0] if cards else Device()
    if name in ("cpu", *(card.name for card in cards)):
        return next((card for card in cards if card.name == name), Device())
    if name == "cuda" and cards:
        return cards[0]
    found = ", ".join(["cpu", *(card.name for card in cards)])
    problems.append(f"The device {name!r} is not here; this machine has {found}. Choose one of these, or auto.")
    return Device()


def graphics_cards() -> list[Device]:
    """Return the CUDA cards that the installed torch could use, asked from NVIDIA's driver; empty when none.

    Torch itself is not imported: its folder says whether it was built for CUDA.
    """
    import ctypes

    torch = importlib.util.find_spec("torch")
    places = torch.submodule_search_locations if torch else None
    if not places or not any((Path(place) / "lib" / "libtorch_cuda.so").exists() for place in places):
        return []
    try:
        driver = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []  # no NVIDIA driver on this machine: the CPU it is
    if driver.nvmlInit_v2() != 0:
        return []
    count = ctypes.c_uint()
    driver.nvmlDeviceGetCount_v2(ctypes.byref(count))
    found = []
    for number in range(count.value):
        handle, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()  # total, free, used, in bytes
        driver.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle))
        driver.nvmlDeviceGetMemoryInfo(handle, memory)
        found.append(Device(f"cuda:{number}", int(memory[1])))
    driver.nvmlShutdown()
    return found


_kept_examples: OrderedDict[tuple[str, int, tuple[SplitName, ...]], Examples] = OrderedDict()
_reading = threading.Lock()


def _examples(dataset: Dataset, parts: tuple[SplitName, ...]) -> Examples:
    """Return examples, kept between calls while the file of rows is the same: it may have been damaged since."""
    rows = dataset.folder / "rows.parquet"
    key = (str(rows), rows.stat().st_mtime_ns if rows.exists() else 0, parts)
    with _reading:
        if key not in _kept_examples:
            _kept_examples[key] = dataset.examples(*parts)
            while len(_kept_examples) > _KEPT_EXAMPLES:
                _kept_examples.popitem(last=False)
        _kept_examples.move_to_end(key)
        return _kept_examples[key]


def baseline(dataset: Dataset) -> dict[str, Any]:
    """Score the two trivial answers, so that the user sees the number to beat before training.

    "majority" gives every item the most frequent label; "keywords" is that family with its default options. Both learn
    from at most 5,000 train rows and are judged on at most 5,000 validation rows (a fifth of the train rows when there
    is no validation split); the test split is not touched. Kept in `baseline.json` in the dataset's folder.

    Returns:
        {"version": 1, "majority": {name: value}, "keywords": {name: value}, "judged_on": sentence, "n": rows judged};
        the values are shares in 0-1: micro_f1, macro_f1, balanced_accuracy, accuracy, exact_match.

    Raises:
        MedbenchError: The dataset has no labelled rows to learn from.
    """
    path = dataset.folder / "baseline.json"
    if path.exists() and (kept := read_json(path)).get("version") == VERSION:
        return kept
    rng = np.random.default_rng(0)
    known, judged, words = _baseline_parts(dataset, rng)
    majority = np.zeros(judged.truth.shape, dtype=bool)
    majority[:, int(known.truth.sum(axis=0).argmax())] = True
    share = np.tile(known.truth.mean(axis=0, dtype=np.float32), (len(judged), 1))
    family = get_family("keywords")
    model = family.fit(known, known.take([]), family.parse({}), Fitting(rng, Device(), Say()))
    scores = model.scores(judged.items)
    decided = _decided(known.truth, scores, known.answer)
    found = {
        "version": VERSION,
        "majority": _figures(judged, share, majority, rng),
        "keywords": _figures(judged, scores, decided, rng),
        "judged_on": words,
        "n": len(judged),
    }
    write_json(path, found)
    return found


def _baseline_parts(dataset: Dataset, rng: np.random.Generator) -> tuple[Examples, Examples, str]:
    train = _examples(dataset, ("train",)) if dataset.labels else None
    if train is None or len(train) < 2:
        raise MedbenchError("labelled rows to learn from", "none in the train split", "Add a dataset with labels.")
    train = _sample(train, rng)
    judged = _sample(_examples(dataset, ("validation",)), rng)
    if len(judged):
        return train, judged, f"{len(judged):,} rows of the validation split"
    held = next((fold for fold in splits.folds(train, min(5, len(train)), rng) if len(fold)), np.zeros(0, np.int64))
    rest = np.setdiff1d(np.arange(len(train)), held)
    return train.take(rest), train.take(held), f"{len(held):,} rows held out of the train split"


def _sample(examples: Examples, rng: np.random.Generator) -> Examples:
    if len(examples) <= BASELINE_ROWS:
        return examples
    return examples.take(np.sort(rng.permutation(len(examples))[:BASELINE_ROWS]))


def _decided(known: Truth, scores: Scores, answer: AnswerKind) -> Truth:
    """Decide for the best label, or give each label to the best share of rows that it has among the known rows."""
    decided: npt.NDArray[np.bool_] = np.zeros(scores.shape, dtype=bool)
    if answer == "one":
        decided[np.arange(len(scores)), scores.argmax(axis=1)] = True
        return decided
    for column, share in enumerate(known.mean(axis=0)):
        decided[:, column] = scores[:, column] >= np.quantile(scores[:, column], 1 - share, method="higher")
    return decided & known.any(axis=0)


def _figures(judged: Examples, scores: Scores, decided: Truth, rng: np.random.Generator) -> dict[str, float]:
    measured: dict[str, Metric] = metrics.evaluate(
        judged.truth, scores, decided, answer=judged.answer, groups=None, rng=rng, n_boot=0
    )
    wanted = ("micro_f1", "macro_f1", "balanced_accuracy", "accuracy", "exact_match")
    return {name: measured[name].value for name in wanted if name in measured}
