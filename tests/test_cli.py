"""Every command has help with an example, JSON for machines, and exit code 2 with one sentence for a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import planted_csv
from typer.testing import CliRunner

from medbench.cli import app
from medbench.workspace import Workspace

COMMANDS = [
    ["import"],
    ["train"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "follow"],
    ["runs", "cancel"],
    ["runs", "resume"],
    ["models"],
    ["predict"],
    ["evaluate"],
    ["compare"],
    ["serve"],
    ["codes", "search"],
    ["codes", "show"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_json(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"]).stdout
    assert f"medbench {' '.join(command)}" in shown
    assert "xample" in shown
    assert "--json" in shown


def test_import_train_evaluate_as_a_researcher_would(home: Workspace, tmp_path: Path) -> None:
    runner = CliRunner()
    file, fresh = planted_csv(tmp_path / "a.csv", 120), planted_csv(tmp_path / "b.csv", 60, seed=9)
    named = ["--title", "title", "--abstract", "abstract", "--labels", "labels", "--id", "pmid"]
    imported = runner.invoke(app, ["import", str(file), "--task", "literature", "--name", "a", *named])
    assert imported.exit_code == 0, imported.output
    dataset = imported.stdout.strip()
    trained = runner.invoke(app, ["train", "--family", "keywords", "--dataset", dataset, "seed=3"])
    assert trained.exit_code == 0, trained.output
    model = trained.stdout.strip()
    assert model in runner.invoke(app, ["models"]).stdout
    table = pd.read_csv(fresh)
    table.loc[:9, "labels"] = "neurology"  # some labels that the texts do not bear out: not every resample is the same
    table.to_csv(fresh, index=False)
    judged = runner.invoke(app, ["evaluate", model, str(fresh), "--json"])
    found = json.loads(judged.stdout)
    assert found["judged"] == 60
    figure = found["metrics"]["micro_f1"]
    assert figure["low"] < figure["value"] < figure["high"]
    again = runner.invoke(app, ["evaluate", model, str(file)])
    assert again.exit_code == 2
    assert "never saw" in again.stderr
    kept = json.loads(runner.invoke(app, ["evaluate", model, str(file), "--keep-seen", "--json"]).stdout)
    assert kept["seen"] == 120
    assert "flatter" in kept["notes"][0]
    listed = json.loads(runner.invoke(app, ["runs", "--json"]).stdout)
    assert [run["state"] for run in listed] == ["finished"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["import", "nothing.csv", "--name", "x"], "nothing.csv"),
        (["train", "--family", "linear", "--dataset", "none"], "none"),
        (["train", "nowhere.yaml"], "nowhere.yaml"),
        (["runs", "show", "none"], "the id of a run"),
        (["import", "x.csv", "--shares", "70-30"], "70/15/15"),
        (["import", "x.csv", "--task", "poetry"], "poetry"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(home: Workspace, words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    as_json = CliRunner().invoke(app, [*words, "--json"])
    assert set(json.loads(as_json.stderr.strip().splitlines()[-1])["error"]) == {"expected", "found", "todo"}
