"""Cross-validation: groups stay together, no fold knows its rows, killed runs go on, test rows take no part."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import until

from medbench import cross_validation, fold_figures, preflight, runs
from medbench.comparing_tests import mean_sd
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Family, FamilyOptions, Fitting, Model, get_family
from medbench.records import Device, Examples, RunSpec
from medbench.workspace import Workspace, read_json

LINEAR = get_family("linear")
WORDS = ("heart", "kidney", "lung")


def examples(n: int, seed: int, per_group: int = 1) -> Examples:
    """Texts with one to three labels, whose words they hold; `per_group` neighbours are one patient."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 3)) < 0.4
    truth[np.arange(n), rng.integers(0, 3, n)] = True
    texts = [
        " ".join([*np.array(WORDS)[row], *rng.choice(["study", "trial", "group", "dose"], 6), f"n{seed}x{at}"])
        for at, row in enumerate(truth)
    ]
    return Examples(texts, truth, WORDS, "many", tuple(f"p{seed}-{row // per_group}" for row in range(n)))


def fitting(say: Say | None = None) -> Fitting:
    return Fitting(np.random.default_rng(0), Device(), say or Say())


class _Options(FamilyOptions):
    """None."""


class _Noting(Family[_Options]):
    """Keywords that note what each fit saw; `cheap` or not, as networks are."""

    name, title, summary = "noting", "Noting", "For this test."
    items: ClassVar = frozenset({"text"})
    answers: ClassVar = frozenset({"many"})
    Options = _Options

    def __init__(self, cheap: bool, stop_after: int = 99) -> None:
        self.cheap = cheap  # type: ignore[misc]
        self.stop_after = stop_after
        self.saw: list[tuple[Examples, Examples]] = []

    def fit(self, train: Examples, validation: Examples, options: _Options, fitting: Fitting) -> Model:
        self.saw.append((train, validation))
        if len(self.saw) >= self.stop_after:
            fitting.say.stop.set()
        fitting.say("progress", step=1, steps=2, sentence="Reading.")
        keywords = get_family("keywords")
        return keywords.fit(train, validation, keywords.parse({}), replace(fitting, say=Say()))

    def load(self, folder: Path, device: Device) -> Model:
        raise NotImplementedError


def measured(family: Any, folder: Path, k: int = 4, say: Say | None = None, seed: int = 3) -> Any:
    train, validation = examples(90, 0, per_group=3), examples(30, 1, per_group=3)
    return cross_validation.measure(family, family.parse({}), train, validation, k, seed, fitting(say), folder)


def test_each_row_is_answered_once_by_a_fit_that_saw_nothing_of_its_group(tmp_path: Path) -> None:
    family = _Noting(cheap=False)
    found = measured(family, tmp_path)
    assert sorted(np.concatenate([fold.rows for fold in found.folds])) == list(range(120))
    for (train, validation), fold in zip(family.saw, found.folds, strict=True):
        mine = {found.known.groups[row] for row in fold.rows}
        assert not mine & {*train.groups, *validation.groups}
        assert not set(train.groups) & set(validation.groups)  # it stops and calibrates on other patients
        assert len(train) + len(validation) + len(fold.rows) == 120
        assert len(validation) / (len(train) + len(validation)) == pytest.approx(0.25, abs=0.05)


def test_every_label_keeps_its_share_in_every_fold(tmp_path: Path) -> None:
    rows, family = examples(200, 0), _Noting(cheap=True)
    found = cross_validation.measure(family, family.parse({}), rows, rows.take([]), 4, 3, fitting(), tmp_path)
    for fold in found.folds:
        assert np.abs(rows.truth[fold.rows].sum(axis=0) - rows.truth.sum(axis=0) / 4).max() < 1


def test_mean_sd_and_pooled_agree_with_the_folds_and_beat_the_majority(tmp_path: Path) -> None:
    found = measured(LINEAR, tmp_path)
    card: dict[str, Any] = {"notes": []}
    found.write_on(card)
    folds = card["folds"]
    each = [one["metrics"]["micro_f1"] for one in folds["each"]]
    assert folds["mean"]["micro_f1"] == pytest.approx(dict(zip(("mean", "sd"), mean_sd(each), strict=True)), abs=1e-5)
    pooled = folds["pooled"]["micro_f1"]
    assert pooled["n"] == 120
    # No interval where every row was right: resamples of them all say the same.
    assert pooled["value"] == 1 if pooled["low"] is None else pooled["low"] <= pooled["value"] <= pooled["high"]
    assert min(each) <= pooled["value"] <= max(each)
    assert pooled["value"] > folds["majority"]["micro_f1"]["value"] + 0.2
    assert "auc" in folds["mean"] and "auc" not in folds["pooled"]  # fits are not on one scale
    told = fold_figures.sentence(card)
    assert told.startswith("In 4-fold cross-validation over 120 train and validation rows, micro-F1 was")


def test_finished_folds_are_not_repeated_and_give_the_same(tmp_path: Path) -> None:
    whole = measured(_Noting(cheap=False), tmp_path / "whole")
    stopped, say = _Noting(cheap=False, stop_after=3), Say()
    with pytest.raises(Stopped):
        measured(stopped, tmp_path / "killed", say=say)
    kept = tmp_path / "killed" / cross_validation.FOLDER
    assert sorted(path.name for path in kept.iterdir()) == ["fold-1.npz", "fold-2.npz"]
    (kept / "fold-2.npz").write_bytes(b"torn")
    again = _Noting(cheap=False)
    found = measured(again, tmp_path / "killed")
    assert len(again.saw) == 3  # the second was damaged, the third and fourth never finished
    assert found.pooled == whole.pooled
    for one, other in zip(found.folds, whole.folds, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
    other_seed = _Noting(cheap=False)
    measured(other_seed, tmp_path / "killed", seed=4)
    assert len(other_seed.saw) == 4  # other folds: nothing of before can be used


@pytest.mark.parametrize("cheap", [False, True])
def test_progress_is_a_part_of_the_whole(cheap: bool, tmp_path: Path) -> None:
    say = Say()
    measured(_Noting(cheap), tmp_path, say=say)
    parts = [event["step"] / event["steps"] for event in say.said if event["kind"] == "progress"]
    assert parts == sorted(parts) and parts[0] < 0.3 and parts[-1] >= 0.75
    told = [event["sentence"] for event in say.said if event.get("name") == "fold_done"]
    assert [line[:12] for line in told] == [f"Fold {n} of 4:"[:12] for n in (1, 2, 3, 4)]


def test_too_few_groups_and_methods_made_of_others_are_refused(tmp_path: Path) -> None:
    few = examples(12, 0, per_group=6)
    with pytest.raises(MedbenchError, match="at least 3 groups of rows for 3 folds, found 2"):
        cross_validation.measure(LINEAR, LINEAR.parse({}), few, few.take([]), 3, 0, fitting(), tmp_path)
    with pytest.raises(MedbenchError, match="Ensemble, which is made of others"):
        measured(get_family("ensemble"), tmp_path)
    vision = get_family("vision")
    named = next(name for name in ("teacher", "start_from") if name in vision.Options.model_fields)
    with pytest.raises(MedbenchError, match=f"{named} given"):
        cross_validation.measure(vision, vision.parse({named: "m"}), few, few, 2, 0, fitting(), tmp_path)


def test_a_run_with_folds_is_killed_resumed_shown_and_its_model_is_the_same(
    full_workspace: Workspace, dataset_id: str, tmp_path: Path
) -> None:
    place = full_workspace
    plain = next(run for run in runs.list_runs(place) if run.model)
    spec = RunSpec(task="literature", family="linear", dataset=dataset_id, folds=3)
    once, thrice = (preflight.check(place, spec.model_copy(update={"folds": k})) for k in (None, 3))
    assert once.seconds and thrice.seconds == pytest.approx(3 * once.seconds)
    assert "folds=3" in runs.command_line(spec) and runs.parse_spec(runs.to_yaml(spec)) == spec
    run = runs.start(place, spec)
    until((place.run(run) / "folds" / "fold-1.npz").exists)
    process = next(event["process"] for event in runs.events(place, run)[0] if event["kind"] == "launched")
    os.killpg(process, signal.SIGKILL)
    until(lambda: not runs.get(place, run).alive)
    first = (place.run(run) / "folds" / "fold-1.npz").stat().st_mtime_ns
    runs.resume(place, run)
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", last
    assert (place.run(run) / "folds" / "fold-1.npz").stat().st_mtime_ns == first
    card, before = (read_json(place.model(name) / "model.json") for name in (run, str(plain.model)))
    assert card["metrics"] == before["metrics"]  # the same model on the same test rows
    test_rows = card["dataset"]["splits"]["test"]
    assert card["folds"]["k"] == 3 and card["folds"]["rows"] == card["dataset"]["n_rows"] - test_rows
    answers = fold_figures.answers(place.model(run), card["labels"])
    with np.load(place.model(run) / "judged.npz") as judged:
        assert not set(answers["row"] - 1) & set(judged["positions"].tolist())
    for ending in (".csv", ".md", ".tex", ".json"):
        fold_figures.write(card, tmp_path / f"folds{ending}")
    assert "Mean ± sd" in (tmp_path / "folds.csv").read_text()
    with pytest.raises(MedbenchError, match="a model that was cross-validated"):
        fold_figures.write(before, tmp_path / "none.csv")
