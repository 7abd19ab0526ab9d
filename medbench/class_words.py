"""The words that matter for each label, by what leaving them out of held-out texts does to the answer.

A model's folder then holds `class_words.json`; the worker writes it, before the weights may be fitted once more on all
rows. Any family of texts can be asked: nothing is needed but its scores.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import is_function_word, log_odds, occlude, word_spans
from medbench.events import Say
from medbench.families import Model
from medbench.records import ItemKind, Truth
from medbench.workspace import read_json, write_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FILE, VERSION = "class_words.json", 1
SECONDS = 60.0
"""How long the search may take; what has been measured by then counts."""
_TEXTS, _LABELS = 2_000, 200
_CANDIDATES, _PLACES, _KEPT = 15, 5, 10  # words looked at for a label, texts each is left out of, words kept
_SLICE = 64
_RARE = 2.0  # draws what few texts say towards nothing
Tell = Callable[[float], None]
_log = logging.getLogger("medbench.class_words")
_LETTER = re.compile(r"[^\W\d_]{2}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word that matters for a label.

    Attributes:
        word: In lower case.
        weight: Mean fall of the label's log-odds when the word is left out everywhere in a text.
        measured: Texts it was left out of, a count.
        texts: Held-out texts with the word that the model gives the label, a count.
    """

    word: str
    weight: float
    measured: int
    texts: int


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What was found.

    Attributes:
        words: Label -> its words, strongest first; labels without any are left out.
        split: Which texts were read: "test", "validation" or "out-of-fold".
        items: How many texts were read, a count.
        readings: How often the model read a text without a word, a count.
        complete: False when the time was up before every word was tried in as many texts as there are for it.
        seen: True when the weights that were asked had learnt from these very texts.
    """

    words: dict[str, tuple[Word, ...]]
    split: str
    items: int
    readings: int
    complete: bool
    seen: bool

    def rows(self, names: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Return a row for every word, for a table."""
        return [
            {"label": (names or {}).get(label, label), "rank": rank, **asdict(word)}
            for label, found in self.words.items()
            for rank, word in enumerate(found, start=1)
        ]


def find(
    model: Model,
    items: Sequence[str],
    decided: Truth,
    split: str,
    *,
    seen: bool,
    seconds: float = SECONDS,
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> ClassWords:
    """Find the words that matter for each label.

    Words that stand in texts with high scores are tried: each is left out of up to five texts that the model gives the
    label, and the mean fall of the log-odds counts. Texts in turn, so that a short time gives every word a chance.

    Args:
        model: Any model of texts.
        items: n held-out texts; at most 2,000 of them, evenly spread, are read.
        decided: (n, n_labels) bool, what the model decided for.
        split: Their split, for the record.
        seen: Whether the model has learnt from these texts.
        seconds: How long it may take.
        tell: Told the share done.
        stop: Set by another thread to end early.
    """
    began = time.monotonic()
    evenly = np.linspace(0, max(len(items) - 1, 0), min(len(items), _TEXTS)).round().astype(int)
    texts, said = [items[at] for at in evenly], decided[evenly]
    odds = log_odds(model.scores(texts)) if texts else np.zeros(said.shape)
    table, vocabulary = _presence(texts)
    tasks = _tasks(table, odds, said)
    falls: dict[tuple[int, int], list[float]] = {}
    readings, total = 0, max(len({(row, word) for _, word, row in tasks}), 1)
    for pairs in _slices(tasks):
        if time.monotonic() - began > seconds or (stop is not None and stop.is_set()):
            break
        variants = [_without(texts[row], vocabulary[word]) for row, word in pairs]
        after = log_odds(model.scores(variants))
        for (row, word), new in zip(pairs, after, strict=True):
            for label in pairs[row, word]:
                falls.setdefault((label, word), []).append(float(odds[row, label] - new[label]))
        readings += len(variants)
        if tell is not None:
            tell(min(readings / total, 1.0))
    words = {name: _strongest(at, falls, table, said, vocabulary) for at, name in enumerate(model.labels)}
    kept = {name: found for name, found in words.items() if found}
    return ClassWords(kept, split, len(texts), readings, readings >= total or not tasks, seen)


def _presence(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """Return (n_texts, n_words) ones where a word stands in a text, and the words in column order."""
    from scipy.sparse import csr_matrix

    columns: dict[str, int] = {}
    where: list[int] = []
    ends = [0]
    for text in texts:
        said = {text[start:end].casefold() for start, end in word_spans(text)}
        telling = sorted(word for word in said if _LETTER.search(word) and not is_function_word(word))
        where += [columns.setdefault(word, len(columns)) for word in telling]
        ends.append(len(where))
    table = csr_matrix((np.ones(len(where), dtype=np.float32), where, ends), shape=(len(texts), len(columns)))
    return table, list(columns)


def _tasks(table: csr_matrix, odds: npt.NDArray[np.float64], said: Truth) -> list[tuple[int, int, int]]:
    """Return (label, word, text) to try, all words' first texts before any word's second."""
    labels = np.argsort(-said.sum(axis=0), kind="stable")[:_LABELS]
    labels = labels[said[:, labels].any(axis=0)]
    if not len(labels) or not table.shape[1]:
        return []
    high = odds[:, labels] - odds[:, labels].mean(axis=0)
    counts = np.asarray(table.sum(axis=0)).reshape(-1)
    telling = (table.T @ high) / np.sqrt(counts + _RARE)[:, None]
    by_word = table.tocsc()
    tasks = []
    for at, label in enumerate(labels.tolist()):
        given = 0
        for word in np.argsort(-telling[:, at], kind="stable").tolist():
            rows = by_word.indices[by_word.indptr[word] : by_word.indptr[word + 1]]
            rows = rows[said[rows, label]]
            if not len(rows) or telling[word, at] <= 0:
                continue
            best = rows[np.argsort(-odds[rows, label], kind="stable")][:_PLACES]
            tasks += [(turn, label, word, int(row)) for turn, row in enumerate(best)]
            given += 1
            if given == _CANDIDATES:
                break
    return [(label, word, row) for _, label, word, row in sorted(tasks, key=lambda task: task[0])]


def _slices(tasks: Sequence[tuple[int, int, int]]) -> list[dict[tuple[int, int], list[int]]]:
    """Return (text, word) -> labels, some 64 of them at a time: one reading answers for all labels."""
    wanted: dict[tuple[int, int], list[int]] = {}
    for label, word, row in tasks:
        wanted.setdefault((row, word), []).append(label)
    pairs = list(wanted.items())
    return [dict(pairs[at : at + _SLICE]) for at in range(0, len(pairs), _SLICE)]


def _without(text: str, word: str) -> str:
    return occlude(text, [(start, end) for start, end in word_spans(text) if text[start:end].casefold() == word])


def _strongest(
    label: int,
    falls: dict[tuple[int, int], list[float]],
    table: csr_matrix,
    said: Truth,
    vocabulary: Sequence[str],
) -> tuple[Word, ...]:
    found = []
    for (of, word), each in falls.items():
        mean = float(np.mean(each))
        if of == label and mean > 0:
            texts = int(table[:, [word]].toarray().astype(bool)[:, 0][said[:, label]].sum())
            found.append(Word(vocabulary[word], round(mean, 4), len(each), texts))
    return tuple(sorted(found, key=lambda word: -word.weight)[:_KEPT])


class Look:
    """Finds the words in the texts a model is judged on, when shown it; keeps them until there is a folder for them."""

    def __init__(self, say: Say, item: ItemKind = "text") -> None:
        """Take where progress goes and a stop is heard, and what the items are: pictures have no words."""
        self.say, self.item = say, item
        self.found: ClassWords | None = None

    def __call__(self, model: Model, items: Sequence[str], decided: Truth, split: str) -> None:
        """Look, unless readings are dear; a failure is logged: no training may be lost to a list of words."""
        if self.say.stopping or self.item != "text" or model.dear:
            return
        self.say("stage", name="words", sentence="Finding the words that matter for each label.")
        try:
            self.found = find(model, items, decided, split, seen=split == "out-of-fold", stop=self.say.stop)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("The words that matter for each label could not be found.")

    def save(self, folder: Path) -> None:
        """Write what was found, if anything."""
        if self.found is not None:
            save(folder, self.found)


# --- kept with the model -----------------------------------------------------------------------------------------


def save(folder: Path, found: ClassWords) -> None:
    """Write class_words.json."""
    write_json(folder / FILE, {"version": VERSION, **asdict(found)})


def load(folder: Path) -> ClassWords | None:
    """Return what was found for a model; None when nobody has looked. Raises MedbenchError when it is damaged."""
    if not (folder / FILE).exists():
        return None
    facts = read_json(folder / FILE)
    words = {label: tuple(Word(**one) for one in found) for label, found in facts["words"].items()}
    return ClassWords(words, facts["split"], facts["items"], facts["readings"], facts["complete"], facts["seen"])
