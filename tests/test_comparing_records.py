"""The records behind a cell, worked by hand: four items, three labels, two models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medbench import comparing_judged, comparing_records, datasets
from medbench.comparing_judged import Answered
from medbench.comparing_records import (
    KINDS,
    TRUTH,
    Said,
    Selection,
    behind,
    by_kind,
    missed_for,
    on_label,
    partings,
    sentence,
)
from medbench.workspace import Workspace

LABELS = ("a", "b", "c")
#              item 0     item 1     item 2     item 3
TRUE = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)
ONE = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)  # 1: c for b; 3: a too much
TWO = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]], dtype=bool)  # 2: a for b; 3: a too much


def model(name: str, decided: np.ndarray, sure: tuple[float, ...], answer: str = "many") -> Answered:
    """A model whose probability of what it decided is `sure` of each item."""
    prob = np.where(decided, np.array(sure)[:, None], 1 - np.array(sure)[:, None]).astype(np.float32)
    card: dict[str, Any] = {"id": name, "name": name, "answer": answer, "labels": list(LABELS), "label_names": {}}
    return Answered(name, name, card, "test", np.arange(len(decided)), prob, TRUE, decided, np.zeros((0, 3)))


@pytest.fixture
def models() -> tuple[Answered, Answered]:
    return model("A", ONE, (0.9, 0.8, 0.7, 0.6)), model("B", TWO, (0.9, 0.9, 0.9, 0.9))


def positions(selection: Selection, models: tuple[Answered, Answered], **more: Any) -> dict[str, list[int]]:
    return {kind: np.flatnonzero(flags).tolist() for kind, flags in by_kind(selection, models, **more).items()}


def test_whole_records(models: tuple[Answered, Answered]) -> None:
    assert positions(Selection("A", "B"), models) == {
        "differ": [1, 2], "only_first": [2], "only_second": [1], "both_wrong": [3], "both_right": [0],
        "all": [0, 1, 2, 3],
    }  # fmt: skip


def test_one_label_counts_the_items_where_it_is_true_or_decided(models: tuple[Answered, Answered]) -> None:
    assert positions(Selection("A", "B", labels=("b",)), models) == {
        "differ": [1, 2], "only_first": [2], "only_second": [1], "both_wrong": [], "both_right": [], "all": [1, 2]
    }  # fmt: skip
    both = positions(Selection("A", "B", labels=("b", "c")), models)
    assert (both["all"], both["both_right"]) == ([1, 2, 3], [3])


def test_what_is_said_of_truth_and_answers(models: tuple[Answered, Answered]) -> None:
    cells = {
        (has, given): positions(
            Selection("A", "B", labels=("a",), said=(Said(TRUTH, "a", has), Said("A", "a", given))), models
        )["all"]
        for has in (True, False)
        for given in (True, False)
    }
    # Found, missed, wrongly given, rightly left out: together every item, as in a 2 x 2 table.
    assert cells == {(True, True): [0, 1], (True, False): [], (False, True): [3], (False, False): [2]}
    assert behind(missed_for(models[0], "B", "b", "c"), models).tolist() == [1]
    assert behind(missed_for(models[1], "A", "b", "a"), models).tolist() == [2]


def test_a_group_and_a_threshold(models: tuple[Answered, Answered]) -> None:
    facts = {"length": ["short", "long", "short", "long"]}
    group = Selection("A", "B", group=("length", "long"))
    assert positions(group, models, facts=facts)["differ"] == [1]
    # From .65 on A no longer gives item 3 the label a (.6), B still does (.9).
    strict = Selection("A", "B", labels=("a",), threshold=0.65)
    assert positions(strict, models)["only_first"] == [2, 3]
    missed = Selection("A", "B", "all", ("c",), (Said(TRUTH, "c"), Said("A", "c", False)), threshold=0.65)
    assert behind(missed, models).tolist() == [3]


def test_kinds_other_than_difference_share_out_all(models: tuple[Answered, Answered]) -> None:
    for selection in (Selection("A", "B"), Selection("A", "B", labels=("a",)), on_label(*models, "c")):
        flags = by_kind(selection, models)
        assert set(flags) == set(KINDS)
        parts = sum(flags[kind].astype(int) for kind in ("only_first", "only_second", "both_wrong", "both_right"))
        assert parts.tolist() == flags["all"].astype(int).tolist()


def test_which_come_first() -> None:
    one, other = model("A", ONE, (0.9, 0.6, 0.9, 0.6)), model("B", TWO, (0.9, 0.6, 0.9, 0.9))
    # Item 1: .6 against .4 for b and c, apart by .2; item 2: .9 against .1, apart by .8.
    assert behind(Selection("A", "B"), (one, other)).tolist() == [2, 1]
    # What A believed of the truth: item 3 (.4 x .6 x .6), item 1 (.6 x .4 x .4), then items 0 and 2 (.9 ^ 3).
    assert behind(Selection("A", "B", "all"), (one, other)).tolist() == [1, 3, 0, 2]


def test_partings_count_what_their_selection_opens(models: tuple[Answered, Answered]) -> None:
    whole, *labels = partings(*models)
    assert (whole.label, whole.n, whole.both_right, whole.only_first, whole.only_second, whole.both_wrong) == (
        None, 4, 1, 1, 1, 1
    )  # fmt: skip
    assert {one.label: (one.n, one.only_first, one.only_second) for one in labels} == {
        "a": (4, 1, 0), "b": (2, 1, 1), "c": (2, 0, 1)
    }  # fmt: skip
    assert [one.label for one in labels] == ["b", "a", "c"]


def test_with_one_label_per_item_a_label_means_the_items_that_carry_it() -> None:
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 2]]
    said = np.eye(3, dtype=bool)[[0, 1, 0, 2]]
    first, second = (
        Answered(
            one.id, one.name, one.card, "test", one.positions, one.probabilities, truth, decided, one.raw_reliability
        )
        for one, decided in ((model("A", said, (0.9,) * 4, "one"), said), (model("B", truth, (0.9,) * 4, "one"), truth))
    )
    assert behind(Selection("A", "B", "all", said=(Said(TRUTH, "a"), Said("A", "b"))), (first, second)).tolist() == [1]
    assert {one.label: (one.n, one.only_second) for one in partings(first, second)[1:]} == {
        "a": (2, 1), "b": (1, 1), "c": (1, 0)
    }  # fmt: skip


def test_a_selection_says_what_it_is(models: tuple[Answered, Answered]) -> None:
    names = {"A": "linear", "B": "words"}

    def told(selection: Selection) -> str:
        return sentence(selection, names, str.upper)

    assert told(Selection("A", "B")) == "Right: every label of the record."
    assert told(missed_for(models[0], "B", "b", "c")) == (
        "True: B; linear does not say B; linear says C; not true: C. Right: every label of the record."
    )
    group = Selection("A", "B", labels=("a", "b"), group=("length", "long"), threshold=0.5)
    assert told(group) == "Length: long; decided from 50 % on. Right: 2 labels, given where true and nowhere else."
    assert comparing_records.kind_words(group, names)["only_second"] == "only words right"


def test_real_records_become_a_table(trained: tuple[Workspace, str]) -> None:
    place, run = trained
    real = comparing_judged.answered(place, run)
    dull = comparing_judged.majority(real, comparing_judged.items_of(place, real))
    selection = Selection(real.id, dull.id, labels=(real.labels[0],))
    rows = behind(selection, (real, dull))
    names = {real.id: "linear", dull.id: "dull"}
    dataset = datasets.load(place, str(real.card["dataset"]["id"]))
    frame = comparing_records.table(dataset, (real, dull), rows, selection, names, str)
    assert list(frame.columns) == [
        "row", "id", "title", "text", "true", "linear says", "linear right", f"linear: {real.labels[0]}", "dull says",
        "dull right", f"dull: {real.labels[0]}",
    ]  # fmt: skip
    assert (frame["row"] - 1).tolist() == real.positions[rows].tolist() and len(frame) > 0
    assert all(set(pair) == {"yes", "no"} for pair in zip(frame["linear right"], frame["dull right"], strict=True))
    held = dataset.rows([int(frame["row"][0]) - 1])[0]
    assert frame["true"][0] == "; ".join(sorted(held["labels"])) and held["text"].startswith(frame["text"][0][:50])
