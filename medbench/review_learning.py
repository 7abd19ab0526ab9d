"""What a review learns from the records read so far, and how it does so without making anybody wait.

A `Pool` counts the words of all records once; after that, learning from a few hundred decisions and scoring everything
takes a fraction of a second. The `Ranker` does it on a thread: whoever asks gets the newest ranking there is, at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families._ngrams import FUNCTION_WORDS, SLICE, Ngrams, learn_terms, spread_over_words, squashed, tfidf
from medbench.records import Device, Examples, Scores, Span, Truth
from medbench.review_choosing import novelty_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

log = logging.getLogger("medbench.review")
Floats = npt.NDArray[np.float32]
FAMILIES = ("linear", "embedding", "keywords")
_TERMS = 150_000
_TITLE_WEIGHT = 2.0
_DIMENSIONS = 64
# Few decisions, far more words than decisions: a strong pull towards small weights.
_C = 0.1
_SLOPE = 2.0


@dataclass(frozen=True, slots=True)
class Known:
    """What people decided.

    Attributes:
        rows: (k,) positions of the records.
        truth: (k, n_labels) which labels apply.
    """

    rows: npt.NDArray[np.int64]
    truth: Truth

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was learnt.

    Attributes:
        scores: (n, n_labels) float32 in [0, 1]; 0 for a label of which nothing is known.
        novelty: (n,) float32, how unlike those read each record is, 0-2.
        learnt: True when at least one label has examples for and against it, or something to look for.
        known: Records that it learnt from.
        family: Who scored.
        weights: (n_terms, n_labels) float32, for marking words.
    """

    scores: Scores
    novelty: Floats
    learnt: bool
    known: int
    family: str
    weights: Floats


class Pool:
    """All texts of a review, read once."""

    def __init__(self, items: Sequence[str], question: str = "") -> None:
        """Count the words of every text.

        Args:
            items: n texts.
            question: What is looked for, in words: ranks the texts until both kinds of examples are there.
        """
        self.items = items
        terms, in_texts = learn_terms(items, 2, 2 if len(items) > 20 else 1, _TERMS, sorted(FUNCTION_WORDS))
        self.ngrams = Ngrams(terms, title_weight=_TITLE_WEIGHT, skipped=sorted(FUNCTION_WORDS))
        self._idf = (np.log((1 + len(items)) / (1 + in_texts)) + 1).astype(np.float32)
        self.table = self._counted(items)
        self.asked = self._counted([question]) if question.strip() else None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.items)

    def _counted(self, texts: Sequence[str]) -> csr_matrix:
        from scipy.sparse import vstack

        parts = [self.ngrams.counts(texts[at : at + SLICE]) for at in range(0, len(texts), SLICE)]
        return tfidf(vstack(parts, format="csr", dtype=np.float32), self._idf)

    @cached_property
    def vectors(self) -> Floats:
        """(n, d) float32 rows of length 1: latent semantic axes of the texts."""
        from sklearn.utils.extmath import randomized_svd

        size = min(_DIMENSIONS, *self.table.shape)
        left, values, _ = randomized_svd(self.table, size, random_state=0)
        made = left * values
        norm = np.linalg.norm(made, axis=1, keepdims=True)
        return np.asarray(made / np.maximum(norm, 1e-12), dtype=np.float32)

    def words(self, text: str, weights: Floats) -> tuple[Span, ...]:
        """Mark the words of a text with what they add to a label's margin.

        Args:
            text: One of the texts, as a family reads it.
            weights: (n_terms,) of the label.
        """
        row = self._counted([text])
        worth = dict(zip(row.indices.tolist(), (row.data * weights[row.indices]).tolist(), strict=True))
        return spread_over_words(text, [place for place in self.ngrams.places(text) if place[2] in worth], worth)


def learn(pool: Pool, known: Known, family: str = "linear", novelty: bool = True) -> Ranking:
    """Learn from what is known and score every record.

    Args:
        pool: The records.
        known: The decisions; the same decisions give the same ranking.
        family: One of `FAMILIES`. "linear" uses the pool's own counts; the others are fitted like any family.
        novelty: False when nobody asks how unlike the others a record is.

    Raises:
        MedbenchError: The family is unknown, or cannot be fitted here.
    """
    if family not in FAMILIES:
        raise MedbenchError(f"one of {', '.join(FAMILIES)}", repr(family), "Choose one of these.")
    n_labels = known.truth.shape[1]
    scores = np.zeros((len(pool), n_labels), dtype=np.float32)
    weights = np.zeros((pool.table.shape[1], n_labels), dtype=np.float32)
    positives = known.truth.sum(axis=0)
    both = (positives > 0) & (positives < len(known))
    for at in range(n_labels):
        if both[at]:
            weights[:, at], scores[:, at] = _linear(pool, known.rows, known.truth[:, at])
        else:
            weights[:, at], scores[:, at] = _by_likeness(pool, known.rows[known.truth[:, at]])
    if family != "linear" and both.any():
        scores[:, both] = _by_family(pool, Known(known.rows, known.truth[:, both]), family)
    far = novelty_of(pool.vectors, known.rows) if novelty else np.zeros(len(pool), dtype=np.float32)
    return Ranking(scores, far, bool(weights.any()), len(known), family, weights)


def _linear(pool: Pool, rows: npt.NDArray[np.int64], truth: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return (n_terms,) weights and (n,) scores of a support vector machine in which both sides count the same."""
    from sklearn.svm import LinearSVC

    fitted = LinearSVC(C=_C, class_weight="balanced", dual=True, tol=1e-3, random_state=0)
    fitted.fit(pool.table[rows].astype(np.float64), truth)
    weights = fitted.coef_[0].astype(np.float32)
    margins = np.asarray(pool.table @ weights + np.float32(fitted.intercept_[0]))
    return weights, squashed(margins[:, None], "many", _SLOPE)[:, 0]


def _by_likeness(pool: Pool, relevant: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Score by likeness to the relevant records, else to the question; nothing to go by scores 0."""
    if len(relevant):
        sought = np.asarray(pool.table[relevant].mean(axis=0), dtype=np.float32).ravel()
    elif pool.asked is not None:
        sought = np.asarray(pool.asked.todense(), dtype=np.float32).ravel()
    else:
        return np.zeros(pool.table.shape[1], dtype=np.float32), np.zeros(len(pool), dtype=np.float32)
    norm = float(np.linalg.norm(sought))
    return sought, np.asarray(pool.table @ sought / max(norm, 1e-12), dtype=np.float32)


def _by_family(pool: Pool, known: Known, family: str) -> Scores:
    method = get_family(family)
    labels = tuple(str(at) for at in range(known.truth.shape[1]))
    examples = Examples([pool.items[row] for row in known.rows.tolist()], known.truth, labels, "many")
    nothing = Examples([], np.zeros((0, len(labels)), dtype=bool), labels, "many")
    model = method.fit(examples, nothing, method.parse({}), Fitting(np.random.default_rng(0), Device(), Say()))
    return model.scores(pool.items)


@dataclass
class Ranker:
    """Learns on a thread of its own; `current` is the newest ranking and never waited for.

    Attributes:
        read_pool: Makes the pool; called once, on the thread.
        family: Who scores.
        current: The newest ranking, or None before the first.
        pool: The pool, or None before it was read.
        problem: Why the last attempt failed, one sentence, or empty.
    """

    read_pool: Callable[[], Pool]
    family: str = "linear"
    current: Ranking | None = None
    pool: Pool | None = None
    problem: str = ""
    _wanted: Known | None = None
    _told: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _made: threading.Event = field(default_factory=threading.Event)

    def tell(self, known: Known) -> None:
        """Hand over what is known now and return at once; only the newest word counts while the thread is busy."""
        with self._lock:
            said = hash((known.rows.tobytes(), known.truth.tobytes()))
            if said == self._told:
                return
            self._told, self._wanted = said, known
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="review-ranker", daemon=True)
                self._thread.start()

    @property
    def busy(self) -> bool:
        """True while the thread learns."""
        return self._thread is not None

    def first(self, seconds: float) -> None:
        """Wait, at most so long, until there is a ranking or none can be made; for whoever comes back to a review."""
        if self.busy:
            self._made.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Wait until the thread has nothing to do; for tests and the command line."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._lock:
                known, self._wanted = self._wanted, None
                if known is None:
                    self._thread = None
                    return
            self._learn(known)

    def _learn(self, known: Known) -> None:
        try:
            if self.pool is None:
                self.pool = self.read_pool()
            if self.family != "linear" and self.current is None:
                self.current = learn(self.pool, known)  # a quick ranking while the slower one is made
                self._made.set()
            self.current = learn(self.pool, known, self.family)
            self.problem = ""
        except MedbenchError as error:
            self._fall_back(known, str(error))
        except Exception:  # the thread's last wall: whatever it is, reading must go on
            log.exception("A review could not learn from its decisions.")
            self._fall_back(known, "Learning failed; the details are in the log.")
        self._made.set()

    def _fall_back(self, known: Known, problem: str) -> None:
        self.problem = problem
        if self.pool is not None and self.family != "linear":
            self.current = learn(self.pool, known)
