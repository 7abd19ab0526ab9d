"""Marks are whole words of the original text, and what they claim is measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbench.attribution import (
    evidence,
    explain,
    measure,
    occlude,
    occlusion,
    random_runs,
    sentence_spans,
    sentence_units,
    word_spans,
)
from medbench.records import Span

TEXT = (
    "Aspirin after stroke.\nWe studied E. coli vs. controls. The tumour grew (p < 0.05). Tumour size doubled in mice."
)


def tumour(texts: Sequence[str]) -> np.ndarray:
    """Score .9 with the word tumour, .4 with mice alone, else .1."""
    lower = [text.lower() for text in texts]
    return np.array([0.9 if "tumour" in text else 0.4 if "mice" in text else 0.1 for text in lower])


def pieces(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    return [text[start:end] for start, end in spans]


def test_words_keep_hyphens_apostrophes_and_accents() -> None:
    text = "IL-6 isn't naïve – β2-agonists, e\u0301tat_2!"
    assert pieces(text, word_spans(text)) == ["IL-6", "isn't", "naïve", "β2-agonists", "e\u0301tat_2"]


def test_sentences_survive_abbreviations_and_line_breaks() -> None:
    assert pieces(TEXT, sentence_spans(TEXT)) == [
        "Aspirin after stroke.",
        "We studied E. coli vs. controls.",
        "The tumour grew (p < 0.05).",
        "Tumour size doubled in mice.",
    ]
    folded = "A line folded\nin lower case. Next."
    assert pieces(folded, sentence_spans(folded)) == ["A line folded\nin lower case.", "Next."]


@pytest.mark.parametrize("text", ["", "  \n ", "...", "?!\n--"])
def test_texts_without_words_have_no_units(text: str) -> None:
    assert word_spans(text) == sentence_spans(text) == []
    assert evidence(tumour, text) == ()


@given(st.text(alphabet="aB1é.!? \n-'(", max_size=80))
def test_every_word_lies_in_exactly_one_sentence(text: str) -> None:
    sentences = sentence_spans(text)
    assert all(a[1] <= b[0] for a, b in pairwise(sentences))
    for start, end in word_spans(text):
        assert sum(first <= start and end <= last for first, last in sentences) == 1


def test_occlude_leaves_out_or_keeps() -> None:
    assert occlude("one two three", [(4, 7)]).split() == ["one", "three"]
    assert occlude("one two three", [(8, 13), (0, 3), (0, 2)]).split() == ["two"]
    assert occlude("one two three", [(8, 13), (0, 3)], keep=True) == "one three"
    assert occlude("one", []) == "one"


def test_occlusion_weighs_by_log_odds() -> None:
    text = "mice ate"
    first, second = occlusion(tumour, text, word_spans(text))
    assert first.weight == pytest.approx(np.log(0.4 / 0.6) - np.log(0.1 / 0.9))
    assert second.weight == 0.0


def test_evidence_finds_a_repeated_word_everywhere() -> None:
    spans = evidence(tumour, TEXT)
    top = sorted(spans, key=lambda span: -span.weight)[:2]
    assert {TEXT[span.start : span.end] for span in top} == {"tumour", "Tumour"}
    assert all(a.end <= b.start for a, b in pairwise(spans))


def test_a_sentence_that_matters_only_as_a_whole_is_marked_whole() -> None:
    def redundant(texts: Sequence[str]) -> np.ndarray:
        return np.array([0.9 if "cancer" in text or "neoplasm" in text else 0.1 for text in texts])

    text = "Nothing here. The cancer is a neoplasm. Nor here."
    assert [text[span.start : span.end] for span in evidence(redundant, text)] == ["The cancer is a neoplasm."]


def test_true_evidence_is_faithful_and_false_evidence_is_not() -> None:
    text = "the tumour " + "filler " * 30
    at = text.index("tumour")
    true, false = (measure(tumour, text, [Span(*place, 1.0)]) for place in ((at, at + 6), (11, 17)))
    assert true is not None
    assert false is not None
    assert true.comprehensiveness == pytest.approx(0.8)  # .9 with the word, .1 without
    assert true.sufficiency == pytest.approx(0)  # the word alone is enough
    assert (false.comprehensiveness, false.sufficiency) == (pytest.approx(0), pytest.approx(0.8))
    assert true.gain > 0.6 >= 0 >= false.gain
    # The word goes first and comes first; 5 steps in all.
    assert (true.deletion, true.insertion) == (pytest.approx(0.1), pytest.approx(0.9))
    assert true.deletion is not None and false.deletion is not None and true.chance is not None
    assert true.deletion < true.chance < 0.9
    assert false.deletion > true.deletion
    assert measure(tumour, text, [Span(at, at + 6, 1.0)]) == true  # the same every time


def test_curves_are_left_out_where_readings_are_dear() -> None:
    asked: list[int] = []

    def counted(texts: Sequence[str]) -> np.ndarray:
        asked.append(len(texts))
        return tumour(texts)

    quick = measure(counted, TEXT, [Span(0, 7, 1.0)], curves=False)
    assert quick is not None and quick.deletion is None and quick.chance is None
    assert asked == [9]


def test_nothing_marked_is_not_measured() -> None:
    assert measure(tumour, "a tumour", [Span(2, 8, -1.0)]) is None
    assert measure(tumour, "tumour", [Span(0, 6, 1.0)]) is None
    assert explain(tumour, "", "x").spans == ()


def test_a_text_of_one_sentence_is_parted_by_words_and_a_long_one_into_few_parts() -> None:
    assert pieces("one tumour here", sentence_units("one tumour here")) == ["one", "tumour", "here"]
    long = " ".join(f"Sentence {at}." for at in range(130))
    units = sentence_units(long, most=60)
    assert len(units) == 44 and pieces(long, units)[0] == "Sentence 0. Sentence 1. Sentence 2."


def test_random_removals_take_exactly_as_many_words() -> None:
    rng, text = np.random.default_rng(0), "word " * 200
    words = word_spans(text)
    everything = np.ones(200, dtype=bool)
    for sizes in ([1] * 40, [7, 1, 12, 20], [3] * 66, [150, 50]):
        for _ in range(20):
            runs = random_runs(words, sizes, everything, rng)
            left = word_spans(occlude(text, runs))
            assert len(left) == 200 - sum(sizes)


def test_random_removals_are_as_telling_as_the_marks() -> None:
    text = "the cancer of the lung and of the liver was in the " * 4
    telling = np.array([text[start:end] in ("cancer", "lung", "liver") for start, end in word_spans(text)])
    seen: list[str] = []

    def note(texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return np.full(len(texts), 0.5)

    marks = [Span(start, end, 1.0) for (start, end), one in zip(word_spans(text), telling, strict=True) if one]
    measure(note, text, marks[:6], curves=False)
    # Six of the twelve telling words go each time, and none of the others.
    assert [len(word_spans(variant)) for variant in seen[3:]] == [len(telling) - 6] * 6
    assert all(variant.split().count("the") == text.split().count("the") for variant in seen[3:])
    seen.clear()
    the = text.index("the")
    measure(note, text, [Span(the, the + 3, 1.0)], curves=False)  # a mark that says nothing is matched by any word
    assert len({variant.split().count("the") for variant in seen[3:]}) == 2
