"""What a dataset has to be told about before anyone trusts a number from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.records import AnswerKind, Finding

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 1_000
FEW = 10


@dataclass(frozen=True)
class Judged:
    """The verdict on a frame.

    Attributes:
        findings: What to say, worst first.
        clusters: One key per row; rows with equal keys must stay together.
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
    say: Callable[[float, str], None] | None = None,
) -> Judged:
    """Judge a drafted frame (columns as in `drafting.Draft.frame`)."""
    tell = say or (lambda share, sentence: None)
    facts = profile(frame, labels)
    tell(1.0, "Judged.")
    clusters = [group or f"#{position}" for position, group in enumerate(frame["group"])]
    return Judged([], clusters, facts)


def profile(frame: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Return class counts, text lengths and missing fields, JSON-ready.

    Returns:
        `classes` label -> rows; `labels_per_row` mean over labelled rows; `words` 101 percentiles (0-100) of the
        length of title and text in words; `words_total`; `missing` field -> rows.
    """
    counts = dict.fromkeys(labels, 0)
    for found in frame["labels"]:
        for label in found:
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
