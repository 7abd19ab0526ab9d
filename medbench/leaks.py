"""Ways in which a test split, a column or a single word gives the answer away."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.duplicates import Duplicates
from medbench.phrasing import Severity, finding, percent
from medbench.records import Finding
from medbench.splits import split_name

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

_WORD = re.compile(r"\w+")
_SURE = 0.95
_LIFT = 0.2
_MUCH = 0.05
_KEYWORD_SURE = 0.9
_MAX_WORDS_IN_RULE = 8
_STEMS = (4, 6)


def across_splits(frame: pd.DataFrame, duplicates: Duplicates, what: str = "text") -> list[Finding]:
    """Return what the file's own splits share: the same text (or picture), a near one, the same id, the same group."""
    split = np.array([split_name(word) or word for word in frame["split"]], dtype=object)
    if len({word for word in split if word}) < 2:
        return []
    exact = [int(key) if key >= 0 else None for key in duplicates.exact]
    near = [int(key) for key in duplicates.near]
    found = []
    for kind, keys, words in (
        (f"leak_{what}", exact, f"have the same {what} as"),
        (f"leak_near_{what}", near, f"have nearly the same {what} as"),
        ("leak_id", list(frame["id"]), "have the same id as"),
        ("leak_group", [key or None for key in frame["group"]], "belong to the same group as"),
    ):
        rows = _also_elsewhere(split, keys)
        if kind.startswith("leak_near"):
            same = set(_also_elsewhere(split, exact))
            rows = [row for row in rows if row not in same]
        if rows:
            held_out = [row for row in rows if split[row] != "train"]
            total = int(sum(word not in ("", "train") for word in split))
            share = len(held_out) / total if total else 0.0
            sentence = (
                f"The file's own splits leak: {len(held_out):,} of {total:,} held-out rows ({percent(share)}) {words} "
                "a row of another split. Scores on them would be too good; draw a new split."
            )
            severity: Severity = "stop" if share > _MUCH else "warn"
            found.append(finding(kind, severity, sentence, held_out or rows, share))
    return found


def torn_groups(frame: pd.DataFrame) -> list[Finding]:
    """Return the finding that groups (lesions, patients, duplicates) stand on both sides of a split.

    Args:
        frame: Rows with "cluster" and the "split" they were given.
    """
    split = frame[frame["split"] != ""]
    homes = split.groupby("cluster")["split"].nunique()
    torn = set(homes[homes > 1].index)
    rows = [row for row, key in enumerate(frame["cluster"]) if key in torn]
    if not rows:
        return []
    held_out = split[split["split"] != "train"]
    leaked = int(held_out["cluster"].isin(set(split.loc[split["split"] == "train", "cluster"])).sum())
    what = ("lesion" if "image" in frame.columns else "group") + "s" * (len(torn) > 1)
    sentence = (
        f"The split tears {len(torn):,} {what} apart: {leaked:,} of {len(held_out):,} held-out rows have a relative in "
        "train. Scores on them are too good to be believed. Draw the split by group."
    )
    return [finding("torn_groups", "stop", sentence, rows, leaked / max(len(held_out), 1), n_groups=len(torn))]


def _also_elsewhere(split: npt.NDArray[np.object_], keys: Sequence[object]) -> list[int]:
    homes: defaultdict[object, set[object]] = defaultdict(set)
    for word, key in zip(split, keys, strict=True):
        if key is not None and word:
            homes[key].add(word)
    return [row for row, key in enumerate(keys) if key is not None and split[row] and len(homes[key]) > 1]


def repeated_ids(frame: pd.DataFrame, duplicates: Duplicates) -> list[Finding]:
    """Return a finding when one id stands on rows with different texts."""
    texts: defaultdict[str, set[int]] = defaultdict(set)
    for key, text in zip(frame["id"], duplicates.exact.tolist(), strict=True):
        texts[key].add(text)
    rows = [row for row, key in enumerate(frame["id"]) if len(texts[key]) > 1]
    if not rows:
        return []
    sentence = f"{len(rows):,} rows share an id with a row of another text. They are kept together in splits."
    return [finding("repeated_ids", "warn", sentence, rows)]


def give_away_columns(frame: pd.DataFrame, names: Mapping[str, str], known: Collection[str] = ()) -> list[Finding]:
    """Return a finding for each column that no model reads but from which the label can be read.

    Two ways: a column of few values whose majority label, counted over the *other* rows with that value, is right for
    over 95 % of rows and 20 points over the largest class; or a text that names the row's own label far more often
    than the label of a row picked by lot.

    Args:
        frame: The drafted frame. The set of labels of a row counts as one answer.
        names: Label -> what the user reads; both are looked for.
        known: Columns of the file that are known to spell the labels out.
    """
    rows = np.flatnonzero(frame["labelled"].to_numpy())
    held = [frame["labels"].array[row] for row in rows]
    truth = ["\x1e".join(sorted(labels)) for labels in held]
    if len(set(truth)) < 2:
        return []
    found = []
    others = [str(name) for name in frame.columns if str(name).startswith("x_") and str(name)[2:] not in known]
    for column in [*others, "id"]:
        values = [str(value).strip() for value in frame[column].iloc[rows]]
        shown = column.removeprefix("x_")
        one = _by_value(values, truth) or _by_naming(values, held, names)
        if one is not None:
            share, how, touched = one
            sentence = (
                f"Column “{shown}” gives the label away: {how} ({percent(share)} of rows). "
                "It is not shown to any model; keep it out of the title and the text."
            )
            touched_rows = [int(rows[index]) for index in touched]
            found.append(finding("give_away_column", "warn", sentence, touched_rows, share, column=shown))
    return found


def _by_value(values: Sequence[str], truth: Sequence[str]) -> tuple[float, str, list[int]] | None:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for value, label in zip(values, truth, strict=True):
        counts[value][label] += 1
    if not 2 <= len(counts) <= 0.2 * len(values):
        return None
    right, judged = [], 0
    for row, (value, label) in enumerate(zip(values, truth, strict=True)):
        held = counts[value]
        if value and held.total() > 1:
            judged += 1
            others = max((count for other, count in held.items() if other != label), default=0)
            if held[label] - 1 > others:
                right.append(row)
    base = max(Counter(truth).values()) / len(truth)
    if judged < 0.5 * len(values) or len(right) / judged < max(_SURE, base + _LIFT):
        return None
    return len(right) / judged, "its value alone tells the label", right


def _by_naming(
    values: Sequence[str], labels: Sequence[Sequence[str]], names: Mapping[str, str]
) -> tuple[float, str, list[int]] | None:
    plain = [" " + " ".join(_WORD.findall(value.lower())) + " " for value in values]
    wanted = {label: _spellings(label, names.get(label, label)) for label in {one for held in labels for one in held}}
    known = [row for row, held in enumerate(labels) if held and any(wanted[label] for label in held)]
    if len(known) < 10:
        return None

    def named(row: int, held: Sequence[str]) -> bool:
        return any(spelling in plain[row] for label in held for spelling in wanted[label])

    own = [row for row in known if named(row, labels[row])]
    # A neighbour's label instead of the row's own: a large odd step is as good as a lot, and always the same.
    step = len(known) // 2 + 1
    other = sum(named(row, labels[known[(place + step) % len(known)]]) for place, row in enumerate(known))
    share, chance = len(own) / len(known), other / len(known)
    if share < 0.5 or share < chance + 0.3:
        return None
    return share, "it names the label", own


def _spellings(label: str, name: str) -> list[str]:
    found = {" ".join(_WORD.findall(text.lower())) for text in (label, name)}
    return [f" {text} " for text in found if len(text) >= 4 and not text.isdecimal()]


@dataclass
class _Rule:
    words: list[str] = field(default_factory=list)
    accuracy: float = 0.0
    wrong: list[int] = field(default_factory=list)


def keyword_rule(frame: pd.DataFrame, texts: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """Return a finding when a rule of a few words tells two classes apart in at least 90 % of rows.

    The rule reads "one of these words → this class, else the other". Words are added greedily on one half of the rows
    and judged on the other half, both ways round, so that the figure is not flattered.
    """
    if len(labels) != 2 or not frame["labelled"].any():
        return []
    rows = np.flatnonzero(frame["labelled"].to_numpy()).tolist()
    positive = np.array([frame["labels"].array[row] == [labels[0]] for row in rows])
    if min(positive.sum(), (~positive).sum()) < 10:
        return []
    matrix, words = _presence([texts[row] for row in rows])
    half = _halves(len(rows))
    best = _Rule()
    for side, target in ((labels[0], positive), (labels[1], ~positive)):
        rule = _judged_rule(matrix, words, target, half)
        if rule.accuracy > best.accuracy:
            best, winner = rule, side
    base = max(positive.mean(), 1 - positive.mean())
    if best.accuracy < max(_KEYWORD_SURE, base + 0.05):
        return []
    listed = ", ".join(f"“{word}”" for word in best.words)
    sentence = (
        f"A keyword rule is right for {percent(best.accuracy)} of rows: {listed} → {winner}, else "
        f"{labels[1] if winner == labels[0] else labels[0]}. A model has to beat this, and may have learnt no more."
    )
    wrong = [rows[index] for index in best.wrong]
    return [finding("keyword_baseline", "warn", sentence, wrong, best.accuracy, words=best.words, label=winner)]


def _halves(n: int) -> npt.NDArray[np.bool_]:
    """Return (n,) bool, half of it True, mixed by a fixed multiplicative hash so that sorted files do no harm."""
    mixed = (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    half = np.zeros(n, dtype=np.bool_)
    half[np.argsort(mixed, kind="stable")[: n // 2]] = True
    return half


def _presence(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """Return (n_texts, n_words) 0/1 of words and word beginnings in at least 1 % and at least 3 of the texts."""
    from scipy.sparse import csr_matrix

    sets = [_words_and_stems(text) for text in texts]
    seen = Counter(word for held in sets for word in held)
    kept = sorted(word for word, count in seen.items() if count >= max(3, 0.01 * len(texts)) and len(word) > 2)
    number = {word: index for index, word in enumerate(kept)}
    pairs = [(row, number[word]) for row, held in enumerate(sets) for word in held if word in number]
    where = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    ones = np.ones(len(where), dtype=np.float32)
    return csr_matrix((ones, (where[:, 0], where[:, 1])), shape=(len(texts), len(kept))), kept


def _words_and_stems(text: str) -> set[str]:
    """Return the words of a text, and the first 4 and 6 letters of longer ones as "tumo…"."""
    words = set(_WORD.findall(text.lower()))
    return words | {f"{word[:size]}…" for word in words for size in _STEMS if len(word) > size}


def _judged_rule(
    matrix: csr_matrix, words: Sequence[str], target: npt.NDArray[np.bool_], half: npt.NDArray[np.bool_]
) -> _Rule:
    told = np.zeros(len(target), dtype=np.bool_)
    for learnt, judged in ((half, ~half), (~half, half)):
        chosen = _grow(matrix[learnt], target[learnt])
        told[judged] = _any_of(matrix[judged], chosen)
    right = told == target
    chosen = _grow(matrix, target)
    return _Rule([words[index] for index in chosen], float(right.mean()), [int(row) for row in np.flatnonzero(~right)])


def _grow(matrix: csr_matrix, target: npt.NDArray[np.bool_]) -> list[int]:
    """Add the word that mends most rows until none mends two rows and a quarter of a percent of them."""
    chosen: list[int] = []
    open_rows = np.ones(len(target), dtype=np.float32)
    while len(chosen) < _MAX_WORDS_IN_RULE:
        gain = (np.where(target, 1.0, -1.0) * open_rows) @ matrix
        best = int(np.argmax(gain)) if len(gain) else -1
        if best < 0 or gain[best] < max(2.0, 0.0025 * len(target)):
            break
        chosen.append(best)
        open_rows[_any_of(matrix, [best])] = 0
    return chosen


def _any_of(matrix: csr_matrix, chosen: Sequence[int]) -> npt.NDArray[np.bool_]:
    if not chosen:
        return np.zeros(matrix.shape[0], dtype=np.bool_)
    return np.asarray(matrix[:, list(chosen)].sum(axis=1)).ravel() > 0
