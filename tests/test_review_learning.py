"""What a review learns: planted relevant records come up early, and nobody waits for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import FILLER, HUNG, TOPICS

from medbench.errors import MedbenchError
from medbench.review_choosing import STRATEGIES, novelty_of, strategy_of, worth
from medbench.review_learning import Known, Pool, Ranker, learn
from medbench.review_simulation import Simulation, simulate


def planted(rows: int = 300, share: float = 0.1, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of which one in ten is about the heart, in its own words."""
    draw = np.random.default_rng(seed)
    relevant = np.zeros(rows, dtype=bool)
    relevant[draw.permutation(rows)[: int(rows * share)]] = True
    texts = []
    for number, flag in enumerate(relevant):
        topic = "cardiology" if flag else ("oncology", "neurology")[number % 2]
        words = [*draw.choice(TOPICS[topic].split(), 3), *draw.choice(FILLER, 20)]
        draw.shuffle(words)
        texts.append(f"Report {number}\n{' '.join(words)}")
    return texts, relevant


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_planted_records_are_found_far_earlier_than_by_chance(strategy: str) -> None:
    texts, relevant = planted()
    every = 2 if strategy == "certainty" else 10
    found = simulate(texts, relevant, strategy=strategy, every=every, rng=np.random.default_rng(3))  # type: ignore[arg-type]
    assert sorted(found.order.tolist()) == list(range(300))
    assert found.begun == 2
    if strategy in ("certainty", "mixed"):
        assert found.saved() > 0.5
        assert found.read_for(0.95) < 0.5 * 300
        assert found.wrong_claims == 0
        assert found.stop is not None
        assert found.stop_recall == 1.0
    else:  # these two look for what teaches most, not for what is relevant
        assert found.saved() > -0.06


def test_the_question_alone_ranks_before_any_decision() -> None:
    texts, relevant = planted()
    pool = Pool(texts, "myocardial infarction, stent or arrhythmia: heart and coronary disease")
    nothing = Known(np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=bool))
    ranking = learn(pool, nothing)
    assert ranking.learnt
    best = np.argsort(-ranking.scores[:, 0])[:20]
    assert relevant[best].mean() > 0.9
    assert not learn(Pool(texts), nothing).learnt


@pytest.mark.parametrize(("family", "right"), [("linear", 0.75), ("keywords", 0.4)])  # by chance .1
def test_families_rank_from_the_same_decisions(family: str, right: float) -> None:
    texts, relevant = planted()
    rows = np.arange(80)
    ranking = learn(Pool(texts), Known(rows, relevant[rows, None]), family)
    unread = np.arange(80, 300)
    best = unread[np.argsort(-ranking.scores[unread, 0])[: int(relevant[unread].sum())]]
    assert relevant[best].mean() > right
    assert (ranking.family, ranking.known) == (family, 80)
    assert ranking.novelty[:80] == pytest.approx(np.zeros(80), abs=1e-5)


def test_marked_words_are_those_that_were_planted() -> None:
    texts, relevant = planted()
    pool = Pool(texts)
    ranking = learn(pool, Known(np.arange(150), relevant[:150, None]))
    text = texts[int(np.flatnonzero(relevant)[-1])]
    spans = pool.words(text, ranking.weights[:, 0])
    best = max(spans, key=lambda span: span.weight)
    assert any(word in text[best.start : best.end] for word in TOPICS["cardiology"].split())


def test_an_unknown_family_is_refused() -> None:
    texts, relevant = planted(40)
    with pytest.raises(MedbenchError, match="Expected one of linear, embedding, keywords"):
        learn(Pool(texts), Known(np.arange(20), relevant[:20, None]), "encoder")


def test_a_label_that_all_carry_cannot_be_simulated() -> None:
    with pytest.raises(MedbenchError, match="3 of 3 carry it"):
        simulate(["a b", "c d", "e f"], np.ones(3, dtype=bool))


def test_saved_work_by_hand() -> None:
    # 20 relevant in 100; the 19th (95 %) is read as number 30: 1 - .30 - .05.
    relevant = np.zeros(100, dtype=bool)
    relevant[[*range(18), 29, 99]] = True
    replay = Simulation(np.arange(100), relevant, 2, None, None, 0, 0)
    assert replay.read_for(0.95) == 30
    assert replay.saved() == pytest.approx(0.65)
    assert replay.recall_after(0.1) == 10 / 20


def test_turns_and_worth() -> None:
    turns = [strategy_of("mixed", turn) for turn in range(10)]
    assert [turns.count(name) for name in ("certainty", "uncertainty", "diversity")] == [8, 1, 1]
    scores = np.array([[0.9], [0.5], [0.1]], dtype=np.float32)
    far = np.array([0.1, 0.2, 0.7], dtype=np.float32)
    assert [int(np.argmax(worth(name, scores, far))) for name in STRATEGIES[1:]] == [0, 1, 2]
    with pytest.raises(ValueError, match="mixed"):
        worth("mixed", scores, far)
    vectors = np.eye(3, dtype=np.float32)
    assert novelty_of(vectors, np.array([0])).tolist() == [0, 1, 1]
    assert novelty_of(vectors, np.array([], dtype=np.int64)).tolist() == [1, 1, 1]


def test_nobody_waits_for_the_ranker() -> None:
    texts, relevant = planted(80)
    go = threading.Event()

    def slowly() -> Pool:
        assert go.wait(HUNG)
        return Pool(texts)

    ranker = Ranker(slowly)
    ranker.tell(Known(np.arange(10), relevant[:10, None]))
    ranker.tell(Known(np.arange(40), relevant[:40, None]))  # returns while the first is still being learnt
    assert ranker.busy
    ranker.first(0.01)  # who comes back waits, but not for ever
    assert ranker.current is None
    go.set()
    ranker.first(HUNG)
    assert ranker.current is not None
    ranker.wait(HUNG)
    assert not ranker.busy
    assert ranker.current is not None
    assert ranker.current.known == 40
    before = ranker.current
    ranker.tell(Known(np.arange(40), relevant[:40, None]))
    ranker.wait(HUNG)
    assert ranker.current is before  # the same decisions are not learnt twice


def test_a_ranker_that_cannot_learn_says_why_and_falls_back() -> None:
    texts, relevant = planted(80)
    ranker = Ranker(lambda: Pool(texts), family="encoder")
    ranker.tell(Known(np.arange(40), relevant[:40, None]))
    ranker.wait(HUNG)
    assert "encoder" in ranker.problem
    assert ranker.current is not None
    assert ranker.current.family == "linear"
