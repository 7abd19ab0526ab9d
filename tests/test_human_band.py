"""The band that needs a human: hand-worked errors, a promise over many draws, everything to a person without one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from medbench import human_band, trust, trust_figures
from medbench.errors import MedbenchError
from medbench.human_band import Step


def test_errors_and_expected_errors_hand_worked() -> None:
    truth = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)
    decided = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=bool)
    assert human_band.errors(decided, truth, "many").tolist() == [2 / 3, 0, 0]
    assert human_band.errors(decided, truth, "one").tolist() == [1, 0, 0]
    prob = np.array([[0.9, 0.2, 0.8], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    # (.1 + .2 wrong + .2 missing) / (2 given + .2 missing); nothing given: one of two coins; sure.
    found = human_band.expected(prob, decided, "many")
    assert found == pytest.approx([0.5 / 2.2, 0.75, 0], abs=1e-6)
    assert human_band.expected(prob, decided, "many", expects_label=True)[1] == human_band.NEVER
    one = np.eye(3, dtype=bool)
    assert human_band.expected(prob, one, "one") == pytest.approx([0.1, 0.5, 1], abs=1e-6)


def test_the_chance_of_few_errors_is_the_exact_binomial_one() -> None:
    assert human_band.chance(Step(0.1, 59, 0.0), 0.05, "one") == pytest.approx(0.95**59)
    assert human_band.chance(Step(0.1, 100, 0.02), 0.05, "one") == pytest.approx(binom.cdf(2, 100, 0.05))
    # Hoeffding's bound exp(-n KL) for a mean of 0: (1 - .2)^n
    assert human_band.chance(Step(0.1, 50, 0.0), 0.2, "many") == pytest.approx(0.8**50, rel=1e-6)
    assert human_band.chance(Step(0.1, 50, 0.2), 0.2, "many") == 1


def _drawn(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return expected errors, and whether the answers are wrong: somewhat more often than expected."""
    expected = rng.beta(0.5, 3, n)
    return expected, (rng.random(n) < np.minimum(1.2 * expected, 1)).astype(np.float64)


def test_the_promise_is_broken_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(0)
    many, wrong = _drawn(400_000, rng)
    broken, shares = 0, []
    for _ in range(150):
        band = human_band.fit(*_drawn(600, rng), "one")
        alone = band.alone(many)
        broken += bool(alone.any() and wrong[alone].mean() > band.accepted)
        shares.append(alone.mean())
    assert broken <= 0.1 * 150  # 5 % are allowed; 14 of 150 would be their 99th percentile
    assert np.mean(shares) > 0.3  # and it is no empty promise
    assert human_band.fit(*_drawn(600, rng), "one").at(0.1).share > np.mean(shares)  # who accepts more reads less


def test_shares_of_labels_are_bounded_too() -> None:
    rng = np.random.default_rng(1)
    expected = rng.beta(0.5, 3, 200_000)
    error = rng.beta(2 * expected + 1e-6, 2 * (1 - expected) + 1e-6)
    band = human_band.fit(expected[:2000], error[:2000], "many")
    alone = band.alone(expected)
    assert band.share > 0.5 and error[alone].mean() <= band.accepted


def test_without_a_promise_everything_goes_to_a_person_and_it_says_so() -> None:
    rng = np.random.default_rng(0)
    expected, wrong = _drawn(40, rng)  # too few to show 5 %
    band = human_band.fit(expected, wrong, "one")
    assert not band.alone(np.zeros(3)).any() and band.share == 0
    assert band.promise().startswith(
        "Every answer goes to a person: at most 5% wrong could not be guaranteed on 40 items"
    )
    assert band.least is not None and band.at(band.least).limit and not band.at(band.least - 0.01).limit
    assert f"the least that could be: {band.least:.0%}" in band.promise()
    with pytest.raises(MedbenchError, match="Expected an accepted error above 0 and below 1"):
        band.at(0)


def test_with_many_noisy_labels_half_stands_alone_at_an_error_that_is_told() -> None:
    rng = np.random.default_rng(2)
    expected = rng.beta(3, 5, 50_000)
    error = rng.beta(4 * expected, 4 * (1 - expected))
    band = human_band.fit(expected[:1500], error[:1500], "many")
    assert band.least is not None and 0.2 < band.least <= band.accepted < 0.5
    assert human_band.WORTH <= band.share < human_band.WORTH + 0.1
    assert error[band.alone(expected)].mean() <= band.accepted
    assert f"at most {band.accepted:.0%} of labels wrong or missing" in band.promise()
    assert band.error < band.accepted - 0.01  # a bound, not what was seen
    assert not band.at(0.05).limit  # a limit that the user names is not softened


def test_an_error_that_hardly_any_answer_keeps_to_gives_way_to_half_of_them() -> None:
    rng = np.random.default_rng(6)
    expected = rng.beta(3, 5, 50_000)
    error = rng.beta(4 * expected, 4 * (1 - expected))
    band = human_band.fit(expected[:8000], error[:8000], "many")
    assert 0 < band.at(0.2).share < 0.3  # it could be promised, of these alone
    assert human_band.WORTH <= band.share < human_band.WORTH + 0.1 and band.accepted > 0.2


def test_the_bound_of_half_of_the_answers_is_broken_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(4)
    expected = rng.beta(3, 5, 200_000)
    error = (rng.random(200_000) < 1.1 * expected).astype(float)  # all or nothing: the widest spread there is
    broken, found = 0, []
    for _ in range(200):
        rows = rng.choice(len(expected), 400)
        band = human_band.fit(expected[rows], error[rows], "many")
        broken += bool(band.limit and error[band.alone(expected)].mean() > band.accepted)
        found.append(band.share)
    assert broken <= 0.09 * 200  # 5 % are allowed; 18 of 200 would be their 99th percentile
    assert np.median(found) >= human_band.WORTH


def test_all_offered_promises_hold_together() -> None:
    rng = np.random.default_rng(5)
    many, wrong = _drawn(300_000, rng)
    broken, alone = 0, []
    for _ in range(100):
        band = human_band.fit(*_drawn(600, rng), "one")
        offered = band.offered()
        shares = [one.share for one in offered]
        assert shares == sorted(shares) and len(set(shares)) == len(shares)
        flags = [one.alone(many) for one in offered]
        broken += any(wrong[one].mean() > each.accepted for one, each in zip(flags, offered, strict=True))
        alone.append(band.chosen(0.1).share)
    assert broken <= 0.11 * 100  # 5 % are allowed; 11 of 100 would be their 99th percentile
    assert np.mean(alone) > 0.3
    kept = band.chosen(0.1)
    assert max(one.share for one in offered if one.accepted <= 0.1) == kept.share
    assert kept.promise().endswith(
        f"at most 10% wrong (95% confidence, for all {kept.among} shares that were offered together)."
    )
    least = min(one.accepted for one in offered)
    with pytest.raises(MedbenchError, match=f"an accepted error that can be promised.*Accept at least {least:.1%}"):
        band.chosen(least / 2)


def test_one_item_of_a_group_counts() -> None:
    rng = np.random.default_rng(0)
    expected, wrong = _drawn(500, rng)
    alone = human_band.fit(expected, wrong, "one")
    copied = human_band.fit(
        np.repeat(expected, 3), np.repeat(wrong, 3), "one", [str(at) for at in range(500) for _ in "abc"]
    )
    assert copied == alone


def _fitted() -> tuple[trust.Trust, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.dirichlet(np.full(3, 0.15), size=4000).astype(np.float32)
    truth = np.zeros(scores.shape, dtype=bool)
    truth[np.arange(4000), [rng.choice(3, p=row / row.sum()) for row in scores.astype(np.float64)]] = True
    fitted = trust.fit_trust(scores[:2000], truth[:2000], "one", None, None, rng)
    return fitted, fitted.calibrate(scores[2000:]), truth[2000:]


def test_the_promise_holds_on_fresh_items_and_stands_beside_answers(tmp_path: Path) -> None:
    fitted, prob, truth = _fitted()
    found = trust_figures.measured(fitted, prob, truth, ("a", "b", "c"))
    assert found["band"]["error"]["low"] <= 0.05 and found["band"]["share"]["value"] > 0.3
    line = trust_figures.promise(fitted.band, {"promises": found})
    assert line.startswith(
        "Of answers that no person is asked about, at most 5% wrong (95% confidence). Measured on 2,000 "
    )
    assert "answered alone" in line and "\n" not in line
    looser = fitted.accepting(0.15)
    assert looser.unsure(prob).mean() < fitted.unsure(prob).mean()
    assert "Measured" not in trust_figures.promise(looser.band, {"promises": found})  # measured for another promise
    assert found["band"]["promise"] in trust_figures.sentences(found, "one")
    looser.save(tmp_path)
    assert trust.load(tmp_path).band == looser.band


def test_models_from_before_the_band_still_answer(tmp_path: Path) -> None:
    fitted, prob, _ = _fitted()
    fitted.save(tmp_path)
    facts = json.loads((tmp_path / "trust.json").read_text())
    del facts["band"]
    (tmp_path / "trust.json").write_text(json.dumps(facts))
    old = trust.load(tmp_path)
    assert old.band is None and old.accepting(0.1) == old
    assert (old.unsure(prob) == (old.conformal_sets(prob).sum(axis=1) > 1)).all()
    assert trust_figures.promise(None, {}) == "How often answers that no person checks are wrong was not measured."
    wrong = {"value": 0.067, "low": 0.052, "high": 0.086, "n": 835}
    told = trust_figures.promise(None, {"promises": {"alone": {"wrong": wrong}}})
    assert told.endswith("6.7% (5.2%–8.6%) of 835 wrong when measured; no limit is promised.")
    assert replace(fitted, band=None).band is None
