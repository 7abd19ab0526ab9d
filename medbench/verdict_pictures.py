"""What has to be known about a dataset of pictures before anyone trusts a number from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench import leaks
from medbench.duplicates import Duplicates, Union
from medbench.phrasing import Severity, finding, percent, shown_groups
from medbench.picture_facts import fact_columns
from medbench.pictures import near_pictures
from medbench.records import Finding
from medbench.verdict import SEVERITIES, Judged, class_sizes, one_cluster

if TYPE_CHECKING:
    import pandas as pd

_SMALL = 100
_SIZES_SHOWN = 20
_VALUE_ROWS = 0.05
_VALUE_SURE = 0.98
_LIFT = 0.2


@dataclass(frozen=True)
class Seen:
    """What was measured on the pictures, row by row.

    Attributes:
        pixels: n pixel hashes.
        perceptual: n perceptual hashes.
        small: (n, 32, 32) uint8 grey pictures.
        sizes: n (width, height) in pixels, as they came.
        patients: n patient keys beside the groups, "" where unknown.
    """

    pixels: Sequence[str]
    perceptual: Sequence[int]
    small: npt.NDArray[np.uint8]
    sizes: Sequence[tuple[int, int]]
    patients: Sequence[str]


def judge_pictures(frame: pd.DataFrame, labels: Sequence[str], names: Mapping[str, str], seen: Seen) -> Judged:
    """Judge a drafted frame of pictures.

    Args:
        frame: The rows (columns as in `drafting.Draft.frame`).
        labels: All labels.
        names: What the user reads for a label.
        seen: What was measured.
    """
    facts = profile_pictures(frame, labels, seen)
    duplicates = _duplicates(seen)
    union = Union(len(frame))
    for keys in (duplicates.near.tolist(), frame["group"], seen.patients):
        union.join_equal(keys)
    clusters = [str(key) for key in union.keys()]  # noqa: SIM118 - not a mapping
    found = [
        *class_sizes(frame, facts["classes"], "one", names),
        *_unlabelled(frame, labels),
        *_lesions(frame),
        *_repeats(duplicates, len(frame)),
        *_conflicts(frame, duplicates),
        *one_cluster(clusters),
        *leaks.across_splits(frame, duplicates, "picture"),
        *_give_away(frame, names),
        *_missing_facts(frame),
        *_small_ones(seen.sizes),
    ]
    found.sort(key=lambda one: SEVERITIES.index(one.severity))
    return Judged(found, clusters, facts)


def profile_pictures(frame: pd.DataFrame, labels: Sequence[str], seen: Seen) -> dict[str, Any]:
    """Return class counts, picture sizes, and ages, sexes and sites, JSON-ready.

    Returns:
        `classes` label -> rows; `sizes` "200 × 150" -> pictures, the 20 most frequent; `side` smallest, median and
        largest longer side in pixels; `facts` fact -> value -> rows, "" where unknown; `groups` number of lesions;
        `missing` field -> rows; `labels_per_row`.
    """
    counts = Counter(label for held in frame["labels"] for label in held)
    sizes = Counter(f"{width} × {height}" for width, height in seen.sizes)
    longer = [max(size) for size in seen.sizes]
    columns = fact_columns(map(str, frame.columns))
    facts = {fact: dict(Counter(frame[column]).most_common()) for fact, column in columns.items()}
    return {
        "classes": {label: counts.get(label, 0) for label in labels},
        "labels_per_row": 1.0 if counts else 0.0,
        "sizes": dict(sizes.most_common(_SIZES_SHOWN)),
        "side": [int(value) for value in np.percentile(longer, (0, 50, 100), method="nearest")],
        "facts": facts,
        "groups": len(set(frame["group"]) - {""}),
        "missing": {
            "labels": int((~frame["labelled"]).sum()),
            **{fact: values.get("", 0) for fact, values in facts.items()},
        },
    }


def _duplicates(seen: Seen) -> Duplicates:
    first: dict[str, int] = {}
    exact = np.array([first.setdefault(key, row) for row, key in enumerate(seen.pixels)], dtype=np.int64)
    union = Union(len(exact))
    union.join_equal(exact.tolist())
    for group in near_pictures(seen.perceptual, small=seen.small):
        for row in group[1:]:
            union.join(group[0], row)
    return Duplicates(exact, np.array(union.keys(), dtype=np.int64))


def pictures_word(count: int) -> str:
    """Return "1 picture" or "2,345 pictures"."""
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _unlabelled(frame: pd.DataFrame, labels: Sequence[str]) -> list[Finding]:
    rows = np.flatnonzero(~frame["labelled"].to_numpy()).tolist()
    if not rows or not labels:
        return []
    sentence = f"{pictures_word(len(rows))} without a label; left out of training and testing."
    return [finding("no_label", "info", sentence, rows, len(rows) / len(frame))]


def _lesions(frame: pd.DataFrame) -> list[Finding]:
    sizes = Counter(key for key in frame["group"] if key)
    repeats = sum(sizes.values()) - len(sizes)
    if not sizes:
        sentence = (
            "No column names lesions or patients. Pictures of one lesion can land on both sides of a split, which "
            "makes scores too good; choose a group column if there is one."
        )
        return [finding("no_groups", "warn", sentence)]
    if not repeats:
        return []
    rows = [row for row, key in enumerate(frame["group"]) if sizes.get(key, 0) > 1]
    sentence = (
        f"{pictures_word(repeats)} repeat{'s' * (repeats == 1)} a lesion that has another picture ({len(sizes):,} "
        f"lesions, {sum(sizes.values()):,} pictures). Splits keep them together."
    )
    return [finding("repeated_lesions", "info", sentence, rows, repeats / len(frame), n_groups=len(sizes))]


def _repeats(duplicates: Duplicates, n: int) -> list[Finding]:
    found = []
    pairs = (
        ("exact_duplicates", duplicates.exact_groups(), "the same pixels as"),
        ("near_duplicates", duplicates.near_groups(), "nearly the same look as"),
    )
    for kind, groups, words in pairs:
        if groups:
            rows = [row for group in groups for row in group]
            share = f" ({percent(len(rows) / n)})" if len(rows) > 0.001 * n else ""
            sentence = (
                f"{pictures_word(len(rows))}{share} with {words} another, in {len(groups):,} "
                f"group{'s' * (len(groups) > 1)}. Splits keep each group together."
            )
            detail = {"groups": shown_groups(groups), "n_groups": len(groups)}
            found.append(finding(kind, "warn", sentence, rows, len(rows) / n, **detail))
    return found


def _conflicts(frame: pd.DataFrame, duplicates: Duplicates) -> list[Finding]:
    """Same or nearly the same picture, different labels; one lesion, different labels."""
    found = []
    labels = [held[0] if held else "" for held in frame["labels"]]
    ways = (
        ("conflicting_labels", duplicates.near.tolist(), "the same or nearly the same picture stands"),
        ("conflicting_lesions", list(frame["group"]), "pictures of one lesion stand"),
    )
    for kind, keys, words in ways:
        rows_of: defaultdict[object, list[int]] = defaultdict(list)
        for row, (key, label) in enumerate(zip(keys, labels, strict=True)):
            if label and key != "":
                rows_of[key].append(row)
        groups = [rows for rows in rows_of.values() if len({labels[row] for row in rows}) > 1]
        if groups:
            rows = [row for group in groups for row in group]
            sentence = f"In {len(groups):,} case{'s' * (len(groups) > 1)} {words} under different labels "
            sentence += f"({pictures_word(len(rows))}). Correct these labels."
            severity: Severity = "stop" if len(rows) > 0.05 * len(frame) else "warn"
            detail = {"groups": shown_groups(groups), "n_groups": len(groups)}
            found.append(finding(kind, severity, sentence, rows, len(rows) / len(frame), **detail))
    return found


def _give_away(frame: pd.DataFrame, names: Mapping[str, str]) -> list[Finding]:
    """Columns that tell the label; also those of which one frequent value does (all follow-ups are nevi).

    Age, sex and site are left out: models may see them, and a reader knows them, too.
    """
    legitimate = set(fact_columns(map(str, frame.columns)).values())
    told = leaks.give_away_columns(frame, names, [column.removeprefix("x_") for column in legitimate])
    known = {str(one.detail.get("column")) for one in told}
    rows = np.flatnonzero(frame["labelled"].to_numpy())
    truth = [frame["labels"].iloc[row][0] for row in rows]
    if len(set(truth)) < 2:
        return told
    base = Counter(truth)
    for column in map(str, frame.columns):
        shown = column.removeprefix("x_")
        if not column.startswith("x_") or column in legitimate or shown in known:
            continue
        held: defaultdict[str, list[int]] = defaultdict(list)
        for at, row in enumerate(rows.tolist()):
            held[str(frame[column].iloc[row])].append(at)
        for value, places in held.items():
            label, count = Counter(truth[at] for at in places).most_common(1)[0]
            sure = count / len(places)
            if (
                value
                and len(places) >= _VALUE_ROWS * len(rows)
                and sure >= max(_VALUE_SURE, base[label] / len(rows) + _LIFT)
            ):
                sentence = (
                    f"Column “{shown}” gives labels away: {percent(sure)} of the {len(places):,} pictures with "
                    f"“{value}” are {names.get(label, label)}. No model sees this column."
                )
                touched = [int(rows[at]) for at in places]
                told.append(finding("give_away_column", "warn", sentence, touched, sure, column=shown, held=value))
    return told


def _missing_facts(frame: pd.DataFrame) -> list[Finding]:
    columns = fact_columns(map(str, frame.columns))
    blank = {fact: np.flatnonzero((frame[column] == "").to_numpy()).tolist() for fact, column in columns.items()}
    blank = {fact: rows for fact, rows in blank.items() if rows}
    found = []
    if blank:
        listed = ", ".join(f"{fact} for {len(rows):,}" for fact, rows in blank.items())
        rows = sorted({row for held in blank.values() for row in held})
        sentence = (
            f"Unknown: {listed} of {len(frame):,} pictures. Models are told that it is unknown; nothing is guessed."
        )
        found.append(finding("missing_facts", "info", sentence, rows, len(rows) / len(frame)))
    lacking = [fact for fact in ("age", "sex", "site") if fact not in columns]
    if lacking:
        listed = " and ".join(", ".join(lacking).rsplit(", ", 1))
        sentence = f"No column tells {listed}. Models can do without; results by {listed} will be missing."
        found.append(finding("no_facts", "info", sentence))
    return found


def _small_ones(sizes: Sequence[tuple[int, int]]) -> list[Finding]:
    rows = [row for row, size in enumerate(sizes) if min(size) < _SMALL]
    if not rows:
        return []
    sentence = (
        f"{pictures_word(len(rows))} with under {_SMALL} pixels on the shorter side: too coarse for fine structure."
    )
    return [finding("small_pictures", "warn", sentence, rows, len(rows) / len(sizes))]
