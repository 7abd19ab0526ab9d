"""`medbench review` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import import_planted
from typer.testing import CliRunner

from medbench.cli import app
from medbench.workspace import Workspace

RUN = CliRunner()


def test_simulate_says_what_the_ranking_saves(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    command = ["review", "simulate", dataset, "--label", "oncology", "--seeds", "2"]
    told = RUN.invoke(app, [*command, "--json"])
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert facts["records"] == 150
    assert [replay["seed"] for replay in facts["replays"]] == [0, 1]
    assert facts["saved_at_95"] > 0.2
    plain = RUN.invoke(app, command)
    assert f"{facts['relevant']} of 150 records carry oncology." in plain.stdout
    assert "95 % found after" in plain.stdout


def test_simulate_refuses_what_it_cannot_replay(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    unknown = RUN.invoke(app, ["review", "simulate", dataset, "--label", "surgery"])
    assert unknown.exit_code == 2
    assert "found 'surgery'. Choose one of these: cardiology, neurology, oncology." in unknown.stderr
    odd = RUN.invoke(app, ["review", "simulate", dataset, "--label", "oncology", "--strategy", "luck"])
    assert odd.exit_code == 2
    assert "found 'luck'" in odd.stderr
