"""Before a run: all problems at once, and the number to beat."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medbench import datasets, preflight
from medbench.datasets import Dataset, SplitPlan
from medbench.errors import MedbenchError
from medbench.records import RunSpec, TuneSpec
from medbench.tasks import get_task
from medbench.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
WORDS = {"heart": "cardiac valve artery", "skin": "dermal rash melanoma", "lung": "bronchial airway asthma"}


def make(
    workspace: Workspace, folder: Path, *, rows: int = 60, labelled: bool = True, shares: tuple[float, float, float]
) -> Dataset:
    """Save a small dataset in which each label has its own words; two of three items carry a second label."""
    rng = np.random.default_rng(3)
    path = folder / "made.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "abstract", *(["labels"] if labelled else [])])
        for row in range(rows):
            names = rng.permutation(list(WORDS))[: 1 + row % 2]
            words = " ".join(str(rng.choice(WORDS[name].split())) for name in names for _ in range(6))
            noise = " ".join(f"w{rng.integers(500)}" for _ in range(12))
            cells = [str(row), f"Study {row}", f"{words} {noise}", *([";".join(names)] if labelled else [])]
            writer.writerow(cells)
    task = get_task("literature")
    made = datasets.draft([(path, path.name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.load(workspace, datasets.save(workspace, made, name="made", plan=SplitPlan(shares=shares)))


@pytest.fixture
def dataset(workspace: Workspace, tmp_path: Path) -> Dataset:
    return make(workspace, tmp_path, shares=(0.6, 0.2, 0.2))


def test_a_good_run_may_start(workspace: Workspace, dataset: Dataset) -> None:
    found = preflight.check(workspace, RunSpec(task="literature", family="linear", dataset="made", device="cpu"))
    assert found.ready
    assert found.problems == ()
    assert found.device == "cpu"


def test_a_search_counts_into_the_time(workspace: Workspace, dataset: Dataset) -> None:
    spec = RunSpec(task="literature", family="linear", dataset=dataset.id)
    alone = preflight.check(workspace, spec)
    searching = preflight.check(workspace, spec.model_copy(update={"tune": TuneSpec(minutes=10)}))
    assert alone.seconds is not None and searching.seconds == alone.seconds + 600
    assert any("at most 10 minutes" in note for note in searching.notes)


def test_a_search_without_anything_to_search_does_not_start(workspace: Workspace, dataset: Dataset) -> None:
    spec = RunSpec(task="literature", family="keywords", dataset=dataset.id, tune=TuneSpec())
    [problem] = preflight.check(workspace, spec).problems
    assert problem.startswith("Expected options that can be searched, found Keywords, which has none.")


def test_all_problems_are_told_at_once(workspace: Workspace, dataset: Dataset) -> None:
    spec = RunSpec(
        task="poetry", family="linear", dataset=dataset.id, device="cuda:99", options={"epochs": 3, "nonsense": 1}
    )
    told = preflight.check(workspace, spec).problems
    assert len(told) == 3
    assert told[0].startswith("The device 'cuda:99' is not here; this machine has cpu")
    assert "epochs=3" in told[1] and "nonsense=1" in told[1]
    assert "'poetry'" in told[2]


def test_an_unknown_family_and_dataset_are_both_named(workspace: Workspace) -> None:
    told = preflight.check(workspace, RunSpec(task="literature", family="oracle", dataset="nowhere")).problems
    assert any("'oracle'" in problem for problem in told)
    assert any("'nowhere'" in problem for problem in told)


def test_unlabelled_data_cannot_be_learnt(workspace: Workspace, tmp_path: Path) -> None:
    make(workspace, tmp_path, labelled=False, shares=(0.6, 0.2, 0.2))
    found = preflight.check(workspace, RunSpec(task="literature", family="linear", dataset="made"))
    assert found.problems == (
        "The dataset has no labels: it can be classified, not trained on. Add it again with a label column.",
    )


def test_a_network_needs_a_validation_split(workspace: Workspace, tmp_path: Path) -> None:
    make(workspace, tmp_path, shares=(0.8, 0.0, 0.2))
    spec = RunSpec(task="literature", family="encoder", dataset="made", device="cpu")
    assert any("needs a validation split" in problem for problem in preflight.check(workspace, spec).problems)
    cheap = spec.model_copy(update={"family": "linear"})
    assert preflight.check(workspace, cheap).ready


def test_a_missing_test_split_is_noted(workspace: Workspace, tmp_path: Path) -> None:
    make(workspace, tmp_path, shares=(0.8, 0.2, 0.0))
    found = preflight.check(workspace, RunSpec(task="literature", family="linear", dataset="made"))
    assert found.ready
    assert any(note.startswith("There is no test split") for note in found.notes)


def test_keywords_beat_the_majority_on_planted_words(dataset: Dataset) -> None:
    found = preflight.baseline(dataset)
    validation = dataset.examples("validation")
    assert found["n"] == len(validation)
    assert found["judged_on"] == f"{len(validation)} rows of the validation split"
    assert found["keywords"]["micro_f1"] > found["majority"]["micro_f1"] + 0.2
    assert 0 < found["majority"]["micro_f1"] < 1
    assert preflight.baseline(dataset) == found


def test_the_majority_is_worked_out_by_hand(dataset: Dataset) -> None:
    train, validation = dataset.examples("train").truth, dataset.examples("validation").truth
    most = int(train.sum(axis=0).argmax())
    hits = int(validation[:, most].sum())
    # One label is given to each item: F1 = 2 hits / (items + true labels).
    expected = 2 * hits / (len(validation) + int(validation.sum()))
    assert preflight.baseline(dataset)["majority"]["micro_f1"] == pytest.approx(expected)


def test_without_a_validation_split_train_rows_are_held_out(workspace: Workspace, tmp_path: Path) -> None:
    found = preflight.baseline(make(workspace, tmp_path, shares=(1.0, 0.0, 0.0)))
    assert found["judged_on"].endswith("rows held out of the train split")
    assert 0 < found["n"] < 60


def test_there_is_no_baseline_without_labels(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match="labelled rows to learn from"):
        preflight.baseline(make(workspace, tmp_path, labelled=False, shares=(0.6, 0.2, 0.2)))


def test_looking_for_cards_does_not_import_torch() -> None:
    program = "import sys\nfrom medbench import preflight\npreflight.graphics_cards()\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
