"""What has to be known about a dataset before anyone trusts a number from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench import leaks, privacy
from medbench.duplicates import Duplicates, Union, find_duplicates
from medbench.phrasing import Severity, finding, percent, rows_word, shown_groups
from medbench.records import AnswerKind, Finding, join_text

if TYPE_CHECKING:
    import pandas as pd

FEW = 10
_LONG = 380
SEVERITIES = ("stop", "warn", "info")


@dataclass(frozen=True)
class Judged:
    """The verdict on a frame.

    Attributes:
        findings: What to say, worst first.
        clusters: One key per row; rows with equal keys must stay together: they share a group,
            an id or (nearly) a text.
        profile: Class counts, length percentiles, missing fields.
    """

    findings: list[Finding]
    clusters: list[str]
    profile: dict[str, Any]


def judge(
    frame: pd.DataFrame,
    answer: AnswerKind,
    labels: Sequence[str],
    *,
    label_names: Mapping[str, str] | None = None,
    name_columns: Collection[str] = (),
    say: Callable[[float, str], None] | None = None,
) -> Judged:
    """Judge a drafted frame (columns as in `drafting.Draft.frame`).

    Args:
        frame: The rows.
        answer: "one" label per row or "many".
        labels: All labels.
        label_names: What the user reads for a label.
        name_columns: Columns of the file that those names were learnt from.
        say: Told (share done 0-1, sentence).
    """
    tell = say or (lambda share, sentence: None)
    names = dict(label_names or {})
    facts = profile(frame, labels)
    texts = [join_text(title, text) for title, text in zip(frame["title"], frame["text"], strict=True)]
    duplicates = find_duplicates(texts, lambda share, sentence: tell(0.7 * share, sentence))
    clusters = _clusters(frame, duplicates)
    found = [
        *class_sizes(frame, facts["classes"], answer, names),
        *_missing(frame, labels),
        *_lengths(facts, texts),
        *_repeats(duplicates, len(frame)),
        *_conflicts(frame, duplicates, answer),
        *one_cluster(clusters),
        *leaks.across_splits(frame, duplicates),
        *leaks.repeated_ids(frame, duplicates),
        *leaks.give_away_columns(frame, names, name_columns),
        *(leaks.keyword_rule(frame, texts, labels) if answer == "one" else []),
    ]
    tell(0.8, "Looking for patient data.")
    found += _patient_data(texts, lambda done: tell(0.8 + 0.2 * done / len(texts), "Looking for patient data."))
    found.sort(key=lambda one: SEVERITIES.index(one.severity))
    return Judged(found, clusters, facts)


def profile(frame: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Return class counts, text lengths and missing fields, JSON-ready.

    Returns:
        `classes` label -> rows; `labels_per_row` mean over labelled rows; `words` 101 percentiles (0-100) of the
        length of title and text in words; `words_total`; `missing` field -> rows.
    """
    counts = dict.fromkeys(labels, 0)
    for held in frame["labels"]:
        for label in held:
            counts[label] += 1
    words = np.array(
        [len(title.split()) + len(text.split()) for title, text in zip(frame["title"], frame["text"], strict=True)]
    )
    labelled = int(frame["labelled"].sum())
    return {
        "classes": counts,
        "labels_per_row": sum(counts.values()) / labelled if labelled else 0.0,
        "words": [int(value) for value in np.percentile(words, np.arange(101), method="nearest")],
        "words_total": int(words.sum()),
        "missing": {
            "title": int((frame["title"] == "").sum()),
            "text": int((frame["text"] == "").sum()),
            "labels": int((~frame["labelled"]).sum()),
            "both": int(((frame["title"] == "") & (frame["text"] == "")).sum()),
        },
    }


def share_cut(profile: Mapping[str, Any], words: int) -> float:
    """Return the share (0-1) of texts longer than so many words, to one percent, from a stored profile."""
    return float(np.mean(np.array(profile["words"]) > words))


def _clusters(frame: pd.DataFrame, duplicates: Duplicates) -> list[str]:
    union = Union(len(frame))
    union.join_equal(duplicates.near.tolist())
    union.join_equal(frame["group"])
    if frame["id"].nunique() * 2 >= len(frame):
        union.join_equal(frame["id"])
    return [str(key) for key in union.keys()]  # noqa: SIM118 - not a mapping


def one_cluster(clusters: Sequence[str]) -> list[Finding]:
    """Return a finding when most rows hang together, so that no split can part them."""
    key, size = Counter(clusters).most_common(1)[0]
    if size * 2 <= len(clusters) or len(clusters) < FEW:
        return []
    rows = [row for row, other in enumerate(clusters) if other == key]
    sentence = (
        f"{size:,} of {len(clusters):,} rows hang together by group, id or text, so they cannot be split. "
        "Choose another group column."
    )
    return [finding("one_cluster", "stop", sentence, rows, size / len(clusters))]


def class_sizes(
    frame: pd.DataFrame, counts: Mapping[str, int], answer: AnswerKind, names: Mapping[str, str]
) -> list[Finding]:
    """Return what the sizes of the classes mean for learning and testing; `counts` is label -> rows."""
    if not counts:
        sentence = "No row has a label. The items can be classified, but nothing can be learnt from them."
        return [finding("unlabelled", "info", sentence)]
    if len(counts) == 1 and answer == "one":
        sentence = f"All labelled rows have the same label, “{next(iter(counts))}”: there is nothing to tell apart."
        return [finding("one_class", "stop", sentence)]
    found = []
    held: defaultdict[str, list[int]] = defaultdict(list)
    for row, labels in enumerate(frame["labels"]):
        for label in labels:
            held[label].append(row)
    small: tuple[tuple[str, Severity, list[str], str], ...] = (
        ("classes_too_small", "stop", [x for x, n in counts.items() if n < 2], "cannot be both learnt and tested"),
        ("classes_small", "warn", [x for x, n in counts.items() if 2 <= n < FEW], "too few for a reliable figure"),
    )
    for kind, severity, few, why in small:
        if few:
            listed = ", ".join(f"{names.get(label, label)} ({counts[label]})" for label in few[:8])
            more = f" and {len(few) - 8} more" if len(few) > 8 else ""
            limit = 2 if severity == "stop" else FEW
            sentence = f"{len(few)} label{'s' * (len(few) > 1)} with under {limit} rows, {why}: {listed}{more}."
            rows = sorted({row for label in few for row in held[label]})
            found.append(finding(kind, severity, sentence, rows, float(len(few)), labels=few))
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] >= 20 * counts[smallest]:
        sentence = (
            f"Labels are uneven: “{names.get(largest, largest)}” {counts[largest]:,} rows, "
            f"“{names.get(smallest, smallest)}” {counts[smallest]:,}. Look at macro-F1, and weight the classes."
        )
        found.append(finding("imbalance", "info", sentence, (), counts[largest] / counts[smallest]))
    return found


def _missing(frame: pd.DataFrame, labels: Sequence[str]) -> list[Finding]:
    no_title, no_text = frame["title"] == "", frame["text"] == ""
    found = []
    blanks: tuple[tuple[str, Severity, pd.Series[bool], str], ...] = (
        ("empty", "warn", no_title & no_text, "neither title nor text; no model can read them"),
        ("no_text", "info", no_text & ~no_title & (not no_text.all()), "a title but no text"),
        ("no_title", "info", no_title & ~no_text & (not no_title.all()), "a text but no title"),
    )
    for kind, severity, mask, words in blanks:
        rows = np.flatnonzero(mask.to_numpy()).tolist()
        if rows:
            sentence = f"{rows_word(len(rows))} with {words}."
            found.append(finding(kind, severity, sentence, rows, len(rows) / len(frame)))
    if not labels:
        return found
    blank = np.array([not held for held in frame["labels"]])
    unlabelled = ~frame["labelled"].to_numpy()
    if unlabelled.any():
        rows = np.flatnonzero(unlabelled).tolist()
        sentence = f"{rows_word(len(rows))} without a label; left out of training and testing."
        found.append(finding("no_label", "info", sentence, rows, len(rows) / len(frame)))
    none = np.flatnonzero(blank & ~unlabelled).tolist()
    if none:
        sentence = f"{rows_word(len(none))} with an empty label cell, taken to mean that none of the labels applies."
        found.append(finding("none_applies", "info", sentence, none, len(none) / len(frame)))
    return found


def _lengths(facts: Mapping[str, Any], texts: Sequence[str]) -> list[Finding]:
    words = facts["words"]
    share = share_cut(facts, _LONG)
    rows = [row for row, text in enumerate(texts) if len(text) > _LONG * 4 and len(text.split()) > _LONG]
    sentence = f"Half of the texts have {words[50]:,} words or fewer, one in twenty over {words[95]:,}."
    if share >= 0.01:
        sentence += f" {percent(share)} have over {_LONG} words: networks that read 512 tokens cut them."
    return [
        finding("lengths", "info", sentence, rows, share, percentiles=[words[at] for at in (5, 25, 50, 75, 95, 100)])
    ]


def _repeats(duplicates: Duplicates, n: int) -> list[Finding]:
    found = []
    same, near = duplicates.exact_groups(), duplicates.near_groups()
    for kind, groups, words in (("exact_duplicates", same, "same"), ("near_duplicates", near, "nearly the same")):
        if groups:
            rows = [row for group in groups for row in group]
            sentence = (
                f"{rows_word(len(rows))} ({percent(len(rows) / n)}) with {'the ' * (words == 'same')}{words} text as "
                f"another row, in {len(groups):,} group{'s' * (len(groups) > 1)}. Splits keep each group together."
            )
            found.append(
                finding(kind, "warn", sentence, rows, len(rows) / n, groups=shown_groups(groups), n_groups=len(groups))
            )
    return found


def _conflicts(frame: pd.DataFrame, duplicates: Duplicates, answer: AnswerKind) -> list[Finding]:
    """Same text, different labels; the ceiling is the sum over texts of their most frequent label, by rows."""
    held: defaultdict[int, Counter[tuple[str, ...]]] = defaultdict(Counter)
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, (text, labels, labelled) in enumerate(
        zip(duplicates.exact.tolist(), frame["labels"], frame["labelled"], strict=True)
    ):
        if labelled and text >= 0:
            held[text][tuple(sorted(labels))] += 1
            rows_of[text].append(row)
    split = [text for text, counts in held.items() if len(counts) > 1]
    if not split:
        return []
    n = sum(counts.total() for counts in held.values())
    ceiling = sum(max(counts.values()) for counts in held.values()) / n
    groups = sorted((rows_of[text] for text in split), key=lambda group: (-len(group), group[0]))
    rows = [row for group in groups for row in group]
    start = f"{len(split):,} texts stand under different labels ({rows_word(len(rows))})."
    if answer == "one":
        best = f"No model that gives one label per text can be right for more than {100 * ceiling:.1f} % of rows."
        end = "Merge the rows of a text and give it several labels." if ceiling < 0.98 else "Correct these rows."
    else:
        best = f"No model can get every label right for more than {100 * ceiling:.1f} % of rows."
        end = "Correct or merge these rows."
    severity: Severity = "stop" if ceiling < 0.95 else "warn"
    detail = {"groups": shown_groups(groups), "n_groups": len(groups)}
    return [finding("conflicting_labels", severity, f"{start} {best} {end}", rows, ceiling, **detail)]


def _patient_data(texts: Sequence[str], say: Callable[[int], None]) -> list[Finding]:
    seen = privacy.scan(texts, say)
    if not seen:
        return []
    rows = sorted({row for one in seen for row in one.rows})
    n_rows = max(len(rows), max(one.n_rows for one in seen))
    sentence = (
        f"{rows_word(n_rows)} may hold patient data: {privacy.in_words(seen)}. "
        "Look at them, and mask them if they are real. Rules do not find everything."
    )
    kinds = {one.kind: {"count": one.count, "n_rows": one.n_rows, "rows": list(one.rows[:50])} for one in seen}
    return [finding("patient_data", "warn", sentence, rows, n_rows / len(texts), kinds=kinds)]
