"""Terms that tell labels apart: which texts hold them, and the log-odds of holding them with a label and without.

What the family `keywords` learns from, and what `vocabulary` shows of a dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.families._ngrams import FUNCTION_WORDS, SLICE, Ngrams, learn_terms

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PRIOR_TEXTS = 50.0
"""Pseudo-texts of the prior that draws a term's odds in a label towards its odds in all texts (Monroe 2008)."""
_MOST_TERMS = 50_000


def counted_terms(texts: Sequence[str], words: int, min_texts: int) -> tuple[list[str], csr_matrix]:
    """Return the telling terms of some texts, and (n, terms) float32 CSR: 1 where a term stands in a text.

    Args:
        texts: The texts.
        words: Longest term, in words.
        min_texts: A term must stand in so many texts; where none does, in one.
    """
    terms: list[str] = []
    for least in (min_texts, 1):  # a handful of texts may share no word: then every word may count
        found, _ = learn_terms(texts, words, least, _MOST_TERMS)
        terms = [term for term in found if is_telling(term)]
        if terms:
            break
    return terms, presence_of_all(Ngrams(terms), texts)


def presence(ngrams: Ngrams, texts: Sequence[str]) -> csr_matrix:
    """Return (n, terms) float32 CSR: 1 where the term stands in the text."""
    table = ngrams.counts(texts)
    table.data[:] = 1
    return table


def is_telling(term: str) -> bool:
    """Return whether a term neither begins nor ends with a function word, and holds a letter."""
    words = term.split(" ")
    return FUNCTION_WORDS.isdisjoint((words[0], words[-1])) and any(letter.isalpha() for letter in term)


def presence_of_all(ngrams: Ngrams, texts: Sequence[str]) -> csr_matrix:
    """Return `presence` of any number of texts, slice by slice."""
    from scipy.sparse import vstack

    parts = [presence(ngrams, texts[begin : begin + SLICE]) for begin in range(0, len(texts), SLICE)]
    table: csr_matrix = vstack(parts, format="csr", dtype=np.float32)
    return table


def log_odds(
    within: npt.NDArray[np.float64], everywhere: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return each term's log-odds ratio between a label's texts and the others, and its z-score.

    Log-odds with an informative Dirichlet prior (Monroe, Colaresi & Quinn 2008, equations 15 and 22), on the number
    of texts that hold the term; the prior is its share in all texts, worth 50 texts.

    Args:
        within: (terms,) in how many of the label's texts each term stands.
        everywhere: (terms,) in how many of all texts.
        inside: (n,) which texts have the label.
    """
    n_inside, n_all = float(inside.sum()), float(len(inside))
    prior = PRIOR_TEXTS * (everywhere + 0.5) / (n_all + 1)
    here, there = within + prior, everywhere - within + prior
    odds = np.log(here / (n_inside + PRIOR_TEXTS - here + 0.5)) - np.log(
        there / (n_all - n_inside + PRIOR_TEXTS - there + 0.5)
    )
    return odds, odds / np.sqrt(1 / here + 1 / there)
