"""Why a text got its score: leave parts of it out, watch the score, and measure how faithful the marks are.

Everything here works on any model that scores texts; the caller passes a function that scores one label.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from medbench.records import Explanation, Faithfulness, Span

Stretch = tuple[int, int]
"""[start, end) in characters of the original text."""

ScoreTexts = Callable[[Sequence[str]], npt.NDArray[np.floating]]
"""n texts -> (n,) scores in [0, 1] of the one label that is explained."""

_WORD = re.compile(r"[^\W_][\w\u0300-\u036f]*(?:['’‐‑-][^\W_][\w\u0300-\u036f]*)*")
_BREAK = re.compile(r"(?:[.!?]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])|\s*\n\s*(?=[^\sa-z])|\s*\n\s*\n\s*)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|vs|e\.g|i\.e|cf|al|etc|approx|fig|figs|no|nos|dr|mr|mrs|ms|prof|st|ca)\.$", re.I
)
_FUNCTION_WORD = re.compile(
    r"a|an|and|are|as|at|be|been|being|both|but|by|can|could|did|do|does|for|from|had|has|have|he|her|his|if|in|"
    r"into|is|it|its|may|might|of|on|or|our|she|should|so|such|than|that|the|their|them|then|there|these|they|this|"
    r"those|to|was|we|were|when|where|which|while|who|will|with|would"
)
_ODDS_FLOOR = 1e-6
SENTENCES_SHARE = 0.34
"""At most this share of a text's words counts as the marks where whole sentences are marked."""
_STEPS = (0.1, 0.3, 0.5, 0.7, 0.9)  # symmetric: taking words away in one random order is bringing them in its reverse
_ORDERS = 3


def word_spans(text: str) -> list[Stretch]:
    """Return the whole words of `text`, in order; inner hyphens and apostrophes belong to it ("IL-6", "don't")."""
    return [match.span() for match in _WORD.finditer(text)]


def is_function_word(word: str) -> bool:
    """Return whether a word in lower case says nothing by itself ("of", "was"); negations say something."""
    return _FUNCTION_WORD.fullmatch(word) is not None


def sentence_spans(text: str) -> list[Stretch]:
    """Return the sentences of `text` that hold a word, in order, without surrounding white space.

    A sentence ends at . ! ? before a capital, a digit or a bracket, and at a line break unless the next line begins in
    lower case (a folded line). Common abbreviations and initials ("E. coli", "vs.", "et al.") end nothing.
    """
    starts = [0]
    for match in _BREAK.finditer(text):
        mark = text[starts[-1] : match.start() + 1]
        if "\n" in match.group() or not _ABBREVIATION.search(mark):
            starts.append(match.end())
    return [found for pair in zip(starts, [*starts[1:], len(text)], strict=True) if (found := _trimmed(text, *pair))]


def _trimmed(text: str, start: int, end: int) -> Stretch | None:
    piece = text[start:end]
    if not _WORD.search(piece):
        return None
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def occlude(text: str, spans: Iterable[Stretch], *, keep: bool = False) -> str:
    """Return `text` without these stretches (a space in place of each), or with nothing but them when `keep`."""
    merged = _merged(spans)
    if keep:
        return " ".join(text[start:end] for start, end in merged)
    pieces, at = [], 0
    for start, end in merged:
        pieces.append(text[at:start])
        at = max(at, end)
    return " ".join([*pieces, text[at:]])


def _merged(spans: Iterable[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def occlusion(score_texts: ScoreTexts, text: str, units: Sequence[Stretch]) -> tuple[Span, ...]:
    """Weigh each unit by what leaving it out does to the score.

    Args:
        score_texts: Scores one label; it is called once, with the text and all its variants.
        text: The original text.
        units: Stretches to weigh, e.g. `word_spans(text)`.

    Returns:
        One span per unit, in their order; the weight is the drop of the log-odds of the score when the unit is left out
        (Robnik-Šikonja and Kononenko 2008, "weight of evidence"), so that sure answers are still told apart.
    """
    drops = _drops(score_texts, text, [[unit] for unit in units])
    return tuple(Span(start, end, float(drop)) for (start, end), drop in zip(units, drops, strict=True))


def log_odds(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the log-odds, in the shape of the scores in [0, 1], which are kept a millionth away from both ends."""
    kept = np.clip(np.asarray(scores, dtype=np.float64), _ODDS_FLOOR, 1 - _ODDS_FLOOR)
    odds: npt.NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return odds


def _drops(score_texts: ScoreTexts, text: str, groups: Sequence[Sequence[Stretch]]) -> npt.NDArray[np.float64]:
    if not groups:
        return np.zeros(0)
    odds = log_odds(score_texts([text, *(occlude(text, group) for group in groups)]))
    drops: npt.NDArray[np.float64] = odds[0] - odds[1:]
    return drops


def evidence(score_texts: ScoreTexts, text: str, *, sentences: int = 3, words: int = 32) -> tuple[Span, ...]:
    """Mark what drove a score: sentences are weighed first, then the words of the strongest ones.

    A word that occurs several times is left out everywhere at once, and every place gets an equal part of the drop.
    A strong sentence none of whose words matters alone is marked as a whole.

    Args:
        score_texts: Scores one label; called twice.
        text: The original text.
        sentences: How many sentences are looked into word by word.
        words: At most this many different words are weighed.

    Returns:
        Spans in text order that do not overlap, weights as in `occlusion`. Empty when the text has no words.
    """
    found = sentence_spans(text)
    weighed = occlusion(score_texts, text, found) if len(found) > 1 else tuple(Span(*unit, 0.0) for unit in found)
    strongest = sorted(weighed, key=lambda span: -abs(span.weight))[:sentences]
    places = _places(text, [(span.start, span.end) for span in strongest], words)
    drops = _drops(score_texts, text, list(places.values()))
    marked = [
        Span(start, end, float(drop) / len(group))
        for drop, group in zip(drops, places.values(), strict=True)
        for start, end in group
    ]
    for sentence in strongest:
        inside = [span for span in marked if sentence.start <= span.start < sentence.end]
        top = max((abs(span.weight) for span in inside), default=0.0)
        if abs(sentence.weight) > 4 * top:
            marked = [span for span in marked if span not in inside] + [sentence]
    return tuple(sorted((span for span in marked if span.weight), key=lambda span: span.start))


def _places(text: str, sentences: Sequence[Stretch], limit: int) -> dict[str, list[Stretch]]:
    """Return word (folded) -> every place in the text, for at most `limit` words of these sentences."""
    places: dict[str, list[Stretch]] = {}
    for start, end in sentences:
        for at, to in word_spans(text[start:end]):
            word = text[start + at : start + to].casefold()
            if not is_function_word(word) and len(places) < limit:
                places.setdefault(word, [])
    for start, end in word_spans(text):
        if (word := text[start:end].casefold()) in places:
            places[word].append((start, end))
    return places


def measure(
    score_texts: ScoreTexts,
    text: str,
    spans: Sequence[Span],
    *,
    share: float = 0.2,
    draws: int = 6,
    curves: bool = True,
) -> Faithfulness | None:
    """Measure whether the marked evidence matters more than any other words; the same every time.

    Args:
        score_texts: Scores one label, in [0, 1]; called once, with `draws` + 3 texts and 25 more for the curves.
        text: The original text.
        spans: The marks; only those with a positive weight count as evidence, strongest first.
        share: At most this share of the text's words is taken as the marks (the strongest mark in any case).
        draws: How many random removals are averaged: runs of words of the same lengths as the marks, which do not
            overlap, and single words that are no function words unless such a one is marked.
        curves: Also measure deletion and insertion, in five steps, and in three random orders of the words.

    Returns:
        None when nothing is marked or the text is one word.
    """
    words = word_spans(text)
    top, sizes = _strongest(spans, words, max(1, round(share * len(words))))
    if not top or len(words) < 2:
        return None
    rng = np.random.default_rng(zlib.crc32(text.encode("utf-8", "surrogatepass")))
    variants = [text, occlude(text, top), occlude(text, top, keep=True)]
    telling = _telling(text, top, sizes, words)
    variants += [occlude(text, random_runs(words, sizes, telling, rng)) for _ in range(draws)]
    orders = [_order(spans, words, rng), *(rng.permutation(len(words)) for _ in range(_ORDERS))] if curves else []
    for at, order in enumerate(orders):
        parts = [[words[word] for word in order[: max(1, round(step * len(words)))]] for step in _STEPS]
        variants += [occlude(text, part) for part in parts]
        variants += [occlude(text, part, keep=True) for part in parts] if at == 0 else []
    scores = np.asarray(score_texts(variants), dtype=np.float64)
    removed = float(scores[0] - scores[3 : 3 + draws].mean())
    curve = scores[3 + draws :].reshape(-1, len(_STEPS)).mean(axis=1).tolist()
    more = (curve[0], curve[1], float(np.mean(curve[2:]))) if curves else (None, None, None)
    return Faithfulness(float(scores[0] - scores[1]), float(scores[0] - scores[2]), removed, *more)


def _telling(
    text: str, top: Sequence[Stretch], sizes: Sequence[int], words: Sequence[Stretch]
) -> npt.NDArray[np.bool_]:
    """Return (n_words,) which words may be drawn for a mark of one word: as telling ones as the marks themselves."""
    telling = np.array([not is_function_word(text[start:end].casefold()) for start, end in words])
    single = [text[start:end].casefold().strip() for (start, end), size in zip(top, sizes, strict=True) if size == 1]
    return telling | any(is_function_word(word) for word in single)


def random_runs(
    words: Sequence[Stretch], sizes: Sequence[int], telling: npt.NDArray[np.bool_], rng: np.random.Generator
) -> list[Stretch]:
    """Return runs of neighbouring words of these lengths that do not overlap, so that exactly as many words go.

    Args:
        words: The words of a text, in order.
        sizes: Words in each run; together at most as many as there are.
        telling: (n_words,) the words that a run of one is drawn from, while there are any.
        rng: Draws the places.
    """
    runs: list[Stretch] = []
    free = np.ones(len(words), dtype=bool)
    for size in sorted(sizes, reverse=True):
        # Where all of `size` words from here on are free.
        fits = np.lib.stride_tricks.sliding_window_view(free, size).all(axis=1)
        places = np.flatnonzero(fits & telling if size == 1 and (fits & telling).any() else fits)
        if len(places):
            at = int(rng.choice(places))
            taken = np.arange(at, at + size)
        else:  # what is left is in pieces: as many single words
            taken = rng.choice(np.flatnonzero(free), size=size, replace=False)
        free[taken] = False
        runs += [(words[taken[0]][0], words[taken[-1]][1])] if len(places) else [words[at] for at in taken.tolist()]
    return runs


def _strongest(spans: Sequence[Span], words: Sequence[Stretch], budget: int) -> tuple[list[Stretch], list[int]]:
    """Return the strongest positive spans that fit into `budget` words, and how many words each holds."""
    top: list[Stretch] = []
    sizes: list[int] = []
    for span in sorted((span for span in spans if span.weight > 0), key=lambda span: -span.weight):
        size = sum(start < span.end and end > span.start for start, end in words)
        if size and (not top or sum(sizes) + size <= budget):
            top.append((span.start, span.end))
            sizes.append(size)
    return top, sizes


def _order(spans: Sequence[Span], words: Sequence[Stretch], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the words' positions, strongest mark first; words that no mark tells apart come in random order."""
    weight = np.zeros(len(words))
    for span in spans:
        for at, (start, end) in enumerate(words):
            if start < span.end and end > span.start:
                weight[at] = span.weight
    return np.lexsort((rng.random(len(words)), -weight)).astype(np.int64)


def explained(
    score_texts: ScoreTexts, text: str, label: str, method: str, spans: Sequence[Span], *, share: float = 0.2
) -> Explanation:
    """Return an explanation with these marks and how faithful they are, measured in nine readings."""
    found = measure(score_texts, text, spans, share=share, curves=False)
    return Explanation(label, method, tuple(spans), faithfulness=found.gain if found else None, measured=found)


def explain(score_texts: ScoreTexts, text: str, label: str) -> Explanation:
    """Explain a label on a text by occlusion (`evidence`), and say how faithful that is; the same marks every time."""
    return explained(score_texts, text, label, "occlusion", evidence(score_texts, text))


def sentence_units(text: str, most: int = 60) -> list[Stretch]:
    """Return a text's sentences (words, in a text of one sentence); neighbours are joined where there are too many."""
    units = sentence_spans(text)
    if len(units) < 2:
        units = word_spans(text)
    together = -(-len(units) // most)
    parts = [units[at : at + together] for at in range(0, len(units), together)] if units else []
    return [(part[0][0], part[-1][1]) for part in parts]


def sentence_marks(score_texts: ScoreTexts, text: str) -> tuple[Span, ...]:
    """Weigh a text's `sentence_units` by leaving out one after the other."""
    return tuple(span for span in occlusion(score_texts, text, sentence_units(text)) if span.weight)


def explain_sentences(score_texts: ScoreTexts, text: str, label: str) -> Explanation:
    """Explain a label by its sentences, see `sentence_marks`.

    For models that read slowly: as many readings as there are sentences, and nine for how faithful the marks are.
    """
    marks = sentence_marks(score_texts, text)
    return explained(score_texts, text, label, "occlusion of sentences", marks, share=SENTENCES_SHARE)
