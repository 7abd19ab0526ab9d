"""Words that may be said for words of titles, how titles are met by them, and the order that this gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medbench.codes import tables
from medbench.codes_index import Index
from medbench.codes_ranking import Ranking, shipped
from medbench.codes_search import FEATURES, SAID
from medbench.codes_titles import Titles
from medbench.codes_translation import Translation

TITLES = ["shock after abortion", "shock after delivery", "embolism after abortion"]
PAIRS = [
    (["collapse", "after", "abortion"], ["shock", "after", "abortion"]),
    (["collapse", "at", "birth"], ["shock", "after", "delivery"]),
    (["clot", "after", "abortion"], ["embolism", "after", "abortion"]),
]


def taught(index: Index) -> Translation:
    return Translation.of(PAIRS, index.numbers)


def test_words_that_stand_in_for_each_other_are_learnt_from_pairs() -> None:
    index = Index.of(TITLES)
    translation = taught(index)
    meant = {index.terms[at]: likeness for at, likeness in zip(*translation.meanings("collapse"), strict=True)}
    assert max(meant, key=lambda word: meant[word]) == "shock"
    assert all(0 < likeness < 1 for likeness in meant.values())
    assert len(translation.meanings("unheard")[0]) == 0
    nothing = Translation.of([], index.numbers)
    assert len(nothing.meanings("collapse")[0]) == 0


def test_titles_are_met_by_what_is_said_for_their_words() -> None:
    index = Index.of(TITLES)
    own = [title.split() for title in TITLES]
    titles = Titles.of(own, [[], [], ["pregnancy"]], np.zeros((3, 1), dtype=np.float32), index)
    nodes = np.arange(3)
    exact = titles.shared(["shock", "abortion"], nodes, index)
    assert exact.argmax() == 0 and exact[0] == pytest.approx(1)
    said = titles.said(["collapse", "abortion"], nodes, index, taught(index))
    assert said.shape == (3, 3) and said.min() >= 0 and said.max() <= 1
    assert said[:, 0].argmax() == 0
    alone = titles.said(["collapse", "abortion"], nodes, index, Translation.of([], index.numbers))
    assert alone[0, 0] == alone[2, 0] < said[0, 0]  # without what was learnt nothing tells shock from embolism


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    index = Index.of(TITLES)
    translation = taught(index)
    titles = Titles.of([title.split() for title in TITLES], [[], [], []], np.ones((3, 2), dtype=np.float32), index)
    for part in (index, translation, titles):
        part.save(tmp_path)
    loaded = Index.load(tmp_path)
    for word in ("shokc", "embolisms", "after"):
        assert loaded.meanings(word) == index.meanings(word)
    assert [array.tolist() for array in Translation.load(tmp_path).meanings("clot")] == [
        array.tolist() for array in translation.meanings("clot")
    ]
    assert np.array_equal(Titles.load(tmp_path).own, titles.own)
    Translation.of([], index.numbers).save(tmp_path)
    assert len(Translation.load(tmp_path).meanings("clot")[0]) == 0


def test_the_shipped_ranking_fits_the_features_and_survives_writing() -> None:
    ranking = shipped()
    assert ranking.straight.shape == (len(FEATURES),) and ranking.inner.shape[0] == len(FEATURES)
    table = np.random.default_rng(0).random((5, len(FEATURES)), dtype=np.float32)
    assert np.allclose(Ranking.read(ranking.written()).score(table), ranking.score(table), atol=1e-2)


def test_other_words_for_a_title_raise_its_code() -> None:
    searcher = tables().searcher("icd10cm")
    nodes, table, _, _ = searcher.features("Circulatory collapse following ectopic pregnancy")
    code = [tables().printed(int(searcher.rows[node])) for node in nodes].index("O08.3")
    lexical = searcher.titles.said(["collapse"], nodes[[code]], searcher.index, Translation.of([], {}))
    learnt = searcher.titles.said(["collapse"], nodes[[code]], searcher.index, searcher.translation)
    assert lexical[0, 0] == 0 < learnt[0, 0]
    assert np.all((table[:, SAID] >= 0) & (table[:, SAID] <= 1.0001))
