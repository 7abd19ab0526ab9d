"""Another error accepted after training: offered together, kept with who and why, used at once, taken back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import HUNG
from pages_at_work import words_on
from streamlit.testing.v1 import AppTest
from test_aliases import TEXT, twin
from typer.testing import CliRunner

from medbench import accepted_error, batches, human_band, predicting, trust
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.records import Item
from medbench.workspace import Workspace, read_json, write_json


@pytest.fixture
def model(trained: tuple[Workspace, str]) -> str:
    return trained[1]


def test_an_error_accepted_afterwards_counts_from_then_on_and_can_be_taken_back(place: Workspace, model: str) -> None:
    before = accepted_error.band_of(place, model)
    loaded = predicting.load(place, model)
    offered = before.offered()
    assert offered and all(one.among == offered[0].among for one in offered)
    wanted = max(offered, key=lambda one: one.share)
    change = accepted_error.accept(place, model, wanted.accepted, who="ann", why="few readers")
    assert (change.act, change.accepted, change.before) == ("accept", wanted.accepted, before.accepted)
    again = predicting.load(place, model)
    assert again is not loaded and again.trust.band == wanted
    card = read_json(place.models / model / "model.json")
    assert card["promises"]["band"]["accepted"] == wanted.accepted and "error" in card["promises"]["band"]
    [answer] = predicting.predict(again, [Item("a", "", TEXT)])
    assert f"at most {human_band.percent(wanted.accepted)} of labels" in answer.promise
    assert "Measured on" in answer.promise and ("offered together" in answer.promise) == (wanted.among > 1)
    kept = trust.load(place.models / model)
    assert kept.accepting(0.3).band is not None and np.array_equal(kept.thresholds, loaded.trust.thresholds)

    second = accepted_error.accept(place, model, 0.4)
    assert accepted_error.undo(place, model, who="bob").accepted == second.before
    assert accepted_error.band_of(place, model) == wanted
    accepted_error.undo(place, model)
    assert accepted_error.band_of(place, model) == before
    told = accepted_error.changes(place, model)
    assert [one.act for one in told] == ["accept", "accept", "undo", "undo"] and told[0].who == "ann"
    with pytest.raises(MedbenchError, match="a change of the accepted error, found none"):
        accepted_error.undo(place, model)
    assert predicting.load(place, model).trust.band == before


def test_what_cannot_be_promised_is_refused(place: Workspace, model: str) -> None:
    with pytest.raises(
        MedbenchError, match=r"an accepted error that can be promised, found 0.01% on .*Accept at least"
    ):
        accepted_error.accept(place, model, 0.0001)
    old = twin(place, model, "old")
    facts = read_json(place.models / old / "trust.json")
    write_json(place.models / old / "trust.json", {**facts, "band": None})
    with pytest.raises(MedbenchError, match=r"old, which was trained before there was one. Train it again."):
        accepted_error.accept(place, old, 0.1)
    with pytest.raises(MedbenchError, match="the id of a model"):
        accepted_error.accept(place, "nobody", 0.1)
    assert accepted_error.changes(place, model) == accepted_error.changes(place, old) == []


def test_a_file_is_answered_anew_under_another_error(place: Workspace, model: str, tmp_path: object) -> None:
    file = place.data / "some.csv"
    file.write_text("title,abstract\n" + "".join(f"Study {at},{TEXT}\n" for at in range(3)))
    first = batches.open_batch(place, model, file)
    accepted_error.accept(place, model, 0.4)
    assert batches.open_batch(place, model, file).folder != first.folder


def test_the_command_line_shows_changes_and_takes_back(place: Workspace, model: str) -> None:
    run = CliRunner()
    shown = run.invoke(app, ["trust", model])
    assert shown.exit_code == 0 and "alone  at most of labels wrong or missing" in shown.stdout, shown.output
    done = run.invoke(app, ["trust", model, "--accept", "0.4", "--why", "trial", "--who", "ann", "--json"])
    found = json.loads(done.stdout)
    assert (found["accepted"], found["changes"][0]["who"], found["changes"][0]["why"]) == (0.4, "ann", "trial")
    assert {one["share"] for one in found["offered"]} and found["share"] > 0
    assert "accept 40%, before" in run.invoke(app, ["trust", model]).stdout
    both = run.invoke(app, ["trust", model, "--accept", "0.3", "--undo"])
    assert both.exit_code == 2 and "either --accept or --undo" in both.stderr
    assert json.loads(run.invoke(app, ["trust", model, "--undo", "--json"]).stdout)["accepted"] != 0.4


def drawn() -> None:
    import os

    from medbench import ui, ui_accepted

    ui_accepted.draw(ui.workspace(), os.environ["MODEL"], "use")


def test_the_page_offers_accepts_and_takes_back(place: Workspace, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", model)
    page = AppTest.from_function(drawn, default_timeout=HUNG).run()
    assert not page.exception and "all bounds hold together with 95% confidence" in words_on(page)
    assert len(page.dataframe[0].value) == len(accepted_error.band_of(place, model).offered())
    page.number_input(key="use_accepted").set_value(0.1).run()
    assert "an accepted error that can be promised" in page.warning[0].value
    page.number_input(key="use_accepted").set_value(40.0).run()
    page.text_input(key="use_accepted_who").set_value("ann")
    page.button(key="use_accepted_go").click().run()
    assert not page.exception and accepted_error.band_of(place, model).accepted == 0.4
    page.button(key="use_accepted_undo").click().run()
    assert [one.act for one in accepted_error.changes(place, model)] == ["accept", "undo"]


def test_bands_of_models_from_before_the_offer_can_be_read() -> None:
    band = human_band.fit(np.linspace(0, 0.5, 300), np.zeros(300), "one")
    facts = {name: value for name, value in band.numbers().items() if name != "among"}
    assert human_band.band_from(facts) == band
