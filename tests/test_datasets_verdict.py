"""The verdict: each trap is planted and found, and a clean set raises no alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medbench import plots, verdict
from medbench.duplicates import NEAR, Union, find_duplicates
from medbench.phrasing import finding, percent
from medbench.records import Finding

STARTS, ENDS = ("ba", "ce", "di", "fo", "gu", "ly", "me", "no", "pa", "ri"), ("lin", "mor", "tas", "ven", "zol")
VOCABULARY = [start + end for start in STARTS for end in ENDS]


def text(seed: int, words: int = 60) -> str:
    return " ".join(np.random.default_rng(seed).choice(VOCABULARY, words))


def frame_of(texts: Sequence[str], labels: Sequence[list[str]], **columns: Sequence[str]) -> pd.DataFrame:
    n = len(texts)
    base: dict[str, Any] = {
        "id": [f"i{row}" for row in range(n)],
        "title": [""] * n,
        "text": list(texts),
        "labels": list(labels),
        "labelled": [bool(held) for held in labels],
        "group": [""] * n,
        "cluster": [""] * n,
        "split": [""] * n,
        "source": ["f"] * n,
        "line": list(range(n)),
    }
    return pd.DataFrame({**base, **columns})


def judged(frame: pd.DataFrame, answer: str = "one", **options: Any) -> dict[str, Finding]:
    labels = sorted({label for held in frame["labels"] for label in held})
    found = verdict.judge(frame, answer, labels, **options).findings  # type: ignore[arg-type]
    return {one.kind: one for one in found}


def plain(n: int = 60) -> tuple[list[str], list[list[str]]]:
    return [text(row) for row in range(n)], [[("x", "y", "z")[row % 3]] for row in range(n)]


def test_a_clean_set_raises_no_alarm() -> None:
    found = judged(frame_of(*plain()))
    assert {one.severity for one in found.values()} == {"info"}
    assert set(found) == {"lengths"}


def test_the_ceiling_of_contradictory_rows_by_hand() -> None:
    texts = [text(1)] * 3 + [text(2)] * 2 + [text(3)]
    labels = [["a"], ["a"], ["b"], ["a"], ["b"], ["b"]]
    one = judged(frame_of(texts, labels))["conflicting_labels"]
    # text 1: 2 of 3, text 2: 1 of 2, text 3: 1 of 1
    assert one.value == pytest.approx(4 / 6)
    assert (one.severity, one.count, one.rows) == ("stop", 5, (0, 1, 2, 3, 4))
    assert one.detail["groups"] == [[0, 1, 2], [3, 4]]
    assert "right for more than 66.7 % of rows" in one.sentence


def test_equal_label_sets_in_another_order_are_no_conflict() -> None:
    texts = [text(1)] * 2 + [text(row) for row in range(10, 30)]
    labels = [["a", "b"], ["b", "a"], *([["a"], ["b"]] * 10)]
    assert "conflicting_labels" not in judged(frame_of(texts, labels), "many")


def test_duplicates_are_given_as_groups_and_stay_together() -> None:
    texts, labels = plain()
    texts[7] = texts[3].upper().replace(" ", ",  ", 5)
    texts[9] = texts[4] + " added"
    judgement = verdict.judge(frame_of(texts, labels), "one", ["x", "y", "z"])
    found = {one.kind: one for one in judgement.findings}
    assert found["exact_duplicates"].detail["groups"] == [[3, 7]]
    assert found["near_duplicates"].detail["groups"] == [[4, 9]]
    assert judgement.clusters[3] == judgement.clusters[7]
    assert judgement.clusters[4] == judgement.clusters[9]
    assert len(set(judgement.clusters)) == 58


def test_groups_ids_and_texts_cluster_together() -> None:
    texts, labels = plain(6)
    texts[1] = texts[0]
    ids = ["a", "b", "c", "c", "d", "e"]
    frame = frame_of(texts, labels, id=ids, group=["", "g", "g", "", "", ""])
    clusters = verdict.judge(frame, "one", ["x", "y", "z"]).clusters
    assert clusters[0] == clusters[1] == clusters[2] == clusters[3]
    assert len(set(clusters)) == 3


def test_a_group_that_holds_most_rows_stops() -> None:
    found = judged(frame_of(*plain(), group=["same"] * 40 + [""] * 20))
    assert found["one_cluster"].severity == "stop"
    assert found["one_cluster"].value == pytest.approx(40 / 60)


def test_classes_too_small_for_a_split_stop() -> None:
    texts, labels = plain(40)
    labels[0], labels[1], labels[2] = ["once"], ["twice"], ["twice"]
    found = judged(frame_of(texts, labels))
    assert (found["classes_too_small"].severity, found["classes_too_small"].rows) == ("stop", (0,))
    assert found["classes_small"].detail["labels"] == ["twice"]
    assert judged(frame_of(texts, [["x"]] * 40))["one_class"].severity == "stop"
    assert set(judged(frame_of(texts, [[]] * 40))) == {"unlabelled", "lengths"}


def test_empty_texts_and_missing_labels_are_counted() -> None:
    texts, labels = plain(30)
    texts[2] = ""
    labels[5] = []
    frame = frame_of(texts, labels)
    frame.loc[3, ["title", "text"]] = ["Only a title", ""]
    found = judged(frame)
    assert found["empty"].rows == (2,)
    assert found["no_text"].rows == (3,)
    assert found["no_label"].rows == (5,)


def test_leaks_across_the_files_own_splits() -> None:
    texts, labels = plain()
    texts[50] = texts[0]
    texts[51] = texts[1] + " more"
    split = ["train"] * 40 + ["dev"] * 5 + ["test"] * 15
    ids = [f"i{row}" for row in range(60)]
    ids[52] = "i2"
    group = [""] * 60
    group[3] = group[53] = "patient"
    found = judged(frame_of(texts, labels, split=split, id=ids, group=group))
    for kind, row in (("leak_text", 50), ("leak_near_text", 51), ("leak_id", 52), ("leak_group", 53)):
        assert found[kind].rows == (row,), kind
        assert found[kind].value == pytest.approx(1 / 20)
    assert found["repeated_ids"].rows == (2, 52)
    assert "1 of 20 held-out rows (5.0 %)" in found["leak_text"].sentence


def test_a_column_whose_value_tells_the_label_is_found() -> None:
    texts, labels = plain(90)
    told = [{"x": "1", "y": "2", "z": "3"}[held[0]] for held in labels]
    noise = [("p", "q")[row // 2 % 2] for row in range(90)]
    unique = [f"u{row}" for row in range(90)]
    found = verdict.judge(
        frame_of(texts, labels, x_code=told, x_noise=noise, x_unique=unique), "one", ["x", "y", "z"]
    ).findings
    columns = [one.detail["column"] for one in found if one.kind == "give_away_column"]
    assert columns == ["code"]


def test_a_column_that_names_the_label_is_found_and_chance_is_not() -> None:
    names = ["cardiology", "urology", "surgery"]
    texts = [text(row) for row in range(60)]
    labels = [[names[row % 3]] for row in range(60)]
    keywords = [f"note {row}, {names[row % 3].upper()}, pain" for row in range(60)]
    everything = [f"{row} cardiology urology surgery" for row in range(60)]
    found = verdict.judge(frame_of(texts, labels, x_keywords=keywords, x_all=everything), "one", names).findings
    away = [one for one in found if one.kind == "give_away_column"]
    assert [(one.detail["column"], one.value) for one in away] == [("keywords", 1.0)]


def test_a_keyword_rule_for_two_classes_is_found() -> None:
    texts = [text(row) + (" tumour" if row % 4 == 0 else " carcinoma" if row % 4 == 1 else "") for row in range(200)]
    labels = [["cancer" if row % 4 < 2 else "other"] for row in range(200)]
    one = judged(frame_of(texts, labels))["keyword_baseline"]
    assert one.value == 1.0
    assert one.detail["label"] == "cancer"
    assert len(one.detail["words"]) == 2
    assert "keyword_baseline" not in judged(frame_of([text(row) for row in range(200)], labels))


def test_patient_data_opens_its_rows() -> None:
    texts, labels = plain()
    texts[4] += " Seen by Dr. Lopez, MRN 123456."
    texts[8] += " Call 617-555-0134."
    one = judged(frame_of(texts, labels))["patient_data"]
    assert (one.rows, one.count) == ((4, 8), 2)
    assert set(one.detail["kinds"]) == {"name", "record_number", "phone"}


def test_rows_of_a_finding_are_all_counted_and_a_thousand_kept() -> None:
    one = finding("kind", "info", "Sentence.", range(5_000), 0.5, note="x")
    assert (one.count, len(one.rows), one.detail) == (5_000, 1_000, {"note": "x"})
    assert [percent(share) for share in (0, 0.004, 0.47, 0.956, 1)] == ["0 %", "0.4 %", "47 %", "95.6 %", "100 %"]


def test_share_cut_comes_from_the_stored_profile() -> None:
    frame = frame_of([text(row, 10 + row) for row in range(100)], [["x"]] * 100)
    stored = verdict.profile(frame, ["x"])
    assert stored["words"][0] == 10
    assert stored["words"][100] == 109
    assert verdict.share_cut(stored, 59) == pytest.approx(0.5, abs=0.02)
    assert verdict.share_cut(stored, 200) == 0


def shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def test_near_duplicates_are_those_that_brute_force_finds(rng: np.random.Generator) -> None:
    texts = [text(row, int(rng.integers(20, 80))).split() for row in range(40)]
    for original in range(40):
        for changes in (1, 2, 4, 8):
            copy = list(texts[original])
            for _ in range(changes):
                copy[int(rng.integers(len(copy)))] = str(rng.choice(VOCABULARY))
            texts.append(copy)
    union = Union(len(texts))
    sets = [shingles(words) for words in texts]
    for one in range(len(texts)):
        for other in range(one):
            if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= NEAR:
                union.join(one, other)
    found = find_duplicates([" ".join(words) for words in texts])
    assert found.near.tolist() == union.keys()
    assert len(found.near_groups()) > 10


def test_short_and_empty_texts_are_compared_word_for_word() -> None:
    found = find_duplicates(["", "A b c", "a, b; C!", "...", "a b d", "a b c d e f g h i", "a b c d e f g h j"])
    assert found.exact.tolist() == [-1, 1, 1, -1, 4, 5, 6]
    assert found.near.tolist() == [0, 1, 1, 3, 4, 5, 6]
    assert find_duplicates([]).exact_groups() == []


def test_plots_count_what_is_there(rng: np.random.Generator) -> None:
    texts = [text(row) + (" alpha alpha" if row % 2 else " beta") for row in range(40)]
    labels = [["odd", "third"] if row % 3 == 0 and row % 2 else ["odd"] if row % 2 else ["even"] for row in range(40)]
    frame = frame_of(texts, labels)
    bars = plots.label_distribution({"odd": 20, "even": 20, "third": 7}, {"odd": "Odd rows"})
    assert bars.to_dict("list") == {
        "label": ["even", "odd", "third"],
        "name": ["even", "Odd rows", "third"],
        "rows": [20, 20, 7],
    }
    lengths = plots.text_lengths(frame, ["odd"])
    assert lengths.groupby("label")["rows"].sum().to_dict() == {plots.ALL: 40, "odd": 20}
    network = plots.cooccurrence(frame, {}, rng)
    assert network.edges[["source", "target", "rows", "share"]].to_numpy().tolist() == [["odd", "third", 7, 1.0]]
    assert set(network.nodes["label"]) == {"odd", "even", "third"}
    again = plots.cooccurrence(frame, {}, np.random.default_rng(20_261))
    assert np.allclose(again.nodes[["x", "y"]], network.nodes[["x", "y"]])
    words = plots.distinctive_words(frame, ["odd", "even"], most=1)
    assert words[["label", "word"]].to_numpy().tolist() == [["odd", "alpha"], ["even", "beta"]]
    assert words["count"].tolist() == [40, 20]
    assert plots.distinctive_words(frame.iloc[:0], ["odd"]).empty
    assert plots.cooccurrence(frame.iloc[:0], {}, rng).nodes.empty


def test_log_odds_by_hand() -> None:
    here, elsewhere = np.array([9.0, 1.0]), np.array([1.0, 9.0])
    # prior 10 over two words of 10 each: alpha = 5; 14/6 against 6/14, variance 1/14 + 1/6
    expected = (np.log(14 / 6) - np.log(6 / 14)) / np.sqrt(1 / 14 + 1 / 6)
    assert plots.log_odds(here, elsewhere, 10.0) == pytest.approx([expected, -expected], rel=1e-6)
