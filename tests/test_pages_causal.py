"""A tiny language model is tuned by a real worker; the Train page shows its form, its run and what tuning added."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages_at_work import opened, words_on
from tiny_causal import save_tiny_lm
from tiny_encoders import WORDS

from medbench import datasets, drafting, runs
from medbench.records import RunSpec
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_json

FILL = [word for word in WORDS[5:] if word not in ("tumour", "liver")]


def two_subjects(path: Path, rows: int = 96) -> Path:
    """Write abstracts of four words: "tumour" among them makes it cancer, "liver" does not."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "abstract", "labels"])
        for row in range(rows):
            words = [str(word) for word in rng.choice(FILL, 4)]
            words[int(rng.integers(4))] = ("tumour", "liver")[row % 2]
            table.writerow([row, " ".join(words) + ".", ("cancer", "other")[row % 2]])
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, list[dict[str, Any]]]:
    """Return a workspace, a finished run in it, and all that the run said."""
    folder = tmp_path_factory.mktemp("causal")
    base = save_tiny_lm(folder / "base", "qwen2", seed=2, chat=False)
    place, task = Workspace.here(folder / "home"), get_task("literature")
    file = two_subjects(folder / "subjects.csv")
    draft = drafting.draft([(file, file.name)], task_name=task.name, clean_label=task.clean_label)
    options = {"base": str(base), "instruction": "Label", "max_tokens": 24, "batch": 4, "accumulation": 1}
    options |= {"learning_rate": 0.02, "warmup": 0, "epochs": 9, "best_by": "loss", "early_stopping": 0}
    dataset = datasets.save(place, draft, name="subjects", licence="CC0, invented")
    run = runs.start(place, RunSpec(task="literature", family="causal", dataset=dataset, options=options))
    said = list(runs.follow(place, run))
    assert said[-1]["kind"] == "finished", (said[-1], (place.run(run) / "log.txt").read_text()[-3000:])
    return place, run, said


def test_a_run_keeps_what_the_base_could_before(tuned: tuple[Workspace, str, list[dict[str, Any]]]) -> None:
    place, _, said = tuned
    card = read_json(place.model(said[-1]["model"]) / "model.json")
    before, after = card["baselines"]["before tuning"], card["metrics"]
    assert after["macro_f1"]["value"] > 0.9 > before["macro_f1"]["value"]
    assert after["micro_f1"]["n"] == before["micro_f1"]["n"]
    assert "“Before tuning” is the unchanged base, asked in the same words." in card["notes"]
    told = [event for event in said if event["kind"] == "progress" and "loss" in event]
    assert told and all(event["memory"] > 10**8 for event in told)
    losses = [event["loss"] for event in said if event["kind"] == "metric"]
    assert losses[-1] < losses[0]


def test_the_run_is_shown_beside_its_base(
    tuned: tuple[Workspace, str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, run, _ = tuned
    monkeypatch.setenv("MEDBENCH_HOME", str(place.data.parent))
    page = opened("pages/train.py", run=run)
    told = words_on(page)
    assert "This run" in told and "The base before tuning" in told and "Peak memory" in told
    assert "Struck through: beyond what the model reads." in told and "The first batch" in str(page.expander)


def test_the_form_offers_bases_and_says_what_it_costs(
    tuned: tuple[Workspace, str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_HOME", str(tuned[0].data.parent))
    page = opened("pages/train.py")
    page.radio(key="train_family").set_value("causal").run()
    assert not page.exception
    bases = page.selectbox(key="train_option_causal_base").options
    assert any("SmolLM2" in each for each in bases) and any("DeepSeek" in each for each in bases)
    page.selectbox(key="train_option_causal_quantize").set_value("4bit").run()
    assert "Weights of 4bit need a CUDA GPU" in words_on(page) and page.button(key="train_start").disabled
