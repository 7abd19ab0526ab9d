"""The linear family: the vocabulary counts as scikit-learn does, weights add up, nothing is counted twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families._ngrams import FUNCTION_WORDS, Ngrams, learn_pieces, learn_terms, pieces_of, tfidf
from medbench.records import Device, Examples

FAMILY = get_family("linear")
TOPICS = {
    "heart": ["heart", "infarction", "coronary", "ventricular", "stent", "angina"],
    "liver": ["liver", "hepatic", "cirrhosis", "bile", "jaundice", "portal"],
    "brain": ["stroke", "seizure", "cortex", "migraine", "dementia", "cerebral"],
}
FILLER = [
    "patients",
    "study",
    "group",
    "the",
    "of",
    "with",
    "and",
    "was",
    "treated",
    "months",
    "risk",
    "dose",
    "outcome",
    "trial",
]


def texts_of(rng, n_items=200, share=0.4):
    """Return examples with several labels each, their words mixed into filler."""
    truth = rng.random((n_items, 3)) < share
    texts = []
    for row in truth:
        words = [word for topic, has in zip(TOPICS.values(), row, strict=True) if has for word in rng.choice(topic, 3)]
        words += list(rng.choice(FILLER, 20))
        rng.shuffle(words)
        texts.append(f"{words[0]} {words[1]} report\n" + " ".join(words[2:]))
    return Examples(texts, truth, tuple(TOPICS), "many")


def fit(train, say=None, **options):
    """Fit the family."""
    return FAMILY.fit(
        train, train.take([]), FAMILY.parse(options), Fitting(np.random.default_rng(0), Device(), say or Say())
    )


@settings(max_examples=40)
@given(
    st.lists(st.text(alphabet="abc é-\n1", max_size=40), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_counts_are_those_of_scikit_learn(texts, longest, min_texts):
    terms, in_texts = learn_terms(texts, longest, min_texts, 10_000)
    peer = CountVectorizer(token_pattern=r"\w+", ngram_range=(1, longest), min_df=1)
    try:
        table = peer.fit_transform(texts)
    except ValueError:  # its word for a vocabulary without words
        assert terms == []
        return
    names = peer.get_feature_names_out()
    present = np.asarray((table > 0).sum(axis=0)).ravel()
    kept = {names[at]: int(present[at]) for at in np.flatnonzero(present >= min_texts)}
    assert dict(zip(terms, in_texts.tolist(), strict=True)) == kept
    if terms:
        order = [list(names).index(term) for term in terms]
        assert (Ngrams(terms).counts(texts).toarray() == table.toarray()[:, order]).all()


def test_tfidf_is_that_of_scikit_learn():
    train = texts_of(np.random.default_rng(0))
    terms, in_texts = learn_terms(train.items, 2, 2, 10_000)
    idf = (np.log((1 + len(train)) / (1 + in_texts)) + 1).astype(np.float32)
    peer = TfidfVectorizer(
        sublinear_tf=True,
        token_pattern=r"\w+",
        ngram_range=(1, 2),
        min_df=2,
        vocabulary={term: at for at, term in enumerate(terms)},
    )
    expected = peer.fit_transform(train.items).toarray()
    assert tfidf(Ngrams(terms).counts(train.items), idf).toarray() == pytest.approx(expected, abs=1e-5)


def test_title_words_count_more_and_long_first_lines_do_not():
    ngrams = Ngrams(["heart", "liver"], title_weight=3)
    assert ngrams.counts(["heart heart\nliver heart"]).toarray().tolist() == [[7, 1]]
    assert ngrams.counts(["heart"]).toarray().tolist() == [[1, 0]]  # one line is a text, not a title
    assert ngrams.counts(["heart " * 61 + "\nliver"]).toarray().tolist() == [[61, 1]]


def test_function_words_are_passed_over_and_negations_are_kept():
    assert FUNCTION_WORDS.isdisjoint({"no", "not", "without", "never"})
    skipped = ["of", "the"]
    terms, _ = learn_terms(["pain of the chest", "no pain of chest"], 2, 2, 100, skipped)
    assert set(terms) == {"pain", "chest", "pain chest"}
    ngrams = Ngrams(terms, skipped=skipped)
    text = "Pain of the CHEST"
    assert ngrams.counts([text]).sum() == 3
    found = {terms[column]: text[start:end] for start, end, column in ngrams.places(text)}
    assert found == {"pain": "Pain", "chest": "CHEST", "pain chest": "Pain of the CHEST"}


def test_groups_do_not_reach_into_the_next_text():
    ngrams = Ngrams(["chest pain"])
    assert ngrams.counts(["a chest", "pain chest", "chest pain"]).toarray().tolist() == [[0], [0], [1]]


def test_longer_terms_need_no_shorter_ones():
    ngrams = Ngrams(["one two three", "five", "seven eight nine ten"])
    assert ngrams.counts(["one two three five", "seven eight nine ten one two"]).toarray().tolist() == [
        [1, 1, 0],
        [0, 0, 1],
    ]


def test_letters_whose_lower_case_is_longer_keep_their_places():
    text = "İİİ heart"
    assert [text[start:end] for start, end, _ in Ngrams(["heart"]).places(text)] == ["heart"]


def test_pieces():
    assert pieces_of("cell", range(3, 5)) == [" ce", "cel", "ell", "ll ", " cel", "cell", "ell "]
    texts = ["hepatitis", "hepatic", "heart heart"]
    pieces = learn_pieces(texts, range(3, 6), 2, 100)
    assert "hepat" in pieces and "heart" not in pieces
    peer = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5), vocabulary=pieces)
    assert (Ngrams([], pieces).counts(texts).toarray() == peer.transform(texts).toarray()).all()


@pytest.mark.parametrize("options", [{}, {"loss": "logistic", "C": 5}, {"pieces": True}, {"class_weight": "balanced"}])
def test_it_learns(options):
    rng = np.random.default_rng(0)
    model = fit(texts_of(rng), **options)
    new = texts_of(rng, 100)
    assert ((model.scores(new.items) > 0.5) == new.truth).mean() > 0.95


def test_pieces_know_misspelled_words():
    rng = np.random.default_rng(0)
    train = texts_of(rng)
    plain, robust = fit(train), fit(train, pieces=True)
    wrong = ["patient with hepattic cirrhosys and jaundise"]
    assert robust.scores(wrong)[0, 1] > max(robust.scores(wrong)[0, [0, 2]].max(), plain.scores(wrong)[0, 1])


def test_empty_text_gets_the_shares_of_the_training_data():
    rng = np.random.default_rng(0)
    train = texts_of(rng, 400, share=0.2)
    model = fit(train)
    assert model.scores(["", "zzz"]) == pytest.approx(np.tile((train.truth.sum(0) + 0.5) / 401, (2, 1)), abs=1e-6)


def test_words_add_up_to_the_margin():
    rng = np.random.default_rng(0)
    train = texts_of(rng)
    for options in ({}, {"pieces": True}):
        model = fit(train, **options)
        for text in train.items[:10]:
            table, _ = model._table([text])
            margin = float((table @ model.weights)[0, 0])
            spans = model.reasons(text, "heart").spans
            assert sum(span.weight for span in spans) == pytest.approx(margin, abs=1e-4)


def test_the_planted_words_are_the_evidence_and_it_is_faithful():
    rng = np.random.default_rng(0)
    model = fit(texts_of(rng))
    text = "A short report\nPatients with jaundice and portal hypertension were treated for months in the trial group."
    found = model.reasons(text, "liver")
    top = sorted(found.spans, key=lambda span: -span.weight)[:2]
    assert {text[span.start : span.end] for span in top} == {"jaundice", "portal"}
    assert found.faithfulness > 0.2
    assert model.reasons(text, "liver") == found  # the same text is always measured the same way


def test_for_one_answer_the_words_speak_against_the_other_labels_too():
    rng = np.random.default_rng(0)
    texts = [" ".join([*rng.choice(topic, 3), *rng.choice(FILLER, 8)]) for topic in TOPICS.values() for _ in range(30)]
    train = Examples(texts, np.repeat(np.eye(3, dtype=bool), 30, axis=0), tuple(TOPICS), "one")
    model = fit(train)
    weights = {text: span.weight for span in model.reasons("stent jaundice", "heart").spans for text in [span.start]}
    assert weights[0] > 0 > weights[6]


def test_vectors_know_what_is_about_something_else():
    rng = np.random.default_rng(0)
    model = fit(texts_of(rng))
    known, odd = model.embed(texts_of(rng, 50).items), model.embed(["bake the cake with sugar and a study of eggs"])
    assert (known[:, -1] == 0).mean() > 0.6
    assert odd[0, -1] > 0.5


def test_the_folder_holds_three_files_and_no_sklearn_is_needed_to_load(tmp_path):
    model = fit(texts_of(np.random.default_rng(0)))
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linear.json", "vocabulary.json", "weights.npz"]
    vocabulary = json.loads((tmp_path / "vocabulary.json").read_text())
    assert "jaundice" in vocabulary["terms"]
    loaded = FAMILY.load(tmp_path, Device())
    texts = texts_of(np.random.default_rng(1), 20).items
    assert (loaded.scores(texts) == model.scores(texts)).all()  # to the last bit: thresholds were tuned on these
    assert (loaded.embed(texts) == model.embed(texts)).all()


def test_a_damaged_folder_is_told(tmp_path):
    model = fit(texts_of(np.random.default_rng(0)))
    model.save(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"torn")
    with pytest.raises(MedbenchError, match="Expected the files of a linear model"):
        FAMILY.load(tmp_path, Device())


def test_cancel_stops_and_no_words_is_told():
    train = texts_of(np.random.default_rng(0))
    say = Say()
    say.stop.set()
    with pytest.raises(Stopped):
        fit(train, say)
    empty = Examples(["", "..."], np.ones((2, 1), dtype=bool), ("a",), "many")
    with pytest.raises(MedbenchError, match="Expected training texts with words in them, found 2 without any"):
        fit(empty)


def test_progress_is_said_once_per_label():
    say = Say()
    fit(texts_of(np.random.default_rng(0)), say)
    assert [event["label"] for event in say.said if event["kind"] == "progress"] == list(TOPICS)


def test_many_labels_keep_fewer_terms():
    train = texts_of(np.random.default_rng(0))
    wide = Examples(train.items, np.zeros((200, 8000), dtype=bool), tuple(map(str, range(8000))), "many")
    found = FAMILY.estimate(wide, FAMILY.parse({}), Device())
    assert "most common terms are kept" in found.notes[0]


def test_vectors_of_texts_that_were_just_scored_are_not_counted_again():
    class Counting(Ngrams):
        """Counts as usual, and how many texts it was given."""

        def counts_and_known(self, texts: Sequence[str]) -> tuple[csr_matrix, npt.NDArray[np.float32]]:
            read.extend(texts)
            return super().counts_and_known(texts)

    read: list[str] = []
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{number}" for number in rng.zipf(1.3, 30) % 200) for _ in range(300)]
    model = fit(Examples(texts[:100], rng.random((100, 4)) < 0.2, tuple("abcd"), "many"))
    model = replace(model, ngrams=Counting(**model.ngrams.as_json()))
    model.scores(texts)
    model.embed(texts)
    assert read == texts
