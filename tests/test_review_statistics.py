"""Agreement and stop advice against tables worked by hand, and against what their words promise."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from medbench.review_decisions import Decision, Standing
from medbench.review_readers import agreement_of
from medbench.review_stopping import advise, estimate


def of_two(both: int, first: int, second: int, neither: int) -> Standing:
    """Two readers, one label: how often both, only one, or neither said yes."""
    pairs = [(1, 1)] * both + [(1, 0)] * first + [(0, 1)] * second + [(0, 0)] * neither
    return Standing(
        tuple(
            Decision(f"{record}-{who}", record, "read", ("x",) if said else (), who, float(record))
            for record, pair in enumerate(pairs)
            for who, said in zip("ab", pair, strict=True)
        )
    )


def test_agreement_of_two_readers_by_hand() -> None:
    (told,) = agreement_of(of_two(20, 5, 10, 15), ("x",))
    seen, by_chance = 35 / 50, 25 / 50 * 30 / 50 + 25 / 50 * 20 / 50
    ((pair, kappa),) = told.pairs
    assert pair == ("a", "b")
    assert kappa.value == pytest.approx((seen - by_chance) / (1 - by_chance), abs=1e-12)
    assert kappa.n == 50
    assert kappa.low is not None
    assert kappa.high is not None
    # The large-sample error of this table (Fleiss, Cohen & Everitt 1969) is about .128.
    assert (kappa.high - kappa.low) / (2 * 1.96) == pytest.approx(0.128, rel=0.05)
    assert told.alpha is not None
    # Coincidences: 40 yes-yes, 30 no-no, 15 + 15; of 100 values 55 are yes.
    assert told.alpha.value == pytest.approx(1 - (30 / 100) / (2 * 55 * 45 / (100 * 99)), abs=1e-12)
    assert told.fleiss is None  # that is for three and more


def test_agreement_interval_is_that_of_leaving_each_record_out() -> None:
    standing = of_two(6, 1, 2, 5)
    (told,) = agreement_of(standing, ("x",))
    values = []
    for left_out in range(14):
        (part,) = agreement_of(Standing(tuple(one for one in standing.decisions if one.record != left_out)), ("x",))
        assert part.alpha is not None
        values.append(part.alpha.value)
    error = np.sqrt(13 / 14 * np.sum((np.array(values) - np.mean(values)) ** 2))
    assert told.alpha is not None
    assert told.alpha.low == pytest.approx(told.alpha.value - 1.959964 * error, abs=1e-6)


def test_three_readers_have_fleiss_and_three_pairs() -> None:
    said = {"a": [1, 1, 0, 0, 1], "b": [1, 0, 0, 0, 1], "c": [1, 1, 0, 1, 1]}
    standing = Standing(
        tuple(
            Decision(f"{who}{record}", record, "read", ("x",) if yes else (), who, 0.0)
            for who, answers in said.items()
            for record, yes in enumerate(answers)
        )
    )
    (told,) = agreement_of(standing, ("x",))
    assert [pair for pair, _ in told.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    # Per record the share of agreeing pairs: 1, 1/3, 1, 1/3, 1; 9 of 15 answers are yes.
    seen, by_chance = (3 + 2 / 3) / 5, (9 / 15) ** 2 + (6 / 15) ** 2
    assert told.fleiss is not None
    assert told.fleiss.value == pytest.approx((seen - by_chance) / (1 - by_chance), abs=1e-12)


def test_no_interval_that_would_read_as_certainty() -> None:
    (few,) = agreement_of(of_two(3, 0, 0, 2), ("x",))
    (perfect,) = agreement_of(of_two(30, 0, 0, 20), ("x",))
    (some,) = agreement_of(of_two(30, 1, 0, 20), ("x",))
    for told, interval in ((few, False), (perfect, False), (some, True)):
        ((_, kappa),) = told.pairs
        assert (kappa.low is not None) == interval and told.alpha is not None
        assert (told.alpha.low is not None) == interval


def test_agreement_by_chance_alone_is_not_a_number() -> None:
    (told,) = agreement_of(of_two(0, 0, 0, 9), ("x",))
    assert (told.alpha, told.pairs) == (None, ())
    (none,) = agreement_of(Standing(), ("x",))
    assert none.alpha is None


def test_stop_advice_by_hand() -> None:
    # Ten records, four read: yes, no, no, no. A recall of .5 would be missed with two relevant ones in all unread.
    advice = advise(np.array([True, False, False, False]), 10, target=0.5)
    by_point = [
        comb(7, 3) * comb(3, 1) / comb(10, 4) + comb(7, 4) / comb(10, 4),  # from the start: X <= 1 of 3 in 10
        comb(7, 3) / comb(9, 3),  # behind the first: none of 2 in 9
        comb(6, 2) / comb(8, 2),
        comb(5, 1) / comb(7, 1),
    ]
    assert advice.p == pytest.approx(min(by_point), abs=1e-12)
    assert (advice.found, advice.read, advice.streak, advice.may_stop) == (1, 4, 3, False)


def test_a_long_barren_stretch_lets_a_reader_stop() -> None:
    read = np.zeros(900, dtype=bool)
    read[:50] = True
    advice = advise(read, 1000)
    assert advice.may_stop
    assert advice.recall_low > 0.95
    assert advice.streak == 850
    early = advise(read[:60], 1000)
    assert not early.may_stop
    assert early.recall_low < 0.5


def test_everything_read_is_full_recall() -> None:
    advice = advise(np.array([True, False, True]), 3)
    assert (advice.p, advice.recall_low, advice.missed_most, advice.may_stop) == (0.0, 1.0, 0, True)


def test_nothing_found_never_says_stop() -> None:
    assert not advise(np.zeros(990, dtype=bool), 1000).may_stop
    assert advise(np.zeros(0, dtype=bool), 10).p == 1.0
    with pytest.raises(ValueError, match="11 of 10 records read"):
        advise(np.zeros(11, dtype=bool), 10)


@pytest.mark.parametrize(("pull", "most"), [(1.5, 0.05), (0.0, 0.25)])
def test_the_stated_bound_keeps_its_word_under_a_ranking(pull: float, most: float, rng: np.random.Generator) -> None:
    false, times = 0, 60
    for _ in range(times):
        relevant = rng.permutation(400) < 40
        ranked = relevant[np.argsort(-(pull * relevant + rng.standard_normal(400)))]
        read = int(rng.integers(100, 390))
        false += advise(ranked[:read], 400).recall_low > ranked[:read].sum() / 40 + 1e-12
    # 0 is no ranking at all, for which the method was not made: the many points looked back from cost part of its 95 %.
    assert false <= most * times


def test_recall_from_a_sample_by_hand() -> None:
    # 40 found, 2 of them in a sample of 50 from 500 unread: 20 thought to be there, so 40 of 58.
    found = estimate(found=40, urn=500, sampled=50, hits=2)
    assert found.recall == pytest.approx(40 / (38 + 20))
    assert found.low < found.recall < found.high
    # No hit: the upper end is full recall, the lower the largest number not refuted at 2.5 %.
    none = estimate(found=40, urn=500, sampled=50, hits=0)
    most = max(k for k in range(451) if comb(500 - k, 50) / comb(500, 50) > 0.025)
    assert (none.recall, none.high) == (1.0, 1.0)
    assert none.low == pytest.approx(40 / (40 + most))
    # Nothing is known to be relevant: recall has no value, but so many may be left at most.
    nothing = estimate(found=0, urn=500, sampled=50, hits=0)
    assert (nothing.recall, nothing.low, nothing.high, nothing.left_most) == (None, 0.0, 1.0, most)
    # All of the urn read: no doubt left.
    assert (estimate(9, 20, 20, 4).low, estimate(9, 20, 20, 4).high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="3 hits in 2 of 9"):
        estimate(4, 9, 2, 3)


def test_the_samples_interval_covers(rng: np.random.Generator) -> None:
    inside = 0
    for _ in range(100):
        in_urn, urn, sampled, before = int(rng.integers(0, 60)), 600, 100, 30
        hits = int(rng.hypergeometric(in_urn, urn - in_urn, sampled))
        true = (before + hits) / (before + in_urn)
        told = estimate(before + hits, urn, sampled, hits)
        inside += told.low - 1e-12 <= true <= told.high + 1e-12
    assert inside >= 91
