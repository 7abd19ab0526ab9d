"""The vocabulary of a dataset: for each label the words and terms that its texts hold more often than the others.

It says what the data hold; what a model makes of them is `class_words`. Read are the rows of the train split alone, so
that rules which somebody writes from it have not seen the rows they will be judged on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.families._telling_terms import counted_terms, log_odds
from medbench.records import Examples

KEPT = 30
_WIDE = 1.959964  # standard errors of a 95 % interval
_LEVEL = 0.05
COLUMNS = (
    "label",
    "rank",
    "term",
    "log_odds",
    "low",
    "high",
    "z",
    "beyond_chance",
    "texts",
    "share",
    "rest",
    "rest_share",
)


@dataclass(frozen=True, slots=True)
class Term:
    """A term that is characteristic of a label.

    Attributes:
        term: In lower case; words joined by single spaces.
        log_odds: How much greater the odds are that a text holds it with the label than without: 0.7 is twice, 2.3 ten
            times. Drawn towards 0 for rare terms.
        low: Lower end of its 95 % interval.
        high: Its upper end.
        z: Log-odds over standard error; terms are ordered by it.
        beyond_chance: Whether even the largest z of as many terms that tell nothing would hardly reach this one
            (Bonferroni, 5 %).
        texts: Texts with the label that hold it, a count.
        share: Their share of the texts with the label.
        rest: Texts without the label that hold it, a count.
        rest_share: Their share of these.
    """

    term: str
    log_odds: float
    low: float
    high: float
    z: float
    beyond_chance: bool
    texts: int
    share: float
    rest: int
    rest_share: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What was found.

    Attributes:
        terms: Label -> its terms, most certain first; labels whose texts no term tells from the others are left out.
        counts: Label -> texts that carry it.
        n_texts: Texts read, a count.
        n_terms: Terms that were looked at for each label, a count.
    """

    terms: dict[str, tuple[Term, ...]]
    counts: dict[str, int]
    n_texts: int
    n_terms: int

    def rows(self, names: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return one row for every term, by `COLUMNS`; `names` says what a user reads for a label."""
        return [
            {"label": (names or {}).get(label, label), "rank": rank, **asdict(term)}
            for label, terms in self.terms.items()
            for rank, term in enumerate(terms, start=1)
        ]


def of_dataset(dataset: Dataset, *, words: int = 2, min_texts: int = 3, kept: int = KEPT) -> Vocabulary:
    """Return the vocabulary of a dataset's train split. Arguments as for `measure`.

    Raises:
        MedbenchError: The dataset holds pictures, no label, or no row to learn from.
    """
    if dataset.item != "text":
        raise MedbenchError("a dataset of texts", f"{dataset.name!r}, which holds pictures", "Choose another.")
    train = dataset.examples("train")
    if not len(train):
        raise MedbenchError(
            "labelled rows in the train split", "none", "Save the dataset with labels and a train share."
        )
    return measure(train, words=words, min_texts=min_texts, kept=kept)


def measure(examples: Examples, *, words: int = 2, min_texts: int = 3, kept: int = KEPT) -> Vocabulary:
    """Return the terms that are characteristic of each label.

    Log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi & Quinn 2008), on the number of texts that hold
    a term rather than on its occurrences: a word said ten times in one text is no ten pieces of evidence.

    Args:
        examples: Texts with labels.
        words: Longest term, 1 to 3 words.
        min_texts: A term must stand in at least so many texts.
        kept: Terms kept for each label, at most.
    """
    terms, table = counted_terms(examples.items, words, min_texts)
    within = np.asarray(table.T @ examples.truth.astype(np.float32), dtype=np.float64)
    everywhere = np.asarray(table.sum(axis=0), dtype=np.float64).ravel()
    limit = _beyond(len(terms))
    found: dict[str, tuple[Term, ...]] = {}
    for at, label in enumerate(examples.labels):
        inside = examples.truth[:, at]
        n_inside, n_rest = int(inside.sum()), int((~inside).sum())
        if not n_inside or not n_rest or not terms:
            continue
        odds, certainty = log_odds(within[:, at], everywhere, inside)
        best = [int(t) for t in np.argsort(-certainty, kind="stable")[:kept] if certainty[t] > _WIDE]
        told = tuple(
            _term(
                terms[t], float(odds[t]), float(certainty[t]), limit, (within[t, at], n_inside, everywhere[t], n_rest)
            )
            for t in best
        )
        if told:
            found[label] = told
    counts = dict(zip(examples.labels, examples.truth.sum(axis=0).tolist(), strict=True))
    return Vocabulary(found, counts, len(examples), len(terms))


def _term(term: str, odds: float, z: float, limit: float, counts: tuple[float, int, float, int]) -> Term:
    texts, n_inside, everywhere, n_rest = counts
    error, rest = odds / z, everywhere - texts
    return Term(
        term,
        log_odds=round(odds, 4),
        low=round(odds - _WIDE * error, 4),
        high=round(odds + _WIDE * error, 4),
        z=round(z, 4),
        beyond_chance=z > limit,
        texts=int(texts),
        share=round(float(texts) / n_inside, 4),
        rest=int(rest),
        rest_share=round(float(rest) / n_rest, 4),
    )


def _beyond(n_terms: int) -> float:
    """Return the z that one of so many terms that tell nothing exceeds with a chance of 5 % at most."""
    from scipy.stats import norm

    return float(norm.isf(_LEVEL / 2 / max(n_terms, 1))) if n_terms else math.inf


def lexicon(found: Vocabulary, chosen: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Return chosen terms as rules of the family `keywords`: label -> {term: its log-odds}.

    Raises:
        MedbenchError: A term is not in the vocabulary of its label.
    """
    rules: dict[str, dict[str, float]] = {}
    for label, terms in chosen.items():
        known = {one.term: one.log_odds for one in found.terms.get(label, ())}
        for term in terms:
            if term not in known:
                raise MedbenchError(f"terms that are characteristic of {label!r}", repr(term), "Choose from the list.")
        if terms:
            rules[label] = {term: known[term] for term in terms}
    return rules
