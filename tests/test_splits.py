"""Splits: every row once, groups whole, labels in proportion, same seed same split."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from medbench.errors import MedbenchError
from medbench.records import SPLITS, Examples
from medbench.splits import SplitPlan, assign, folds, split_name, stratify


@some.composite
def labelled(draw: some.DrawFn) -> tuple[np.ndarray, list[str]]:
    n, n_labels = draw(some.integers(1, 80)), draw(some.integers(1, 6))
    rng = np.random.default_rng(draw(some.integers(0, 1000)))
    truth = rng.random((n, n_labels)) < rng.random(n_labels)
    return truth, [str(key) for key in rng.integers(0, draw(some.integers(1, 80)), n)]


@settings(max_examples=60)
@given(labelled(), some.integers(0, 50))
def test_every_row_once_groups_whole_same_seed_same_split(case: tuple[np.ndarray, list[str]], seed: int) -> None:
    truth, groups = case
    plan = SplitPlan(seed=seed)
    names = assign(truth, groups, plan)
    assert len(names) == len(groups)
    assert set(names) <= set(SPLITS)
    assert len({(group, name) for group, name in zip(groups, names, strict=True)}) == len(set(groups))
    assert assign(truth, groups, plan) == names


@settings(max_examples=40)
@given(labelled(), some.integers(2, 6))
def test_folds_part_all_rows_and_keep_groups(case: tuple[np.ndarray, list[str]], k: int) -> None:
    truth, groups = case
    labels = tuple(f"l{column}" for column in range(truth.shape[1]))
    examples = Examples([""] * len(truth), truth, labels, "many", tuple(groups))
    parts = folds(examples, k, np.random.default_rng(1))
    assert len(parts) == k
    assert sorted(int(row) for part in parts for row in part) == list(range(len(truth)))
    homes: dict[str, set[int]] = {}
    for number, part in enumerate(parts):
        for row in part:
            homes.setdefault(groups[row], set()).add(number)
    assert all(len(home) == 1 for home in homes.values())


@settings(max_examples=25)
@given(some.integers(0, 10_000))
def test_every_label_keeps_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((600, 5)) < np.array([0.5, 0.3, 0.2, 0.1, 0.05])
    groups = [str(key) for key in rng.integers(0, 500, 600)]
    names = np.array(assign(truth, groups, SplitPlan(seed=seed)))
    for name, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert abs((names == name).mean() - share) < 0.02
        for label in range(5):
            held = truth[:, label].sum()
            assert abs(truth[names == name, label].sum() - share * held) <= max(3, 0.03 * held)


def test_another_seed_gives_another_split() -> None:
    truth = np.eye(2, dtype=bool)[np.arange(100) % 2]
    groups = [str(row) for row in range(100)]
    assert assign(truth, groups, SplitPlan(seed=1)) != assign(truth, groups, SplitPlan(seed=2))


def test_a_share_of_nothing_stays_empty() -> None:
    truth = np.ones((40, 1), dtype=bool)
    names = assign(truth, [str(row) for row in range(40)], SplitPlan(shares=(0.8, 0.2, 0.0)))
    assert Counter(names) == {"train": 32, "validation": 8}


def test_the_rarest_label_reaches_every_part() -> None:
    truth = np.zeros((300, 2), dtype=bool)
    truth[:, 0] = True
    truth[[3, 77, 200], 1] = True
    parts = stratify(truth, [str(row) for row in range(300)], (1 / 3,) * 3, np.random.default_rng(0))
    assert sorted(parts[truth[:, 1]]) == [0, 1, 2]
    assert Counter(parts.tolist()) == {0: 100, 1: 100, 2: 100}


def test_the_files_own_words() -> None:
    words = ["Training", "dev", "TEST", "val", "valid", "other", ""]
    assert [split_name(word) for word in words] == [
        "train",
        "validation",
        "test",
        "validation",
        "validation",
        None,
        None,
    ]


def test_own_splits_are_kept_and_a_missing_validation_is_carved_out_of_train() -> None:
    truth = np.eye(2, dtype=bool)[np.arange(100) % 2]
    groups = [str(row // 2) for row in range(100)]
    own = ["train"] * 80 + ["test"] * 20
    names = assign(truth, groups, SplitPlan("file"), own)
    assert names[80:] == ["test"] * 20
    carved = Counter(names[:80])
    assert set(carved) == {"train", "validation"}
    assert carved["validation"] == 14
    assert all(names[row] == names[row + 1] for row in range(0, 80, 2))
    kept = assign(truth, groups, SplitPlan("file"), ["train"] * 60 + ["dev"] * 20 + ["test"] * 20)
    assert Counter(kept) == {"train": 60, "validation": 20, "test": 20}


def test_what_cannot_be_split_is_told() -> None:
    truth = np.ones((3, 1), dtype=bool)
    with pytest.raises(MedbenchError, match="a column with the file's own splits, found none"):
        assign(truth, ["a", "b", "c"], SplitPlan("file"), None)
    with pytest.raises(MedbenchError, match="found 'fold1', 'fold2'"):
        assign(truth, ["a", "b", "c"], SplitPlan("file"), ["fold1", "fold2", "train"])
    for shares in ((0.5, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)):
        with pytest.raises(MedbenchError, match="three shares"):
            SplitPlan(shares=shares)
    examples = Examples(["x"], truth[:1], ("a",), "many")
    with pytest.raises(MedbenchError, match="at least 2 folds"):
        folds(examples, 1, np.random.default_rng(0))


def test_nothing_to_split() -> None:
    assert assign(np.zeros((0, 2), dtype=bool), [], SplitPlan()) == []
