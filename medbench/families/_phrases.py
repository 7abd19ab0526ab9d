"""Phrases that speak for labels: learnt from marked evidence, or from the words that texts of a label share.

For a phrase g (1 to 5 words, spelling levelled) and a label c the table keeps in how many training texts g stood, in
how many of them g belonged to a mark for c, and in how many g covered such a mark wholly. New texts are read for all
known phrases; what they say is summed up in `SIGNALS` for every (text, label) pair that any phrase speaks for.

A training text must not be judged by its own marks: the counts of a text are taken out before its signals are read, so
the ranker that weighs the signals sees them as new texts will show them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import sentence_spans
from medbench.families._ngrams import FUNCTION_WORDS
from medbench.records import Examples, Mark

LONGEST = 5
SIGNALS = ("whole", "free", "together", "category", "words", "support")
"""What phrases say of a (text, label) pair:

whole     best share of texts with the phrase in which it covered a mark for the label
free      best share of texts with the phrase in which it touched one, of phrases inside no longer known phrase
together  sum of -log(1 - share) over all phrases: what they say together (noisy or)
category  best share of texts with the phrase in which it touched a mark for any label of the same category
words     length of the phrase behind "whole", in words
support   number of texts behind "whole"
"""
_LEAST_TOGETHER = 2
_LEAST_SHARE = 0.25
_NEGLIGIBLE = 0.02
_SURE = 0.98
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_EMPTY = FUNCTION_WORDS | {"patient", "showed", "presented"}
# British and Latin spellings, and plurals, brought to one form.
_SPELLINGS = (
    *(("oedem", "edem"), ("haem", "hem"), ("oesoph", "esoph"), ("tumour", "tumor"), ("rrhoea", "rrhea")),
    *(("anaem", "anem"), ("aemia", "emia"), ("leuco", "leuko")),
)
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("oses", "osis"))

Word = tuple[str, int, int]
Grams = dict[str, list[tuple[int, int, int]]]
Told = dict[str, dict[int, bool]]
Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=200_000)
def level(word: str) -> str:
    """Return one spelling for a word: lower case, no accents, singular, American."""
    letters = unicodedata.normalize("NFD", word.lower())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    if len(plain) <= 3 or plain.isdigit():
        return plain
    for theirs, ours in _SPELLINGS:
        plain = plain.replace(theirs, ours)
    for plural, singular in _ENDINGS:
        if plain.endswith(plural):
            return plain.removesuffix(plural) + singular
    return plain[:-1] if plain.endswith("s") and not plain.endswith(("ss", "us", "is")) else plain


def sentences_of(text: str) -> list[list[Word]]:
    """Return the sentences of a text, each a list of (levelled word, start, end) in characters of the text."""
    return [
        [(level(match.group()), *match.span()) for match in _WORD.finditer(text, begin, end)]
        for begin, end in sentence_spans(text)
    ]


def grams_of(sentences: list[list[Word]]) -> Grams:
    """Return phrase -> [(sentence, first word, last word + 1)] for every group of words without empty edges."""
    found: Grams = {}
    for row, sentence in enumerate(sentences):
        words = [word for word, _, _ in sentence]
        edge = [word in _EMPTY for word in words]
        for first, word in enumerate(words):
            if edge[first]:
                continue
            found.setdefault(word, []).append((row, first, first + 1))
            for end in range(first + 2, min(first + LONGEST, len(words)) + 1):
                if not edge[end - 1]:
                    found.setdefault(" ".join(words[first:end]), []).append((row, first, end))
    return found


def told_by(sentences: list[list[Word]], marks: Sequence[Mark], column: dict[str, int]) -> Told:
    """Return phrase -> {label column: True when the phrase covers a whole mark} from the marks of one text.

    A phrase belongs to a mark when it overlaps it and has at most one telling word more.
    """
    told: Told = {}
    for mark in marks:
        if (label := column.get(mark.label)) is None:
            continue
        for sentence in sentences:
            inside = [at for at, (_, begin, end) in enumerate(sentence) if begin < mark.end and end > mark.start]
            telling = {at for at in inside if sentence[at][0] not in _EMPTY}
            if not telling:
                continue
            for first in range(max(0, inside[0] - 1), inside[-1] + 1):
                for end in range(first + 1, min(first + LONGEST, inside[-1] + 2, len(sentence)) + 1):
                    words = [word for word, _, _ in sentence[first:end]]
                    if words[0] in _EMPTY or words[-1] in _EMPTY:
                        continue
                    shared = len(telling.intersection(range(first, end)))
                    if shared and shared >= sum(word not in _EMPTY for word in words) - 1:
                        labels = told.setdefault(" ".join(words), {})
                        labels[label] = labels.get(label, False) or shared == len(telling)
    return told


@dataclass
class Phrases:
    """The learnt table.

    Attributes:
        texts: Phrase -> number of training texts it stands in.
        marked: Phrase -> number of training texts in which it belonged to any mark.
        touched: Phrase -> {label column: texts in which it belonged to a mark for the label}.
        covered: Phrase -> {label column: texts in which it covered one wholly}.
        grouped: Phrase -> {category: texts in which it belonged to a mark for a label of the category}.
        category: (L,) category number of each label column.
    """

    texts: dict[str, int]
    marked: dict[str, int]
    touched: dict[str, dict[int, int]]
    covered: dict[str, dict[int, int]]
    grouped: dict[str, dict[int, int]]
    category: npt.NDArray[np.int64]

    def signals(self, grams: Grams, own: Told | None = None) -> tuple[list[int], Floats]:
        """Return the label columns that phrases speak for, (m,), and their signals, (m, 6) float32.

        Args:
            grams: The text's phrases (`grams_of`).
            own: The text's own marks (`told_by`), when it is one of the training texts: they are not counted.
        """
        mine = own or {}
        less = own is not None
        known = {g for g in grams if self.marked.get(g, 0) - (g in mine) > 0}
        free = _free(grams, known)
        pairs: dict[int, list[float]] = {}
        groups: dict[int, float] = {}
        for gram in known:
            there = self.texts[gram] - less + 1.0
            said = mine.get(gram, {})
            covered = self.covered.get(gram, {})
            for label, count in self.touched[gram].items():
                touched = count - (label in said)
                if touched <= 0:
                    continue
                values = pairs.setdefault(label, [0.0] * len(SIGNALS))
                share = touched / there
                whole = covered.get(label, 0) - said.get(label, False)
                if whole / there > values[0]:
                    values[0], values[4], values[5] = whole / there, gram.count(" ") + 1, whole
                if gram in free and share > values[1]:
                    values[1] = share
                values[2] -= float(np.log1p(-min(share, _SURE)))
            here = {int(self.category[label]) for label in said}
            for group, count in self.grouped[gram].items():
                groups[group] = max(groups.get(group, 0.0), (count - (group in here)) / there)
        for label, values in pairs.items():
            values[3] = groups.get(int(self.category[label]), 0.0)
        return list(pairs), np.array(list(pairs.values()), dtype=np.float32).reshape(-1, len(SIGNALS))

    def speaking(self, grams: Grams, label: int) -> list[tuple[float, str]]:
        """Return (share, phrase) of the text's phrases that speak for a label, the strongest first."""
        found = [
            (count / (self.texts[gram] + 1.0), gram)
            for gram in grams
            if (count := self.covered.get(gram, self.touched.get(gram, {})).get(label, 0))
        ]
        return sorted(found, key=lambda one: (-one[0], -len(one[1]), one[1]))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return plain arrays that `phrases_from` turns back; what speaks with less than 2 % is left out."""
        grams = sorted(self.texts)
        parts: dict[str, npt.NDArray[Any]] = {
            "phrases": np.frombuffer("\n".join(grams).encode(), dtype=np.uint8),
            "texts": np.array([self.texts[gram] for gram in grams], dtype=np.int32),
            "marked": np.array([self.marked[gram] for gram in grams], dtype=np.int32),
            "category": self.category.astype(np.int32),
        }
        for name, table in (("touched", self.touched), ("covered", self.covered), ("grouped", self.grouped)):
            rows = [sorted(table.get(gram, {}).items()) for gram in grams]
            kept = [
                [(column, n) for column, n in row if n / (self.texts[gram] + 1) >= _NEGLIGIBLE]
                for gram, row in zip(grams, rows, strict=True)
            ]
            flat = np.array([pair for row in kept for pair in row], dtype=np.int32).reshape(-1, 2)
            parts[f"{name}.ends"] = np.cumsum([len(row) for row in kept]).astype(np.int32)
            parts[f"{name}.columns"], parts[f"{name}.counts"] = flat[:, 0], flat[:, 1]
        return parts


def _free(grams: Grams, known: set[str]) -> set[str]:
    """Return the known phrases with a place that lies inside no longer known phrase."""
    longest: dict[tuple[int, int], int] = {}
    for gram in known:
        for row, first, end in grams[gram]:
            for at in range(first, end):
                longest[row, at] = max(longest.get((row, at), 0), end - first)
    return {
        gram
        for gram in known
        if any(min(longest[row, at] for at in range(first, end)) <= end - first for row, first, end in grams[gram])
    }


def phrases_from(arrays: dict[str, npt.NDArray[Any]]) -> Phrases:
    """Rebuild the table from what `Phrases.arrays` returned. Raises KeyError or ValueError when arrays are damaged."""
    joined = arrays["phrases"].tobytes().decode()
    grams = joined.split("\n") if joined else []
    tables: dict[str, dict[str, dict[int, int]]] = {}
    for name in ("touched", "covered", "grouped"):
        ends = [0, *arrays[f"{name}.ends"].tolist()]
        columns, counts = arrays[f"{name}.columns"].tolist(), arrays[f"{name}.counts"].tolist()
        tables[name] = {
            gram: dict(zip(columns[begin:end], counts[begin:end], strict=True))
            for gram, (begin, end) in zip(grams, pairwise(ends), strict=True)
        }
    texts = dict(zip(grams, arrays["texts"].tolist(), strict=True))
    marked = dict(zip(grams, arrays["marked"].tolist(), strict=True))
    return Phrases(texts, marked, **tables, category=arrays["category"].astype(np.int64))


def learn(
    train: Examples, all_grams: Sequence[Grams], sentences: Sequence[list[list[Word]]]
) -> tuple[Phrases, list[Told]]:
    """Learn the table from a training set; return it and what each text's own marks told.

    Without marks, phrases that share texts with a label stand in for them: see `_shared`.
    """
    column = {label: at for at, label in enumerate(train.labels)}
    if any(train.marks):
        told = [told_by(found, marks, column) for found, marks in zip(sentences, train.marks, strict=True)]
    else:
        told = _shared(train, all_grams)
    heads = {label.partition(".")[0] for label in train.labels}
    number = {head: at for at, head in enumerate(sorted(heads))}
    category = np.array([number[label.partition(".")[0]] for label in train.labels], dtype=np.int64)
    marked: Counter[str] = Counter()
    touched: defaultdict[str, Counter[int]] = defaultdict(Counter)
    covered: defaultdict[str, Counter[int]] = defaultdict(Counter)
    grouped: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for each in told:
        for gram, labels in each.items():
            marked[gram] += 1
            touched[gram].update(labels.keys())  # of a mapping, Counter would add up the values
            covered[gram].update(label for label, whole in labels.items() if whole)
            grouped[gram].update({int(category[label]) for label in labels})
    texts = Counter(gram for grams in all_grams for gram in grams if gram in marked)
    return Phrases(dict(texts), dict(marked), dict(touched), dict(covered), dict(grouped), category), told


def _shared(train: Examples, all_grams: Sequence[Grams]) -> list[Told]:
    """Return for each text the phrases that speak for its labels when nobody marked any.

    A phrase speaks for a label when at least two texts have both and at least a quarter of its texts have the label,
    twice as many as of all texts.
    """
    share = (train.truth.sum(axis=0) + 0.5) / (len(train) + 1)
    labels = [np.flatnonzero(row).tolist() for row in train.truth]
    texts = Counter(gram for grams in all_grams for gram in grams)
    often = {gram for gram, count in texts.items() if count >= _LEAST_TOGETHER}
    both: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for grams, mine in zip(all_grams, labels, strict=True):
        for gram in often.intersection(grams):
            both[gram].update(mine)
    speaks = {
        gram: kept
        for gram, counts in both.items()
        if (
            kept := {
                label
                for label, count in counts.items()
                if count >= _LEAST_TOGETHER and count / texts[gram] >= max(_LEAST_SHARE, min(2 * share[label], 0.9))
            }
        )
    }
    return [
        {
            gram: dict.fromkeys(hit, True)
            for gram in grams
            if gram in speaks and (hit := speaks[gram].intersection(mine))
        }
        for grams, mine in zip(all_grams, labels, strict=True)
    ]
