"""Why a text got a label: every way to explain it, what each is worth on this very text, and how far they agree.

Families know their own ways (`Model.methods`); leaving out words or sentences and SHAP work on any of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import evidence_agreement, shapley
from medbench.attribution import (
    SENTENCES_SHARE,
    evidence,
    measure,
    sentence_marks,
    sentence_units,
    word_spans,
)
from medbench.errors import MedbenchError, Stopped
from medbench.evidence_agreement import Agreement
from medbench.predicting import Loaded
from medbench.records import Explanation, Item, Span

Tell = Callable[[float], None]
"""Told the share done, 0-1."""
_MEASURED = 34  # readings that faithfulness costs, see `attribution.measure`
_SLICE = 16  # variants between two looks at the stop


@dataclass(frozen=True, slots=True)
class Method:
    """A way to explain a label on a text.

    Attributes:
        name: What the command line and the API call it.
        title: What a user reads.
        sentence: What it does, in one sentence.
        quick: Whether it is shown at once, or only when asked for: it reads the text some hundred times.
    """

    name: str
    title: str
    sentence: str
    quick: bool = True


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("contributions", "weight × TF-IDF", "Exact: what each word adds to the answer of a linear model."),
        Method("keywords", "keywords", "Exact: the model's own words for the label, with their weights."),
        Method("phrases", "phrases known for the label", "Phrases that stood for the label in the training texts."),
        Method("mentions", "lookup", "Mentions that the code tables, or the training texts, tie to the label."),
        Method("members", "mean of its members", "The evidence of the models an ensemble is made of, by their share."),
        Method("member", "evidence of the model that answered", "What a cascade's model that answered marks."),
        Method("quotes", "quoted passages", "Passages that a served model quotes when asked."),
        Method("label-attention", "label attention", "The words that the label itself picked from the text."),
        Method("occlusion", "occlusion", "Sentences, then words, are left out; their weight is what the answer loses."),
        Method("sentences", "occlusion of sentences", "Sentences are left out one by one: the quickest for any model."),
        Method(
            "integrated-gradients",
            "integrated gradients",
            "Follows the network's slope from an empty text to this one; the weights add up to the answer.",
        ),
        Method(
            "attention-rollout",
            "attention rollout",
            "What all layers together looked at; attention has no sign and often marks what did not matter.",
        ),
        Method(
            "shap",
            "SHAP",
            "Shares the answer out fairly among words: each is tried with and without the others. Takes longest.",
            quick=False,
        ),
    )
}
ANY_MODEL = ("occlusion", "sentences", "shap")


def methods_for(loaded: Loaded) -> list[Method]:
    """Return the methods that fit a model of texts, its best first. Raises MedbenchError for models of pictures."""
    if loaded.card.get("item", "text") != "text":
        raise MedbenchError("a model that reads texts", f"{loaded.id!r}, which reads pictures", "Choose another model.")
    return [METHODS[name] for name in dict.fromkeys([*loaded.model.methods(), *ANY_MODEL])]


def quick_for(loaded: Loaded) -> list[str]:
    """Return the names of the methods that may be shown at once: all but SHAP, or what a dear model says by itself."""
    dear = loaded.model.dear
    return [one.name for one in methods_for(loaded) if one.quick and not (dear and one.name in ANY_MODEL)]


def method_of(loaded: Loaded, name: str = "") -> Method:
    """Return a method that fits a model, its best when `name` is empty. Raises MedbenchError for any other name."""
    fitting = methods_for(loaded)
    found = [method for method in fitting if method.name == (name or fitting[0].name)]
    if not found:
        known = ", ".join(method.name for method in fitting)
        raise MedbenchError(f"a method that fits {loaded.id}: {known}", repr(name), "Choose one of these.")
    return found[0]


def explain(
    loaded: Loaded,
    item: Item,
    label: str,
    method: str = "",
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> Explanation:
    """Explain a label on a text by a method, and measure how faithful that is; the same every time.

    A model whose readings are dear is not asked for deletion and insertion, and what it says by itself is not measured.

    Args:
        loaded: A model of texts.
        item: The text.
        label: One of its labels.
        method: A name in `METHODS` that fits the model; its best one when empty.
        tell: Told the share done.
        stop: Set by another thread to give up.

    Raises:
        MedbenchError: The label or the method is not one of the model's.
        Stopped: When `stop` was set.
    """
    if label not in loaded.labels:
        raise MedbenchError(f"one of the labels {', '.join(loaded.labels)}", repr(label), "Choose one of these.")
    chosen, text = method_of(loaded, method), item.joined
    score = _Scorer(loaded, label, readings(chosen.name, text) + _MEASURED, tell, stop)
    spans = _marks(score, loaded, text, label, chosen.name)
    share = SENTENCES_SHARE if chosen.name == "sentences" else 0.2
    dear = loaded.model.dear
    asked = chosen.name in ANY_MODEL or not dear
    measured = measure(score, text, spans, share=share, curves=not dear) if asked else None
    return Explanation(label, chosen.title, spans, faithfulness=measured.gain if measured else None, measured=measured)


def readings(method: str, text: str) -> int:
    """Return about how often a method makes the model read a text; 0 for what a model knows by itself."""
    sentences = len(sentence_units(text))
    words = min(len(word_spans(text)), 32)
    return {"occlusion": sentences + words, "sentences": sentences, "shap": shapley.READINGS}.get(method, 0)


def _marks(score: _Scorer, loaded: Loaded, text: str, label: str, method: str) -> tuple[Span, ...]:
    if not word_spans(text):
        return ()
    if method == "occlusion":
        return evidence(score, text)
    if method == "sentences":
        return sentence_marks(score, text)
    if method == "shap":
        return shapley.shap_words(score, text)
    with loaded.lock:
        return loaded.model.marks(text, label, method)


class _Scorer:
    """Scores one label on variants of a text, a few at a time: others may ask the model in between, and stop it."""

    def __init__(
        self, loaded: Loaded, label: str, expected: int, tell: Tell | None = None, stop: threading.Event | None = None
    ) -> None:
        self.loaded, self.label, self.expected, self.tell, self.stop = loaded, label, expected, tell, stop
        self.done = 0

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = []
        for at in range(0, len(texts), _SLICE):
            if self.stop is not None and self.stop.is_set():
                raise Stopped
            with self.loaded.lock:
                found.append(self.loaded.model.label_scores(texts[at : at + _SLICE], self.label))
            self.done += len(found[-1])
            if self.tell is not None:
                self.tell(min(self.done / max(self.expected, 1), 0.99))
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


# --- methods side by side ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """Several explanations of one answer.

    Attributes:
        methods: Their names, n.
        told: The explanations, n.
        agreement: (n, n): how far each agrees with each.
        seconds: What each took, n.
    """

    methods: tuple[str, ...]
    told: tuple[Explanation, ...]
    agreement: tuple[tuple[Agreement, ...], ...]
    seconds: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything but the time, JSON-ready."""
        told = [{"name": name, **explanation_json(one)} for name, one in zip(self.methods, self.told, strict=True)]
        return {"methods": told, "agreement": [[asdict(cell) for cell in row] for row in self.agreement]}


def explanation_json(told: Explanation) -> dict[str, Any]:
    """Return an explanation of a text, JSON-ready."""
    measured = asdict(told.measured) if told.measured else None
    spans = [asdict(span) for span in told.spans]
    facts = {"label": told.label, "method": told.method, "spans": spans}
    return {**facts, "faithfulness": told.faithfulness, "measured": measured}


def compare(
    loaded: Loaded,
    item: Item,
    label: str,
    methods: Sequence[str] = (),
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> Compared:
    """Explain a label by several methods and say how far they agree.

    Args:
        loaded: A model of texts.
        item: The text.
        label: One of its labels.
        methods: Names in `METHODS` that fit the model; all that do when empty.
        tell: Told the share done.
        stop: Set by another thread to give up.

    Raises:
        MedbenchError: The label or a method is not one of the model's.
        Stopped: When `stop` was set.
    """
    chosen = [method_of(loaded, name) for name in dict.fromkeys(methods)] or methods_for(loaded)
    told, seconds = [], []
    for at, method in enumerate(chosen):
        within = None if tell is None else _part(tell, at, len(chosen))
        began = time.monotonic()
        told.append(explain(loaded, item, label, method.name, within, stop))
        seconds.append(time.monotonic() - began)
    grid = tuple(map(tuple, evidence_agreement.between(item.joined, told)))
    return Compared(tuple(method.name for method in chosen), tuple(told), grid, tuple(seconds))


def _part(tell: Tell, at: int, of: int) -> Tell:
    return lambda share: tell((at + share) / of)


@dataclass(frozen=True, slots=True)
class Study:
    """Methods compared over many texts.

    Attributes:
        methods: Their names, n.
        items: Texts they were compared on, a count.
        rows: For each method its mean "gain", "comprehensiveness", "sufficiency", "random", "deletion", "insertion",
            "chance", the "seconds" an explanation took, and "texts": on how many something was marked.
        correlation: (n, n) mean rank correlation of the weights; nan where there was none.
        overlap: (n, n) mean share of the strongest words, or sentences, that both name.
        same_top: (n, n) share of the texts in which both name the same strongest one.
    """

    methods: tuple[str, ...]
    items: int
    rows: tuple[dict[str, float], ...]
    correlation: npt.NDArray[np.float64]
    overlap: npt.NDArray[np.float64]
    same_top: npt.NDArray[np.float64]

    def as_json(self) -> dict[str, Any]:
        """Return everything, JSON-ready; None where there was nothing to average."""
        rows = [{"name": name, **row} for name, row in zip(self.methods, self.rows, strict=True)]
        tables = {"correlation": self.correlation, "overlap": self.overlap, "same_top": self.same_top}
        grids = {
            name: [[None if np.isnan(cell) else round(cell, 4) for cell in row] for row in table.tolist()]
            for name, table in tables.items()
        }
        return {"items": self.items, "methods": rows, **grids}


def study(
    loaded: Loaded,
    pairs: Sequence[tuple[Item, str]],
    methods: Sequence[str] = (),
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> Study:
    """Compare methods over many texts: what each is worth on the whole, and how often two of them agree.

    Args:
        loaded: A model of texts.
        pairs: Texts, each with the label to explain.
        methods: Names in `METHODS` that fit; when empty, all that are quick.
        tell: Told the share done.
        stop: Set by another thread to end early; what is done by then is summed up.

    Raises:
        MedbenchError: A label or a method is not one of the model's.
    """
    names = tuple(methods) or tuple(quick_for(loaded))
    found: list[Compared] = []
    tops: list[npt.NDArray[np.bool_]] = []
    for at, (item, label) in enumerate(pairs):
        try:
            within = None if tell is None else _part(tell, at, len(pairs))
            one = compare(loaded, item, label, names, within, stop)
        except Stopped:
            break
        found.append(one)
        first = [
            [evidence_agreement.agree(item.joined, a.spans, b.spans, top=1).overlap for b in one.told] for a in one.told
        ]
        tops.append(np.array(first, dtype=np.float64))
    rows = tuple(
        _mean_row([one.told[at] for one in found], [one.seconds[at] for one in found]) for at in range(len(names))
    )
    grids = [one.agreement for one in found]
    correlation = [[[cell.correlation for cell in row] for row in grid] for grid in grids]
    overlap = [[[cell.overlap for cell in row] for row in grid] for grid in grids]
    tables = [_mean_table(table, len(names)) for table in (correlation, overlap, tops)]
    return Study(names, len(found), rows, *tables)


def _mean_table(tables: Sequence[Any], n: int) -> npt.NDArray[np.float64]:
    stacked = np.array(tables, dtype=np.float64).reshape(-1, n, n)
    there = ~np.isnan(stacked)
    return np.where(there.any(axis=0), np.nansum(stacked, axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)


def _mean_row(told: Sequence[Explanation], seconds: Sequence[float]) -> dict[str, float]:
    each = [{**asdict(one.measured), "gain": one.measured.gain} for one in told if one.measured is not None]
    names = ("gain", "comprehensiveness", "sufficiency", "random", "deletion", "insertion", "chance")
    means = {name: round(float(np.mean([one[name] for one in each])), 4) for name in names} if each else {}
    return {**means, "seconds": round(float(np.mean(seconds)), 3) if seconds else 0.0, "texts": len(each)}
