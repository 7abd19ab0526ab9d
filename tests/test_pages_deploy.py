"""Putting a model to use on the page: promote, be warned, try a challenger, roll back; pickers offer the champion."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import HUNG
from pages_at_work import opened, words_on
from streamlit.testing.v1 import AppTest

from medbench import aliases, appointing
from medbench.workspace import Workspace, read_json, write_json

JOB = "literature-planted"


def drawn() -> None:
    from medbench import predicting, ui, ui_deploy

    place = ui.workspace()
    ui_deploy.draw_in_use(
        place, {str(card["id"]): card for card in predicting.list_models(place) if "run" in card}, "use"
    )


@pytest.fixture
def place(full_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, trained: tuple[Workspace, str]) -> Workspace:
    """A workspace with a model and a worse twin of it."""
    monkeypatch.setenv("MEDBENCH_HOME", str(full_workspace.data.parent))
    worse = full_workspace.models / "worse"
    shutil.copytree(full_workspace.models / trained[1], worse)
    card = {**read_json(worse / "model.json"), "id": "worse", "name": "A worse one"}
    write_json(worse / "model.json", card)
    kept = dict(np.load(worse / "judged.npz"))
    np.savez_compressed(worse / "judged.npz", **{**kept, "decided": np.roll(kept["truth"], 1, axis=1)})
    return full_workspace


def test_from_the_first_champion_to_a_roll_back(place: Workspace, trained: tuple[Workspace, str]) -> None:
    good = trained[1]
    page = AppTest.from_function(drawn, default_timeout=HUNG).run()
    assert "No model is in use under a name yet" in words_on(page)
    page.selectbox(key="use_model").set_value(good).run()
    assert "nothing to compare it with" in words_on(page)
    page.text_input(key="use_who").set_value("ann")
    page.button(key="use_promote").click().run()
    job = aliases.get(place, JOB)
    assert (job.champion, job.moves[-1].who) == (good, "ann")
    assert f"It is the champion of @{JOB} already" in words_on(page)

    page.selectbox(key="use_model").set_value("worse").run()
    assert "It is worse than" in page.warning[0].value and page.button(key="use_promote").disabled
    page.button(key=f"use_{JOB}_begin").click().run()
    assert aliases.get(place, JOB).challenger == aliases.Challenger("worse", "shadow", 0.0)
    assert "challenger **A worse one**, unseen" in words_on(page)
    page.checkbox(key="use_anyway").check().run()
    page.button(key="use_promote").click().run()
    assert aliases.get(place, JOB).champion == "worse" and not page.exception

    page.button(key=f"use_{JOB}_back_go").click().run()
    assert aliases.get(place, JOB).champion == good
    assert [move.act for move in aliases.get(place, JOB).moves] == ["promote", "challenge", "promote", "roll back"]


def test_the_page_offers_the_champion_first(place: Workspace, trained: tuple[Workspace, str]) -> None:
    appointing.promote(place, trained[1])
    page = opened("pages/classify.py")
    picker = page.selectbox(key="classify_model")
    assert picker.value == f"@{JOB}" and picker.options[0].startswith(f"👑 champion of {JOB}")
    page.text_area(key="classify_text").set_value("Angina and myocardial infarction after a coronary stent.")
    page.button(key="classify_go").click().run()
    assert not page.exception and not page.error
    assert page.session_state["classify_answer"][1].model == trained[1]
    assert "cardiology" in words_on(page)
