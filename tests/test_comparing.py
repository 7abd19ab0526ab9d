"""Comparing models on planted answers: a better one is found, equal ones are not, others are fenced off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from medbench import (
    api,
    comparing,
    comparing_areas,
    comparing_errors,
    comparing_figures,
    comparing_judged,
    comparing_sheet,
    comparing_tests,
    comparing_verdict,
)
from medbench.comparing_judged import Answered
from medbench.comparing_verdict import Pair
from medbench.errors import MedbenchError
from medbench.workspace import Workspace, write_json

LABELS = ("a", "b", "c")


def planted(name: str, truth: np.ndarray, skill: float, seed: int, answer: str = "many") -> Answered:
    """A model that gives the true labels of an item with a chance of `skill`, else guesses."""
    draw = np.random.default_rng(seed)
    knows = draw.random(len(truth)) < skill
    guess = draw.random(truth.shape)
    prob = np.where(knows[:, None], np.where(truth, 0.9, 0.1), guess).astype(np.float32)
    decided = prob >= 0.5
    if answer == "one":
        prob /= prob.sum(axis=1, keepdims=True)
        decided = np.eye(truth.shape[1], dtype=bool)[prob.argmax(axis=1)]
    card: dict[str, Any] = {"id": name, "name": name, "answer": answer, "labels": list(LABELS), "task": "literature"}
    card |= {"family": "linear", "options": {}, "metrics": {}, "dataset": {"id": "d-0", "name": "d"}, "judged_on": "t"}
    return Answered(name, name, card, "test", np.arange(len(truth)), prob, truth, decided, np.zeros((0, 3)))


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).random((300, 3)) < 0.4


def compared(*models: Answered, groups: np.ndarray | None = None) -> comparing.Comparison:
    held = np.arange(len(models[0].truth)) if groups is None else groups
    return comparing.compare(models, held, rng=np.random.default_rng(0), n_boot=300, n_perm=299)


def test_a_better_model_is_found_and_equal_ones_are_not(truth: np.ndarray) -> None:
    found = compared(planted("A", truth, 0.5, 1), planted("B", truth, 0.9, 2), planted("C", truth, 0.5, 3))
    assert found.order("micro_f1")[0] == "B"
    told = {(pair.first, pair.second): pair.told for pair in found.pairs("micro_f1")}
    assert told == {("A", "B"): True, ("A", "C"): False, ("B", "C"): True}
    first, second = found.sentences("micro_f1")
    assert first.startswith("B beats ") and "points of micro-F1 (" in first
    assert "cannot be told from" in second
    assert "Holm-corrected over 3 pairs" in found.footnote("micro_f1")


def test_the_interval_is_that_of_the_difference_on_the_same_resamples(truth: np.ndarray) -> None:
    model = planted("A", truth, 0.6, 1)
    (pair,) = compared(model, replace(model, id="B", name="B")).pairs("macro_f1")
    assert (pair.value, pair.low, pair.high, pair.p, pair.only_first) == (0, 0, 0, 1, 0)


def test_lower_is_better_for_errors(truth: np.ndarray) -> None:
    found = compared(planted("A", truth, 0.3, 1), planted("B", truth, 0.95, 2))
    (pair,) = found.pairs("brier")
    assert pair.value > 0 and pair.told and found.order("brier") == ["B", "A"]


def test_groups_widen_the_interval() -> None:
    base = np.random.default_rng(1).random((60, 3)) < 0.4
    one, other = planted("A", base, 0.5, 1), planted("B", base, 0.6, 2)

    def five_times(model: Answered) -> Answered:
        parts = {name: np.repeat(getattr(model, name), 5, axis=0) for name in ("truth", "decided", "probabilities")}
        return replace(model, positions=np.arange(300), **parts)

    copies = (five_times(one), five_times(other))
    alone, grouped = (
        compared(*copies, groups=groups).pairs("micro_f1")[0] for groups in (np.arange(300), np.arange(300) // 5)
    )
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_one_label_per_item_is_compared_too() -> None:
    truth = np.eye(3, dtype=bool)[np.random.default_rng(0).integers(0, 3, 200)]
    found = compared(planted("A", truth, 0.2, 1, "one"), planted("B", truth, 0.9, 2, "one"))
    assert found.pairs("balanced_accuracy")[0].told
    assert found.interval(1, "balanced_accuracy") is not None


def test_eleven_models_can_be_told_apart(truth: np.ndarray) -> None:
    assert comparing.exchanges_for(1) == 999 and comparing.exchanges_for(400) == comparing.MOST_PERM
    assert all(pairs / (1 + comparing.exchanges_for(pairs)) <= 0.01 for pairs in (1, 10, 55, 91))
    models = [planted(f"m{number}", truth, 0.95 if number == 4 else 0.2, number) for number in range(11)]
    found = comparing.compare(models, np.arange(300), rng=np.random.default_rng(0), n_boot=50)
    told = [pair for pair in found.pairs("micro_f1") if "m4" in (pair.first, pair.second)]
    assert len(told) == 10 and all(pair.told and pair.p_holm <= 0.01 for pair in told)
    assert "5,499 exchanges" in found.footnote("micro_f1")


def test_the_mean_auc_is_compared_as_delong_does() -> None:
    truth = np.random.default_rng(3).random((400, 3)) < 0.3
    truth[:, 1:] = False  # one label with both kinds: the mean is its area
    one, other = planted("A", truth, 0.2, 1), planted("B", truth, 0.4, 2)
    found = comparing.compare([one, other], np.arange(400), rng=np.random.default_rng(0))
    exact = comparing_tests.delong(truth[:, 0], np.stack([one.probabilities[:, 0], other.probabilities[:, 0]]))
    (pair,) = found.pairs("auc")
    apart = exact.difference(0, 1)
    assert found.point["auc"] == pytest.approx(exact.auc)
    assert (pair.value, pair.low, pair.high) == pytest.approx((apart.value, apart.low, apart.high), abs=0.006)
    assert pair.p == pytest.approx(apart.p, abs=0.03)
    assert found.interval(0, "auc") == pytest.approx(exact.interval(0), abs=0.006)
    table = comparing_areas.label_areas([one, other], "a")
    assert table is not None and table.areas["A"][0] == pytest.approx(float(exact.auc[0]))
    assert comparing_areas.label_areas([one, other], "b") is None


def test_areas_are_corrected_over_all_pairs() -> None:
    truth = np.random.default_rng(3).random((200, 3)) < 0.3
    skills = {"A": 0.2, "B": 0.25, "C": 0.3, "D": 0.5}
    models = [planted(name, truth, skill, seed) for seed, (name, skill) in enumerate(skills.items())]
    found = comparing_areas.label_areas(models, "a")
    assert found is not None and len(found.pairs) == 6
    assert [pair.p_holm for pair in found.pairs] == comparing_tests.holm([pair.p for pair in found.pairs])
    best, *others = found.areas
    assert found.behind(best) is None
    for name in others:
        behind = found.behind(name)
        assert behind is not None and behind.value == pytest.approx(found.areas[best][0] - found.areas[name][0])
        assert behind.low <= behind.value <= behind.high


def test_models_on_other_items_are_refused(truth: np.ndarray) -> None:
    model = planted("A", truth, 0.5, 1)
    with pytest.raises(MedbenchError, match="found B on others"):
        compared(model, replace(model, id="B", positions=model.positions + 1))


def test_the_sentence_is_written_out() -> None:
    pair = Pair("a", "b", "micro_f1", 0.018, 0.004, 0.031, 0.002, 0.012, 3, 9, 0.1)
    even = Pair("b", "c", "micro_f1", -0.002, -0.01, 0.008, 0.6, 0.6, 3, 4, 0.9)
    other = replace(pair, second="c", p_holm=0.2)
    told = comparing_verdict.sentences(["b", "c", "a"], [pair, even, other], {"a": "A", "b": "B", "c": "C"})
    assert told == [
        "B beats A by 1.8 points of micro-F1 (0.4–3.1, p = .012); it cannot be told from C.",
        "C cannot be told from A.",
    ]


def test_p_values_are_written_as_journals_do() -> None:
    assert [comparing_verdict.p_words(p) for p in (0.0004, 0.012, 1.0)] == ["p < .001", "p = .012", "p = 1.000"]


def test_majority_gives_everything_the_most_frequent_label(truth: np.ndarray) -> None:
    items = comparing_judged.JudgedItems(np.arange(300), np.array([0.1, 0.7, 0.2]))
    dull = comparing_judged.majority(planted("A", truth, 0.5, 1), items)
    assert dull.decided.sum(axis=0).tolist() == [0, 300, 0]


def test_options_that_differ_and_seeds_that_repeat() -> None:
    def card(name: str, seed: int, cost: int, value: float) -> dict[str, Any]:
        scores = {"micro_f1": {"value": value}}
        return {"id": name, "name": "svm", "family": "linear", "options": {"C": cost}, "seed": seed, "metrics": scores}

    cards = [card("x", 0, 1, 0.7), card("y", 1, 1, 0.8), card("z", 0, 3, 0.1)]
    assert comparing_judged.differences(cards) == {"x": "C=1, seed=0", "y": "C=1, seed=1", "z": "C=3, seed=0"}
    (one,) = comparing_judged.repeated(cards, "micro_f1")
    assert (one.ids, one.mean) == (("x", "y"), pytest.approx(0.75))


def test_a_real_run_can_be_loaded_and_stands_against_the_majority(trained: tuple[Workspace, str]) -> None:
    place, run = trained
    model = comparing_judged.answered(place, run)
    items = comparing_judged.items_of(place, model)
    assert len(items.groups) == len(model.truth) and model.split == "test"
    assert len(model.raw_reliability) and model.raw_reliability[:, 2].sum() == model.truth.size
    found = compared(model, comparing_judged.majority(model, items), groups=items.groups)
    assert found.order("micro_f1") == [run, comparing_judged.MAJORITY]
    assert found.point["micro_f1"][0] == pytest.approx(model.card["metrics"]["micro_f1"]["value"], abs=1e-5)


def test_models_of_other_items_are_fenced_off(full_workspace: Workspace) -> None:
    place = full_workspace
    (card,) = [one for one in comparing_judged.cards(place) if not one["id"].startswith("starter-")]
    other = {**card, "id": "other", "dataset": {**card["dataset"], "id": "else-0123456789", "name": "Else"}}
    bare = {**card, "id": "bare"}
    for one in (other, bare):
        (place.models / one["id"]).mkdir()
        write_json(place.models / one["id"] / "model.json", one)
    (place.models / "other" / "judged.npz").write_bytes((place.models / card["id"] / "judged.npz").read_bytes())
    kept, fenced = comparing_judged.fence(place, [card, other, bare])
    assert kept == [card["id"]]
    assert fenced["other"] == "judged on another dataset, “Else”"
    assert fenced["bare"].startswith("came without the answers")
    with pytest.raises(MedbenchError, match="the answers a model was judged by"):
        comparing_judged.answered(place, "bare")


def one_wrong(wrong: np.ndarray, truth: np.ndarray) -> Answered:
    return replace(planted("A", truth, 1.0, 0), decided=wrong)


def test_curves_meet_their_corners(truth: np.ndarray) -> None:
    model = planted("A", truth, 0.7, 1)
    roc, precise = comparing_figures.roc(model, "b"), comparing_figures.precision_recall(model, "b")
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert precise.x[-1] == 1 and precise.y[-1] == pytest.approx(truth[:, 1].mean())
    assert comparing_figures.reliability(model)[:, 2].sum() == truth.size


def test_a_threshold_by_hand() -> None:
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)
    model = replace(planted("A", truth, 1.0, 0), probabilities=np.array([[0.9], [0.4], [0.6], [0.1]]) * np.ones(3))
    found = comparing_figures.at_threshold(model, "a", 0.5)
    assert (found.decided, found.sensitivity, found.specificity, found.precision) == (2, 1 / 2, 1 / 2, 1 / 2)
    assert comparing_figures.at_threshold(model, "a", 0.99).f1 == 0


def test_labels_by_how_often_training_saw_them() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    decided = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    model = one_wrong(decided, truth)
    rows = comparing_figures.by_frequency([model], [5, 40, 2000])
    assert [(row["band"], row["n"], row["f1 A"]) for row in rows] == [
        ("under 10", 2, pytest.approx(2 / 3)),
        ("10 to 49", 2, pytest.approx(4 / 5)),
        ("1,000 and more", 0, 0.0),
    ]
    labels = comparing_figures.label_table([model], [5, 40, 2000])
    assert [(row["label"], row["learnt"]) for row in labels] == [("a", 5), ("b", 40)]


def test_training_counts_leave_out_the_judged_items(truth: np.ndarray) -> None:
    model = planted("A", truth, 0.5, 1)
    items = comparing_judged.JudgedItems(np.arange(300), np.array([0.5, 0.5, 0.5]))
    counts = (truth.sum(axis=0) + np.array([7, 8, 9])).tolist()
    card = {**model.card, "learnt_from": {"counts": counts, "splits": ["train", "validation", "test"]}}
    assert comparing_figures.learnt_counts(replace(model, card=card), items) == [7, 8, 9]
    card = {**model.card, "learnt_from": {"counts": counts, "splits": ["train", "validation"]}}
    assert comparing_figures.learnt_counts(replace(model, card=card), items) == counts
    # A card that says nothing: shares of the train split, of as many items as it has.
    bare = {key: value for key, value in model.card.items() if key != "learnt_from"}
    assert comparing_figures.learnt_counts(replace(model, card=bare), replace(items, n_train=40)) == [20, 20, 20]


def test_a_subgroup_has_its_own_metric_and_interval(truth: np.ndarray) -> None:
    model = planted("A", truth, 0.9, 1)
    items = comparing_judged.JudgedItems(np.arange(300), np.array([0.4, 0.4, 0.4]))
    rows = np.arange(50)
    found = comparing_figures.subgroup_metric(model, rows, items, "exact_match", np.random.default_rng(0))
    assert found.value == pytest.approx(model.right[rows].mean()) and found.n == 50
    assert found.low is not None and found.high is not None and found.low < found.value < found.high


def test_the_front_of_quality_and_cost() -> None:
    quality, cost = {"cheap": 0.6, "best": 0.8, "beaten": 0.7}, {"cheap": 1.0, "best": 5.0, "beaten": 6.0}
    assert comparing_figures.pareto(quality, cost, "micro_f1") == {"cheap", "best"}
    assert comparing_figures.pareto(quality, cost, "brier") == {"cheap"}


def test_errors_are_shares_of_all_labels_involved() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    decided = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    model = one_wrong(decided, truth)
    assert comparing_errors.item_errors(model).tolist() == [pytest.approx(2 / 3), 0, 0]
    assert comparing_errors.confusions(model) == [("b", "c", 1)]


def test_the_worst_answer_is_the_surest_wrong_one(truth: np.ndarray) -> None:
    model = planted("A", truth, 1.0, 1)
    model.probabilities[17] = np.where(truth[17], 0.001, 0.999)
    assert comparing_errors.worst(model)[0] == 17


@pytest.mark.parametrize("answer", ["many", "one"])
def test_planted_label_errors_are_found(answer: str) -> None:
    draw = np.random.default_rng(0)
    right = np.eye(3, dtype=bool)[draw.integers(0, 3, 200)]
    model = planted("A", right, 1.0, 1, answer)
    given = right.copy()
    given[:5] = np.roll(given[:5], 1, axis=1)
    found = comparing_errors.likely_label_errors(replace(model, truth=given))
    assert set(found[:5].tolist()) == set(range(5))


def test_models_of_one_name_are_told_apart_by_what_differs() -> None:
    like = {"family": "encoder", "options": {"epochs": 1}, "seed": 0}
    cards = [{"id": "run-aaaa", "name": "x", **like}, {"id": "run-bbbb", "name": "x", **like, "seed": 1}]
    assert comparing_judged.names_of(cards) == {"run-aaaa": "x (seed=0)", "run-bbbb": "x (seed=1)"}
    again = [*cards, {"id": "run-cccc", "name": "x", **like}, {"id": "run-dddd", "name": "y", **like}]
    told = comparing_judged.names_of(again)
    assert list(told.values()) == ["x (aaaa)", "x (seed=1)", "x (cccc)", "y"]
    other = [{"id": "run-aaaa", "name": "x", "family": "linear"}, {"id": "run-bbbb", "name": "x", "family": "keywords"}]
    assert list(comparing_judged.names_of(other).values()) == [
        "x (aaaa)",
        "x (bbbb)",
    ]  # nothing that both can differ in


def test_every_number_to_beat_is_told_once() -> None:
    def card(id: str, name: str, before: float, seed: int = 0) -> dict[str, Any]:
        figures = {"majority": 0.1, "keywords": 0.3, "linear": 0.4, "before tuning": before}
        held = {kind: {"micro_f1": {"value": value}} for kind, value in figures.items()}
        return {"id": id, "name": name, "family": "encoder", "seed": seed, "baselines": held}

    keywords = {"id": "k", "name": "k", "family": "keywords", "baselines": {"majority": {"micro_f1": {"value": 0.1}}}}
    alike = comparing_judged.baselines([card("a", "x", 0.5), card("b", "x", 0.5, 1), keywords])
    assert list(alike) == ["Always the most frequent label", "Linear (TF-IDF)", "x, before tuning"]
    assert alike["x, before tuning"]["micro_f1"]["value"] == 0.5
    apart = comparing_judged.baselines([card("a", "x", 0.5), card("b", "x", 0.6, 1)])
    assert list(apart)[2:] == ["Linear (TF-IDF)", "x (seed=0), before tuning", "x (seed=1), before tuning"]


def test_patients_behind_texts_are_groups_too(full_workspace: Workspace) -> None:
    (card,) = [one for one in comparing_judged.cards(full_workspace) if not one["id"].startswith("starter-")]
    path = full_workspace.dataset(card["dataset"]["id"]) / "rows.parquet"
    rows = pd.read_parquet(path)
    rows["x_Sex"] = ["F" if at % 2 else "male" for at in range(len(rows))]
    rows["x_age"] = [str(20 + at % 60) for at in range(len(rows))]
    rows["x_location"] = [f"ward {at}" for at in range(len(rows))]  # no site of a body, and as many as there are items
    rows.to_parquet(path)
    facts = comparing_errors.item_facts(full_workspace, comparing_judged.answered(full_workspace, card["id"]))
    assert set(facts) == {"length", "year", "age", "sex"}
    assert set(facts["sex"]) == {"female", "male"} and "60 to 74" in facts["age"]


def test_lengths_go_into_bands() -> None:
    told = [comparing_errors.length_band(words) for words in (0, 99, 100, 399, 800)]
    assert told == ["under 100 words", "under 100 words", "100 to 199 words", "200 to 399 words", "800 words and more"]


def test_what_is_known_of_texts_and_of_pictures(
    trained: tuple[Workspace, str], trained_lesions: tuple[Workspace, str]
) -> None:
    place, run = trained
    model = comparing_judged.answered(place, run)
    facts = comparing_errors.item_facts(place, model)
    assert set(facts) == {"length", "year"} and set(facts["year"]) == {"2020 to 2024"}
    place, run = trained_lesions
    pictures = comparing_judged.answered(place, run)
    facts = comparing_errors.item_facts(place, pictures)
    assert {len(values) for values in facts.values()} == {len(pictures.truth)}
    assert "skin tone" in facts


def test_a_sheet_leaves_in_every_format(full_workspace: Workspace, tmp_path: Any) -> None:
    place = full_workspace
    (card,) = [one for one in comparing_judged.cards(place) if not one["id"].startswith("starter-")]
    source, twin = place.models / card["id"], place.models / "twin"
    twin.mkdir()
    (twin / "judged.npz").write_bytes((source / "judged.npz").read_bytes())
    write_json(twin / "model.json", {**card, "id": "twin", "name": "twin", "seed": 1})
    sheet = comparing_sheet.compared(place, [card["id"], "twin", "starter-icd"])
    assert sheet["sentences"] == [f"{card['name']} cannot be told from twin."]
    assert "starter-icd" in sheet["fenced"]
    for name in ("a.json", "a.csv", "a.md", "a.tex"):
        comparing_sheet.write(sheet, tmp_path / name)
        assert "twin" in (tmp_path / name).read_text()
    answer = TestClient(api.mounted(place)).get("/api/compare", params={"model": [card["id"], "twin"]})
    assert answer.json()["sentences"] == sheet["sentences"]
    alone = TestClient(api.mounted(place)).get("/api/compare", params={"model": [card["id"], "starter-icd"]})
    assert alone.status_code == 400 and "judged on the same items" in alone.json()["expected"]
    with pytest.raises(MedbenchError, match="a file that ends in"):
        comparing_sheet.write(sheet, tmp_path / "a.docx")
    with pytest.raises(MedbenchError, match="two models judged on the same items"):
        comparing_sheet.compared(place, [card["id"], "starter-icd"])
    with pytest.raises(MedbenchError, match="a metric, found 'auc_micro'"):
        comparing_sheet.compared(place, [card["id"], "twin"], "auc_micro")
    areas = comparing_sheet.compared(place, [card["id"], "twin"], "auc")
    assert areas["sentences"] == [f"{card['name']} cannot be told from twin."]
    assert {one["label"] for one in areas["areas"]} <= set(card["labels"]) and areas["areas"][0]["pairs"][0][
        "p_holm"
    ] == 1
    shown = comparing_sheet.areas_table(areas)
    assert (
        shown is not None and list(shown.columns[:2]) == ["label", "n"] and comparing_sheet.areas_table(sheet) is None
    )
