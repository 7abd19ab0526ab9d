"""The coding field's figures, each on a table worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medbench import code_metrics

LABELS = ("icd10cm:E11.9", "icd10cm:E11.8", "icd10cm:I10", "icd10cm:R50.9")
TRUTH = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
PROB = np.array([[0.9, 0.8, 0.3, 0.1], [0.7, 0.2, 0.1, 0.6], [0.1, 0.2, 0.3, 0.4]])
DECIDED = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)


def rng():
    return np.random.default_rng(0)


def values(found):
    return {name: metric.value for name, metric in found.items()}


def test_full_codes():
    found = values(code_metrics.figures(TRUTH, PROB, DECIDED, rng=rng()))
    assert found["micro_precision"] == pytest.approx(1 / 3)
    assert found["micro_recall"] == pytest.approx(1 / 3)
    assert found["micro_f1"] == pytest.approx(2 * 1 / (3 + 3))
    # First item: ranks 1 and 3; second: rank 3. Items without a code do not count.
    assert found["map"] == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 3) / 2)
    assert found["exact_match"] == pytest.approx(1 / 3)
    # With four labels the first eight are all four.
    assert found["p_at_8"] == pytest.approx((2 / 8 + 1 / 8 + 0) / 3)
    assert found["r_at_15"] == pytest.approx((2 / 2 + 1 / 1) / 2)


def test_codes_without_a_column_count_against_the_model():
    missed = np.array([2, 0, 1])
    found = values(code_metrics.figures(TRUTH, PROB, DECIDED, rng=rng(), missed=missed))
    assert found["micro_recall"] == pytest.approx(1 / 6)
    assert found["micro_f1"] == pytest.approx(2 * 1 / (3 + 6))
    assert found["map"] == pytest.approx(((1 / 1 + 2 / 3) / 4 + 1 / 3 + 0) / 3)
    assert found["r_at_8"] == pytest.approx((2 / 4 + 1 / 1 + 0) / 3)
    assert found["exact_match"] == 0


def test_precision_and_recall_at_eight_of_twenty():
    truth = np.zeros((1, 20), dtype=bool)
    truth[0, [0, 5, 7, 8, 19]] = True
    prob = np.linspace(1, 0, 20)[None]
    found = values(code_metrics.figures(truth, prob, truth, rng=rng(), n_boot=0))
    assert (found["p_at_8"], found["r_at_8"]) == pytest.approx((3 / 8, 3 / 5))
    assert (found["p_at_15"], found["r_at_15"]) == pytest.approx((4 / 15, 4 / 5))
    assert found["micro_f1"] == found["exact_match"] == 1


def test_three_characters_fold_the_columns():
    names, truth, prob, decided = code_metrics.folded(LABELS, TRUTH, PROB, DECIDED)
    assert names == ("icd10cm:E11", "icd10cm:I10", "icd10cm:R50")
    assert truth.tolist() == [[True, True, False], [True, False, False], [False] * 3]
    assert prob[0].tolist() == [0.9, 0.3, 0.1]
    found = values(code_metrics.figures(truth, prob, decided, rng=rng()))
    assert found["micro_precision"] == 2 / 2 and found["micro_recall"] == pytest.approx(2 / 3)
    assert code_metrics.category_of("strange.9") == "strange"


def test_groups_of_codes():
    chapters = [code_metrics.chapter_of(label) for label in LABELS]
    assert chapters[0] == chapters[1] != chapters[2] and "ndocrine" in chapters[0]
    assert code_metrics.chapter_of("nothing") == "in no code table"
    rows = {row.name: row for row in code_metrics.by_group(TRUTH, DECIDED, chapters)}
    endocrine = rows[chapters[0]]
    assert (endocrine.codes, endocrine.n) == (2, 2)
    assert (endocrine.precision, endocrine.recall) == pytest.approx((1 / 3, 1 / 2))
    assert endocrine.f1 == pytest.approx(2 * 1 / (3 + 2))
    assert [code_metrics.frequency_of(n) for n in (0, 1, 4, 5, 20)] == [
        "never", "once", "2 to 4 times", "5 to 19 times", "20 times or more"
    ]  # fmt: skip


def test_the_card_counts_unknown_codes_at_their_category():
    unknown = [["icd10cm:R50.81", "icd10cm:J18.9"], [], []]
    card = code_metrics.card_figures(
        LABELS, TRUTH, PROB, DECIDED, learnt=[9, 1, 30, 0], rng=rng(), unknown=unknown, n_boot=50
    )
    assert card["unknown"] == 2
    assert card["full"]["micro_recall"]["value"] == pytest.approx(1 / 5)
    # E11 and I10, and R50 for the unknown R50.81, are columns; J18 is not: 2 right of 2 + 1 + 1 + 1.
    assert card["category"]["micro_recall"]["value"] == pytest.approx(2 / 5)
    assert [row["name"] for row in card["frequency"]] == ["never", "once", "5 to 19 times", "20 times or more"]
    assert card["chapters"][0]["n"] == 2
    full = card["full"]["micro_f1"]
    assert full["low"] <= full["value"] <= full["high"]


def test_evidence_overlap_in_characters():
    assert code_metrics.evidence_overlap([(0, 10)], [(5, 15)]) == pytest.approx(5 / 15)
    assert code_metrics.evidence_overlap([(0, 4), (2, 6)], [(0, 6)]) == 1
    assert code_metrics.evidence_overlap([], [(0, 3)]) == 0
    assert code_metrics.evidence_overlap([], []) == 1


def test_nothing_to_judge():
    assert code_metrics.figures(TRUTH[:0], PROB[:0], DECIDED[:0], rng=rng()) == {}
