"""The Compare page, drawn empty, with one run, and with two real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages_at_work import opened, words_on
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Dataframe

from medbench import comparing_judged, comparing_sheet, runs, table_formats
from medbench.records import RunSpec
from medbench.workspace import Workspace, read_json, write_json

PAGE = "pages/compare.py"


@pytest.fixture(scope="module")
def two_runs(trained: tuple[Workspace, str], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The trained workspace with a second run, of keywords."""
    root = tmp_path_factory.mktemp("two") / "home"
    shutil.copytree(trained[0].data.parent, root)
    place = Workspace.here(root)
    dataset = str(comparing_judged.cards(place)[0]["dataset"]["id"])
    run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset, name="words"))
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", last
    # The planted topics are easy for both: three items are made wrong, so that there is something to open.
    path = place.model(run) / "judged.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["decided"][:3] = ~arrays["truth"][:3]
    np.savez_compressed(path, **arrays)
    return place


@pytest.fixture
def both(two_runs: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MEDBENCH_HOME", str(two_runs.data.parent))
    return two_runs


def drawn(tab: str = "Pairs") -> AppTest:
    app = opened()
    app.switch_page(PAGE)
    app.session_state["compare_tab"] = tab
    app.run()
    assert not app.exception
    assert "Something went wrong" not in words_on(app)
    return app


def test_without_runs_it_says_what_to_do(home: Workspace) -> None:
    told = words_on(drawn())
    assert "Nothing to compare yet" in told and "Train a model" in told


def test_one_run_stands_against_the_baselines(trained: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBENCH_HOME", str(trained[0].data.parent))
    app = drawn()
    assert "One run alone: choose a second to compare it with." in words_on(app)
    assert "Two runs make a pair." in words_on(app)
    assert "Two runs can disagree" in words_on(drawn("Disagreements"))


def test_a_run_that_is_not_above_its_own_base_is_named(both: Workspace) -> None:
    paths = {str(card["name"]): both.model(str(card["id"])) / "model.json" for card in comparing_judged.cards(both)}
    path = paths["words"]
    card = read_json(path)
    as_it_was = card["metrics"]["micro_f1"]
    try:
        write_json(path, {**card, "baselines": {**card["baselines"], "before tuning": {"micro_f1": as_it_was}}})
        app = drawn()
        assert "words is NOT better than its base before tuning: micro-F1" in words_on(app)
    finally:
        write_json(path, card)


def test_two_runs_get_a_verdict_and_a_table_of_pairs(both: Workspace) -> None:
    app = drawn()
    told = words_on(app)
    assert " beats " in told or "cannot be told from" in told
    assert "paired bootstrap, 1,000 resamples" in told
    assert "Not comparable here" in [box.label.split(":")[0] for box in app.expander]
    (pairs,) = (table.value for table in app.dataframe if "McNemar mid-p" in table.value)
    assert len(pairs) == 1


def test_another_metric_gives_another_verdict(both: Workspace) -> None:
    app = drawn()
    app.selectbox(key="compare_metric_literature").set_value("brier").run()
    assert not app.exception
    assert "Brier score" in words_on(app) or "cannot be told from" in words_on(app)


def table_of(app: AppTest, column: str) -> Dataframe:
    """The table that has a column."""
    return next(table for table in app.dataframe if column in table.value)


def click(app: AppTest, table: Dataframe, row: int, column: str) -> str:
    """Choose a cell; return what the page says then."""
    app.session_state[table.key] = {"selection": {"cells": [(row, column)]}}
    app.run()
    assert not app.exception
    return words_on(app)


def test_a_disagreement_is_opened(both: Workspace) -> None:
    app = drawn("Disagreements")
    table = table_of(app, "both wrong")
    counts = table.value.iloc[0]
    names = [column for column in table.value if column.startswith("only ")]
    assert len(names) == 2
    assert counts["records"] == counts[["both right", *names, "both wrong"]].sum()
    name = next(name for name in names if counts[name] == 3)
    kinds = app.segmented_control(key="compare_part_kind")
    assert f"{name} · 3" in kinds.options
    kinds.set_value(("only_first", "only_second")[names.index(name)]).run()
    told = words_on(app)
    assert not app.exception
    assert "3 records" in told and "true:" in told and "most probable:" in told


@pytest.mark.parametrize(
    ("tab", "column", "cell", "told"),
    [
        ("Pairs", "McNemar mid-p", "only the better right", "Right: every label of the record."),
        ("Confusions", "wrongly given", "missed", "does not say"),
        ("Labels", "F1 words", "judged items", "True: "),
        ("Labels", "labels", "F1 words", "words, read beside"),
        ("Curves", "AUC", "AUC", "given where true and nowhere else"),
        ("Probabilities", "own threshold", "sensitivity", "decided from 50 % on"),
        ("Groups", "group", "n", "Length: "),
    ],
)
def test_every_table_leads_to_the_records_behind_its_cells(
    both: Workspace, tab: str, column: str, cell: str, told: str
) -> None:
    app = drawn(tab)
    assert "Click a cell to read the records behind it." in words_on(app)
    table = table_of(app, column)
    shown = click(app, table, 0, cell)
    shown += " ".join(box.label for box in app.selectbox)
    kinds = next(one for one in app.segmented_control if one.label == "Which records")
    assert told in shown
    assert "answers differ" in kinds.options[0] and kinds.options[-1].startswith("all of them")
    counts = dict(option.rsplit(" · ", 1) for option in kinds.options)
    if cell in ("missed", "judged items", "n") and column != "labels":
        assert int(counts["all of them"]) == table.value.iloc[0][cell] and kinds.value == "all"


def test_the_records_of_a_cell_leave_as_a_table(both: Workspace) -> None:
    app = drawn("Confusions")
    table = table_of(app, "wrongly given")
    row = int(table.value["missed"].to_numpy().argmax())
    assert f"{table.value.iloc[row]['missed']} record" in click(app, table, row, "missed")
    assert any(button.label == "These records as CSV" for button in app.get("download_button"))


def test_the_same_run_twice_is_refused_in_words(both: Workspace) -> None:
    app = drawn("Disagreements")
    app.selectbox(key="compare_part_second").set_value(app.selectbox(key="compare_part_first").value).run()
    assert "Choose two different runs." in words_on(app)


def test_runs_on_other_items_are_fenced_off_with_the_reason(
    both: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "fenced"
    shutil.copytree(both.data.parent, root)
    place = Workspace.here(root)
    own = [card for card in comparing_judged.cards(place) if not card["id"].startswith("starter-")]
    path = place.model(own[0]["id"]) / "model.json"
    write_json(path, {**read_json(path), "judged_on": "validation scores of 9 rows"})
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    told = words_on(drawn())
    assert "judged on other items" in told
    assert "One run alone" in told


@pytest.mark.parametrize(
    ("tab", "told"),
    [
        ("Confusions", "Each label against the rest"),
        ("Labels", "By how often training saw the label"),
        ("Curves", "DeLong's test"),
        ("Probabilities", "before calibration"),
        ("Groups", "Wide intervals mean few items"),
        ("Errors", "Rank correlation of length and error"),
        ("Cost", "no other run is both"),
        ("Training", "fitted at once"),
        ("In use", "nothing to compare it with"),
    ],
)
def test_every_part_is_drawn(both: Workspace, tab: str, told: str) -> None:
    assert told in words_on(drawn(tab))


def test_likely_label_errors_are_looked_for_on_demand(both: Workspace) -> None:
    app = drawn("Errors")
    app.segmented_control(key="compare_errors_part").set_value("Likely label errors").run()
    app.button(key="compare_label_errors_start").click().run()
    assert not app.exception
    assert "** of " in words_on(app)


def test_speed_is_measured_on_demand(both: Workspace) -> None:
    app = drawn("Cost")
    app.button(key="compare_measure").click().run()
    assert not app.exception
    assert "Items per second, measured here" in words_on(app)


def test_tables_leave_as_markdown_and_latex() -> None:
    frame = pd.DataFrame({"run": ["a|b_c", "50 % <x>"], "F1": [0.5, float("nan")]})
    assert table_formats.markdown(frame).splitlines() == [
        "| run | F1 |",
        "| --- | ---: |",
        "| a\\|b_c | 0.5 |",
        "| 50 % &lt;x> |  |",
    ]
    told = table_formats.latex(frame, "All & more")
    assert "\\begin{tabular}{lr}" in told and "a|b\\_c & 0.5 \\\\" in told
    assert "50 \\% \\textless{}x\\textgreater{} &  \\\\" in told and "\\caption{All \\& more}" in told


def test_folds_stand_in_the_table_as_mean_and_spread(
    both: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workspace.here(shutil.copytree(both.data.parent, tmp_path / "home"))
    monkeypatch.setenv("MEDBENCH_HOME", str(place.data.parent))
    cards = comparing_judged.cards(place)
    run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=cards[0]["dataset"]["id"], folds=2))
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", last
    assert "over 2 folds of the train and validation rows" in words_on(drawn())
    sheet = comparing_sheet.compared(place, [run, *(str(card["id"]) for card in cards if card["run"] == card["id"])])
    table = comparing_sheet.table(sheet)
    told = dict(zip(table["run"], table["micro-F1 over folds"], strict=True))
    assert [name for name, cell in told.items() if "±" in cell] == [read_json(place.model(run) / "model.json")["name"]]
