"""What a dataset's labels say more often: a planted word comes first, figures by hand, and rules made of it work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import TOPICS, import_planted, planted_csv
from pages_at_work import make_dataset, opened, words_on
from typer.testing import CliRunner

from medbench import datasets, vocabulary
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.records import Device, Examples
from medbench.workspace import Workspace


def examples() -> Examples:
    """Eight texts: "stent" in all four of the label and one of the others; "stent stent" counts once."""
    texts = ["a stent stent", "the stent here", "stent and heart", "stent", "stent only", "brain", "the brain", "nerve"]
    truth = np.array([[1], [1], [1], [1], [0], [0], [0], [0]], dtype=bool)
    return Examples(texts, np.hstack([truth, ~truth]), ("heart", "nerves"), "one")


def test_counts_and_log_odds_by_hand() -> None:
    found = vocabulary.measure(examples(), words=1, min_texts=1)
    stent = found.terms.get("heart", ())[:1]
    # Prior: 50 texts x (5 + .5) / (8 + 1) = 30.56; with the label 4 + 30.56 of 54, without 1 + 30.56 of 54.
    prior = 50 * 5.5 / 9
    odds = np.log((4 + prior) / (54 - 4 - prior + 0.5)) - np.log((1 + prior) / (54 - 1 - prior + 0.5))
    z = odds / np.sqrt(1 / (4 + prior) + 1 / (1 + prior))
    assert z < 1.96 and stent == ()  # eight texts prove nothing
    many = Examples(list(examples().items) * 40, np.tile(examples().truth, (40, 1)), ("heart", "nerves"), "one")
    first = vocabulary.measure(many, words=1).terms["heart"][0]
    prior = 50 * (200 + 0.5) / 321
    odds = np.log((160 + prior) / (210 - 160 - prior + 0.5)) - np.log((40 + prior) / (210 - 40 - prior + 0.5))
    error = np.sqrt(1 / (160 + prior) + 1 / (40 + prior))
    assert (first.term, first.texts, first.rest, first.share, first.rest_share) == ("stent", 160, 40, 1.0, 0.25)
    assert first.log_odds == pytest.approx(odds, abs=1e-3) and first.z == pytest.approx(odds / error, abs=1e-3)
    assert first.low == pytest.approx(odds - 1.96 * error, abs=1e-3) and first.low < first.log_odds < first.high
    assert first.beyond_chance


def test_words_that_tell_nothing_are_not_beyond_chance(rng: np.random.Generator) -> None:
    words = [f"w{number}" for number in range(300)]
    texts = [" ".join(rng.choice(words, 30, replace=False)) for _ in range(400)]
    truth = rng.random((400, 1)) < 0.5
    found = vocabulary.measure(Examples(texts, truth, ("coin",), "many"), words=1, kept=300)
    terms = found.terms.get("coin", ())
    assert found.n_terms == 300 and sum(one.beyond_chance for one in terms) == 0 and len(terms) < 30


def test_planted_words_come_first_from_the_train_split_alone(workspace: Workspace, tmp_path: Path) -> None:
    dataset = datasets.load(workspace, import_planted(workspace, tmp_path))
    found = vocabulary.of_dataset(dataset, words=1)
    assert found.n_texts == dataset.counts["train"]
    for label, planted in TOPICS.items():
        assert {one.term for one in found.terms[label][:6]} <= set(planted.split())
    assert found.rows({"cardiology": "Heart"})[0]["label"] == "Heart"
    one = vocabulary.measure(dataset.examples("train"), words=1)
    assert one == found


def test_chosen_words_become_rules_that_answer(workspace: Workspace, tmp_path: Path, rng: np.random.Generator) -> None:
    dataset = datasets.load(workspace, import_planted(workspace, tmp_path))
    found = vocabulary.of_dataset(dataset, words=1)
    rules = vocabulary.lexicon(found, {label: [one.term for one in terms[:5]] for label, terms in found.terms.items()})
    family, train = get_family("keywords"), dataset.examples("train")
    options = family.parse({"learn": False, "lexicon": rules})
    model = family.fit(train, dataset.examples("validation"), options, Fitting(rng, Device(), Say()))
    test = dataset.examples("test")
    assert ((model.scores(test.items) > 0.5) == test.truth).mean() > 0.85
    with pytest.raises(MedbenchError, match="'nonsense'"):
        vocabulary.lexicon(found, {"cardiology": ["nonsense"]})


def test_bad_datasets_are_told_in_words(trained_lesions: tuple[Workspace, str]) -> None:
    place, _ = trained_lesions
    name = str(datasets.list_datasets(place)[0]["id"])
    with pytest.raises(MedbenchError, match="which holds pictures"):
        vocabulary.of_dataset(datasets.load(place, name))
    empty = vocabulary.measure(Examples(["", ""], np.eye(2, dtype=bool), ("a", "b"), "one"))
    assert empty.terms == {} and empty.n_terms == 0


# --- the doors -------------------------------------------------------------------------------------------------


def test_the_command_line_shows_and_writes(home: Workspace, tmp_path: Path) -> None:
    import_planted(home, tmp_path)
    runner = CliRunner()
    shown = runner.invoke(app, ["vocabulary", "planted"])
    assert shown.exit_code == 0 and "cardiology (" in shown.stdout
    one = runner.invoke(
        app, ["vocabulary", "planted", "--label", "oncology", "--json", "--out", str(tmp_path / "v.csv")]
    )
    assert {row["label"] for row in json.loads(one.stdout)["rows"]} == {"oncology"}
    with (tmp_path / "v.csv").open(encoding="utf-8-sig") as file:
        assert set(next(csv.DictReader(file))) == set(vocabulary.COLUMNS)
    rules = runner.invoke(app, ["vocabulary", "planted", "--terms", "4", "--out", str(tmp_path / "rules.yaml")])
    spec = yaml.safe_load((tmp_path / "rules.yaml").read_text())
    assert rules.exit_code == 0 and spec["family"] == "keywords" and len(spec["options"]["lexicon"]["oncology"]) == 4
    assert runner.invoke(app, ["vocabulary", "planted", "--label", "none"]).exit_code == 2
    assert runner.invoke(app, ["vocabulary", "planted", "--out", str(tmp_path / "v.doc")]).exit_code == 2


def test_the_page_shows_words_and_fills_the_form(home: Workspace, tmp_path: Path) -> None:
    planted_csv(tmp_path / "unused.csv", 3)
    name = import_planted(home, tmp_path)
    page = opened("pages/datasets.py", dataset=name)
    page.segmented_control(key="opened_section").set_value("Words").run()
    assert not page.exception and "of the train split" in words_on(page)
    assert page.dataframe[0].value["label"].tolist() == ["cardiology", "neurology", "oncology"]
    page.button(key="vocabulary_send").click().run()
    assert not page.exception
    assert page.session_state["train_family"] == "keywords" and page.session_state["train_dataset"] == name
    assert len(json.loads(page.session_state["train_option_keywords_lexicon"])["oncology"]) >= 5
    unread = make_dataset(home, tmp_path, "unread", labelled=False)
    page = opened("pages/datasets.py", dataset=unread)
    page.segmented_control(key="opened_section").set_value("Words").run()
    assert "These rows have no labels" in words_on(page)
