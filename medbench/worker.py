"""Carries one run from its spec to its model, in a process of its own. Leaves only files.

`python -m medbench.worker RUN_FOLDER --data DIR --models DIR --lock FD [--resume]`, started by `runs.start`.
"""

from __future__ import annotations

import argparse
import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench import cluster, energy, processes, runs, worker_mlflow
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.records import SPLITS, Device, Examples, Metric, RunSpec
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.before_tuning import Before
    from medbench.datasets import Dataset
    from medbench.families import Family, FamilyOptions
    from medbench.judging import Judged

Keep = Callable[[Path], None]  # writes something into a model's folder
FITTED_RIVALS = 1_000
"""With more labels, simpler families are quoted when they were trained, not fitted along the way."""
RIVALS = ("keywords", "linear")


def main(arguments: list[str] | None = None) -> int:
    """Run one training; return 0 when it finished or was cancelled, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="medbench.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--lock", type=int, default=None)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--cluster", default="")
    given = parser.parse_args(arguments)
    say = processes.begin(given.run, given.lock)
    workspace = Workspace(given.data, given.models)
    if given.cluster:
        return cluster.carry(workspace, given.run, say, given.cluster)
    with runs.device_turn(workspace, given.run.name, say) as mine:
        if not mine:
            say("cancelled", model=None, sentence="Cancelled while it waited; nothing was computed.")
            return 0
        return _carry(workspace, given.run, say, resume=given.resume)


def _carry(workspace: Workspace, folder: Path, say: Say, *, resume: bool) -> int:
    from medbench.families import get_family

    family: Family[Any] | None = None
    options: FamilyOptions | None = None
    try:
        spec = runs.read_spec(folder / "run.yaml", [])
        family = get_family(spec.family)
        options = family.parse(spec.options)
        _train(workspace, folder, spec, family, options, say, resume=resume)
    except Stopped:
        say("cancelled", model=None, sentence="Cancelled before there was a model to keep.")
    except Exception as error:  # noqa: BLE001 - every failure must become one sentence in the events
        traceback.print_exc()
        say("failed", **_failure(error, family, options))
        return 1
    return 0


def _train(
    workspace: Workspace,
    folder: Path,
    spec: RunSpec,
    family: Family[Any],
    options: FamilyOptions,
    say: Say,
    *,
    resume: bool,
) -> None:
    import numpy as np

    from medbench import before_tuning, carding, class_words, cross_validation, datasets, foreign, judging, tuning
    from medbench.families import Fitting, Surroundings
    from medbench.tasks import get_task

    device = chosen_device(spec.device)
    meter = energy.Meter(device.name)
    dataset = datasets.load(workspace, spec.dataset)
    parts: dict[str, Examples] = {split: dataset.examples(split) for split in SPLITS}
    _check_answer(dataset, family)
    rows = {split: len(part) for split, part in parts.items()}
    say("started", device=device.name, rows=rows, options=options.model_dump(mode="json"), resumed=resume)
    rng = np.random.default_rng(spec.seed)
    baselines = _rivals(workspace, spec, dataset, parts, say)
    headline = get_task(spec.task).metrics[0]
    around = Surroundings(workspace, dataset.id, dataset.item, headline)
    fitting = Fitting(rng, device, say, folder / "checkpoints", resume, around)
    searched = tuning.for_run(spec, family, parts, fitting, folder)
    options = searched.options if searched else options
    keep = family.cheap if spec.keep_learning is None else spec.keep_learning
    ways: dict[str, Any] = {"balanced": headline == "balanced_accuracy", "tree": dataset.hierarchy}
    before = before_tuning.judged(family, options, parts, fitting, **ways)
    crossed = cross_validation.for_run(spec, family, options, dataset, fitting, folder, **ways)
    look, elsewhere = class_words.Look(say, dataset.item), foreign.Look(say, dataset.item)
    asked: dict[str, Any] = {"keep_learning": keep, "look": look, "elsewhere": elsewhere, **ways}
    judged = _completed(judging.judge(family, options, parts, fitting=before.on(fitting), **asked), spec, before)
    baselines = {**_majority(judged.outcome.split, parts, dataset, spec.seed), **baselines, **_before(before.metrics)}
    say("stage", name="save", sentence="Writing the model and its card.")
    cost = meter.spent()
    card = carding.card(folder.name, spec, options, dataset, judged, baselines, cost, device.name)
    for found in (one for one in (searched, crossed) if one):
        found.write_on(card)
    if spec.task == "icd":
        card["codes"] = carding.code_figures(judged, parts, rng)
    more = [*_heat_checks(judged, parts, card, say), look.save]
    more += [one.save for one in (crossed, judged.groups) if one]
    _save(workspace, folder.name, dataset, judged, card, more)
    worker_mlflow.mirror(workspace, card, say)
    _tell_the_end(say, folder.name, judged, cost["seconds"])


def _completed(judged: Judged, spec: RunSpec, before: Before) -> Judged:
    """Return it with the error that the user accepts among answers that no person reads, and what was tuned from."""
    trusted = judged.trust if spec.accept_error is None else judged.trust.accepting(spec.accept_error)
    return replace(judged, trust=trusted, notes=[*judged.notes, *before.notes])


def _check_answer(dataset: Dataset, family: Family[Any]) -> None:
    if dataset.answer not in family.answers:
        raise MedbenchError(
            f"a dataset with {' or '.join(sorted(family.answers))} label(s) per item", dataset.answer, "Choose another."
        )


def _tell_the_end(say: Say, model: str, judged: Judged, seconds: float) -> None:
    figures = {name: round(metric.value, 4) for name, metric in judged.metrics.items()}
    if say.stopping:
        say("cancelled", model=model, sentence="Stopped early; the best model so far was kept.", metrics=figures)
    else:
        told = f"Finished in {seconds:.0f} seconds."
        say("finished", model=model, sentence=told, seconds=round(seconds, 1), metrics=figures)


def _majority(split: str, parts: dict[str, Examples], dataset: Dataset, seed: int) -> dict[str, dict[str, Any]]:
    """Score the majority rule of the train split on the very rows that the run was judged on, `Outcome.split`."""
    import numpy as np

    from medbench import carding, judging

    rows = parts["train"].with_more(parts["validation"]) if split == "out-of-fold" else parts[split]
    found = judging.majority(parts["train"], rows, np.random.default_rng(seed), dataset.hierarchy)
    return {"majority": {key: carding.numbers(metric) for key, metric in found.items()}}


def _before(measured: dict[str, Metric]) -> dict[str, dict[str, Any]]:
    from medbench import carding
    from medbench.comparing_judged import BEFORE_TUNING

    return {BEFORE_TUNING: {key: carding.numbers(one) for key, one in measured.items()}} if measured else {}


def _rivals(
    workspace: Workspace, spec: RunSpec, dataset: Dataset, parts: dict[str, Examples], say: Say
) -> dict[str, dict[str, Any]]:
    """Score the simpler families on the test split, where there is one.

    A rival that was trained on this dataset before is quoted from its card instead of being fitted again. With
    thousands of labels only those are shown: fitting every simpler family would take longer than the run itself.
    """
    import numpy as np

    from medbench import carding, judging
    from medbench.families import Fitting, families_for

    rng = np.random.default_rng(spec.seed)
    tree, found = dataset.hierarchy, {}
    order = [family for family in families_for(dataset.item, dataset.answer) if family.name in RIVALS]
    simpler = order[: next((at for at, family in enumerate(order) if family.name == spec.family), len(order))]
    for family in simpler if len(parts["test"]) else []:
        known = _trained_before(workspace, family.name, dataset.id, "" if tree is None else tree.digest)
        if known is None and len(dataset.labels) > FITTED_RIVALS:
            continue
        if known is None:
            say("stage", name="baselines", sentence=f"Scoring the number to beat: {family.title}.")
            quiet = Fitting(rng, Device(), Say(None, stop=say.stop))
            rival = judging.judge(family, family.parse({}), parts, fitting=quiet, keep_learning=False, tree=tree)
            known = {key: carding.numbers(metric) for key, metric in rival.metrics.items()}
        found[family.name] = known
    return found


def _trained_before(workspace: Workspace, family: str, dataset_id: str, tree: str) -> dict[str, Any] | None:
    from medbench.workspace import read_json

    for path in workspace.model_cards():
        card = read_json(path)
        if (
            card["family"] == family
            and card["dataset"]["id"] == dataset_id
            and card.get("hierarchy", {}).get("digest", "") == tree
            and card["judged_on"].startswith("the test")
        ):
            return dict(card["metrics"])
    return None


def _heat_checks(judged: Judged, parts: dict[str, Examples], card: dict[str, Any], say: Say) -> list[Keep]:
    """Compare the heat maps of a model of pictures with those of random weights; return what keeps that in a folder."""
    from medbench import heat_check

    if not isinstance(judged.model, heat_check.Checkable):
        return []
    say("stage", name="heat_check", sentence="Comparing its heat maps with those of random weights.")
    try:
        checks = heat_check.measure(judged.model, heat_check.chosen(parts), judged.model.labels)
        return [partial(heat_check.save, checks=checks)] if checks else []
    except Exception as error:  # noqa: BLE001 - hours of training must not be lost to a map; the card says so
        traceback.print_exc()
        card["notes"].append(f"Its heat maps could not be compared with those of random weights: {error}.")
        return []


def _save(
    workspace: Workspace,
    run_id: str,
    dataset: Dataset,
    judged: Judged,
    card: dict[str, Any],
    more: Sequence[Keep] = (),
) -> None:
    """Write the model under a hidden name, what `more` adds, the card last, and rename the folder into place."""
    import shutil

    import numpy as np

    from medbench import lesion_judged
    from medbench.predicting import fingerprint
    from medbench.workspace import write_json

    final = workspace.models / run_id
    folder = workspace.models / f".{run_id}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    judged.model.save(folder)
    judged.trust.save(folder)
    marks = np.unique(np.array([fingerprint(item, dataset.item) for item in judged.known.items], dtype=np.uint64))
    np.savez_compressed(folder / "known.npz", fingerprints=marks, counts=judged.known.truth.sum(axis=0))
    positions = np.concatenate([dataset.positions(split) for split in judged.known_splits])[judged.placed.rows]
    vectors = judged.placed.vectors.astype(np.float16)
    np.savez_compressed(folder / "neighbours.npz", vectors=vectors, positions=positions)
    outcome = judged.outcome
    splits = ("test",) if outcome.split == "test" else ("validation",) if outcome.split == "validation" else SPLITS[:2]
    where = np.concatenate([dataset.positions(split) for split in splits])
    tones: dict[str, Any] = {}
    if dataset.item == "image":
        tones["tones"] = lesion_judged.tones(dataset.examples(*splits).items)
    np.savez_compressed(
        folder / "judged.npz",
        split=np.array(outcome.split),
        positions=where,
        probabilities=outcome.probabilities.astype(np.float32),
        truth=outcome.truth,
        decided=outcome.decided,
        raw_reliability=outcome.raw_reliability,
        **tones,
    )
    for add in more:
        add(folder)
    card["cost"]["size"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    write_json(folder / "model.json", card)
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)


def chosen_device(name: str) -> Device:
    """Return the device a spec names; "auto" takes the first GPU if there is one. Torch is imported only to look.

    Raises:
        MedbenchError: The device is not there.
    """
    driver = any(Path(path).exists() for path in ("/proc/driver/nvidia", "/dev/nvidia0", "/dev/dxg"))
    if name == "cpu" or (name == "auto" and not driver):
        return Device("cpu")
    import torch

    if torch.cuda.is_available():
        index = int(name.partition(":")[2] or 0)
        return Device(f"cuda:{index}", int(torch.cuda.get_device_properties(index).total_memory))
    if name == "auto":
        return Device("cpu")
    raise MedbenchError("a CUDA device that torch can use", f"none for {name!r}", "Choose device cpu or auto.")


def _failure(error: BaseException, family: Family[Any] | None, options: FamilyOptions | None) -> dict[str, Any]:
    """Return what the user reads of a failure: one sentence, the line that matters, and a remedy if there is one."""
    line = traceback.format_exception_only(error)[-1].strip()
    known = family is not None and options is not None and not isinstance(error, MedbenchError)
    found = family.remedy(error, options) if known and family is not None else None
    remedy = {"sentence": found[0], "options": found[1]} if found else None
    if isinstance(error, MedbenchError):
        return {"sentence": str(error), "line": line, "remedy": None, **error.parts()}
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return {"sentence": "The disk is full: free some space, then resume.", "line": line, "remedy": remedy}
    if isinstance(error, MemoryError):
        return {"sentence": "The machine ran out of memory.", "line": line, "remedy": remedy}
    sentence = (
        remedy["sentence"] if remedy else "The run met an error medbench did not expect; the log has the details."
    )
    return {"sentence": sentence, "line": line, "remedy": remedy}


if __name__ == "__main__":
    sys.exit(main())
