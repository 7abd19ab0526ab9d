"""How a text is written tells another kind of text about the same things, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medbench import manner, trust
from medbench.errors import MedbenchError
from medbench.manner import Manner, manner_from
from medbench.strangeness import NOWHERE, PLACE, RATE, fit_stranger, stranger_from, with_manner

LETTERS = "abcdefghijklmnoprstuvw"
ENDINGS = ("itis", "oma", "osis", "emia", "pathy")


def _terms(seed: int) -> list[str]:
    """Return 3,000 rare words that end as medical words do."""
    rng = np.random.default_rng(seed)
    stems = rng.integers(0, len(LETTERS), (3_000, 5))
    return ["".join(LETTERS[at] for at in stem) + ENDINGS[row % len(ENDINGS)] for row, stem in enumerate(stems)]


TOPICS = {"heart": _terms(1), "skin": _terms(2), "eye": _terms(3)}
ABSTRACT = ("the {} of patients with {} was studied .", "we found that {} and {} were related to {} .")
ABSTRACT += ("in a series of {} cases the {} was seen in {} % .", "the results suggest that {} is due to {} .")
NOTE = ("she denies {} or {} .", "{} , no {} .", "has {} , will see her for {} .", "i did tell her to hold {} and {} .")


def written(rng: np.random.Generator, forms: tuple[str, ...], topic: str, sentences: int = 12) -> str:
    """Return a text about a topic in one manner."""
    said = " ".join(forms[at] for at in rng.integers(0, len(forms), sentences))
    return said.format(*(TOPICS[topic][at] for at in rng.integers(0, 3_000, said.count("{}"))))


def texts(seed: int, number: int, forms: tuple[str, ...] = ABSTRACT, about: str = "", sentences: int = 12) -> list[str]:
    rng = np.random.default_rng(seed)
    return [written(rng, forms, about or str(rng.choice(["heart", "skin"])), sentences) for _ in range(number)]


@pytest.fixture(scope="module")
def learnt() -> Manner:
    found = manner.fit(texts(0, 300), RATE)
    assert found is not None
    return found


def flagged(learnt: Manner, items: list[str]) -> float:
    return float((learnt.unusual(items) > learnt.limit).mean())


def test_notes_about_the_same_things_are_unusual_and_abstracts_about_others_are_not(learnt: Manner) -> None:
    assert flagged(learnt, texts(1, 1000)) < 2.5 * RATE
    assert flagged(learnt, texts(2, 200, NOTE)) > 0.95
    assert flagged(learnt, texts(3, 200, about="eye")) < 0.1  # new words, same manner
    assert abs(float(np.median(learnt.unusual(texts(4, 200))))) < 1


def test_words_in_disorder_and_random_letters_are_unusual(learnt: Manner) -> None:
    rng = np.random.default_rng(5)
    disorder = [" ".join(rng.permutation(np.array(text.split(), dtype=object))) for text in texts(6, 100)]
    assert flagged(learnt, disorder) > 0.95
    letters = [" ".join("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(100)) for _ in range(100)]
    assert flagged(learnt, letters) > 0.95


def test_few_words_are_judged_as_few_words(learnt: Manner) -> None:
    assert flagged(learnt, texts(7, 500, sentences=1)) < 0.1
    assert flagged(learnt, texts(8, 200, sentences=60)) < 0.1
    odd = learnt.unusual(["", "infarction", "?!"])
    assert np.isfinite(odd).all()


def test_texts_do_not_influence_each_other(learnt: Manner) -> None:
    some = [*texts(9, 5), "", *texts(10, 5, NOTE)]
    assert learnt.unusual(some) == pytest.approx([learnt.unusual([one])[0] for one in some])
    assert len(learnt.unusual([])) == 0
    many = some * 200
    assert learnt.unusual(many) == pytest.approx(np.tile(learnt.unusual(some), 200))


def test_the_ratio_is_that_of_a_hand_worked_table() -> None:
    # "a" is followed by "b" 8 times of 10, and "b" is 10 of all 20; smoothing adds 20 draws of "b"'s own share.
    counts = np.array([[0, 0, 0], [0, 2, 8], [0, 8, 2]])
    share = 10.5 / 21.5
    found = manner._ratios(counts)[1, 2]
    assert found == pytest.approx(np.log((8 + 20 * share) / (10 + 20) / share), rel=1e-6)


def test_texts_of_one_group_are_judged_together() -> None:
    twice = [text for text in texts(11, 60) for _ in range(2)]
    alone = manner.fit(twice, RATE, [str(row // 2) for row in range(120)])
    torn = manner.fit(twice, RATE)
    assert alone is not None and torn is not None
    assert alone.scale[0] < torn.scale[0]  # who has seen the twin foresees more
    assert manner.fit(texts(12, 29), RATE) is None  # too few


def test_it_is_kept_beside_the_place_and_a_model_from_before_it_answers_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal((3, 0, 0, 0), 1, (900, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = fit_stranger(vectors[:600], vectors[600:], rng)
    truth = rng.random((300, 2)) < 0.5
    fitted = trust.fit_trust(truth * 0.8 + 0.1, truth, "many", None, None, rng)
    place = fit_stranger(vectors[:600], vectors[600:], rng, PLACE * RATE)
    both = trust.replace(fitted, stranger=with_manner(place, texts(0, 300)))
    both.save(tmp_path)
    assert (tmp_path / "trust.npz").stat().st_size < 60_000
    loaded = trust.load(tmp_path)
    at, own, notes = vectors[600:], texts(13, 300), texts(14, 300, NOTE)
    assert loaded.unlike(at, own).mean() < 0.03
    assert loaded.unlike(at, notes).mean() > 0.95
    assert loaded.unlike(-at[:100], own[:100]).mean() > 0.9  # well written, but elsewhere
    for name in ("unlike", "unlikeness"):
        assert (getattr(loaded, name)(at, notes) == getattr(both, name)(at, notes)).all()
    sight = loaded.look(at, [*own[:150], *notes[:150]])
    assert (sight.unlike == (sight.strangeness > 1)).all()
    assert (sight.unlikeness[sight.unlike] >= 0.99).all() and (sight.unlikeness[~sight.unlike] <= 0.99).all()
    trust.replace(fitted, stranger=before).save(tmp_path)
    old = trust.load(tmp_path)
    assert (old.unlike(at, notes) == old.unlike(at)).all() and old.unlike(at).mean() < 0.02


def test_a_model_without_vectors_goes_by_the_manner_alone(learnt: Manner) -> None:
    alone = with_manner(None, texts(0, 300))
    assert alone is not None and with_manner(None, ["one text"]) is None
    nowhere = np.zeros((100, 0), dtype=np.float32)
    assert alone.look(nowhere, texts(15, 100, NOTE)).unlike.mean() > 0.9
    assert not alone.look(nowhere).unlike.any() and not NOWHERE.look(nowhere, texts(15, 100)).unlike.any()
    again = stranger_from(alone.arrays(), 0.0)
    assert again is not None and again.manner is not None and again.manner.words == alone.manner.words  # type: ignore[union-attr]
    torn = {**learnt.arrays(), "counts": learnt.counts[:5]}
    with pytest.raises(ValueError, match="a table of"):
        manner_from(torn)


def test_a_damaged_table_is_told_in_one_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((60, 2)) < 0.5
    fitted = trust.fit_trust(truth * 0.8 + 0.1, truth, "many", None, None, rng)
    trust.replace(fitted, stranger=with_manner(None, texts(0, 60))).save(tmp_path)
    with np.load(tmp_path / "trust.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "manner.scale"}
    np.savez_compressed(tmp_path / "trust.npz", **arrays)
    with pytest.raises(MedbenchError, match="an undamaged trust"):
        trust.load(tmp_path)


def test_what_sets_a_text_apart_is_told_in_words(learnt: Manner) -> None:
    told = learnt.differs(NOTE[3].format("stents", "lenses") * 3)
    assert "words in a sentence (theirs: " in told and "“will see”" not in told
    assert "runs they seldom have: " in told
    assert "words in a sentence" not in learnt.differs(texts(16, 1)[0])
    assert learnt.differs("") != "" and learnt.differs("?") != ""
    detector = with_manner(None, texts(0, 300))
    nowhere = np.zeros((1, 0), dtype=np.float32)
    assert detector is not None and detector.why(nowhere, texts(17, 1)[0]) == ""
    assert detector.why(nowhere, texts(18, 1, NOTE)[0]).startswith("It is written otherwise than the training texts: ")
