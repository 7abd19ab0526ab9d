"""The words that a model shows, against the words that annotators marked."""

from __future__ import annotations

import numpy as np
import pytest
from test_coder import CODES, fitting, notes

from medbench import evidence_figures as figures
from medbench.carding import code_figures
from medbench.events import Say
from medbench.families.coder import FAMILY
from medbench.judging import judge


@pytest.fixture(scope="module")
def judged():
    parts = {"train": notes(), "validation": notes(20, 1), "test": notes(20, 2)}
    return judge(FAMILY, FAMILY.parse({}), parts, fitting=fitting(), keep_learning=True), parts


def test_evidence_is_measured_on_right_answers_of_test_items(judged):
    found, parts = judged
    right = int((found.outcome.decided & parts["test"].truth).sum())
    assert found.evidence["n"] == found.evidence["of"] == right > 10
    overlap = found.evidence["overlap"]
    assert 0 <= overlap["low"] <= overlap["value"] <= overlap["high"] <= 1
    assert overlap["value"] > 0.5  # the notes name each finding in the words that were marked
    assert found.evidence["touching"] >= overlap["value"]
    assert code_figures(found, parts, np.random.default_rng(0))["evidence"] == found.evidence


def test_the_share_is_that_of_the_explanations_themselves(judged):
    found, parts = judged
    test = parts["test"]
    (first, *_) = test.marks[0]
    decided = np.zeros_like(test.truth)
    decided[0, CODES.index(first.label)] = True
    told = figures.evidence_figures(found.model, test, decided, Say())
    shown = {
        at
        for span in found.model.reasons(test.items[0], first.label).spans
        if span.weight > 0
        for at in range(span.start, span.end)
    }
    marked = set(range(first.start, first.end))
    assert told["overlap"]["value"] == pytest.approx(len(shown & marked) / len(shown | marked), abs=1e-5)
    assert (told["n"], told["of"], told["overlap"]["low"]) == (1, 1, None)


def test_without_marks_or_time_there_is_no_figure(judged):
    found, parts = judged
    test = parts["test"]
    bare = notes(20, 2, marked=False)
    assert figures.evidence_figures(found.model, bare, test.truth, Say()) is None
    assert figures.evidence_figures(found.model, test, ~test.truth, Say()) is None
    late = figures.evidence_figures(found.model, test, test.truth, Say(), seconds=-1)
    assert late is None
