"""What members answer for rows they have not seen, over train and validation alike: what stacking is learnt on.

A member that fits in seconds is fitted again without each fold; one that was cross-validated by its run brings the
answers of its folds along. Stacking learns from all labelled rows but the test split's this way (Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medbench import splits
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting, Model, get_family
from medbench.families import _ensemble_members as members
from medbench.families._earlier import Earlier, load
from medbench.families._ensemble_combining import figure
from medbench.families._ensemble_members import Member
from medbench.records import Examples, Scores
from medbench.workspace import undamaged

Rows = npt.NDArray[np.int64]
FILE = "folds.npz"
K = 5
MOST_CELLS = 200_000_000
"""Members x rows x labels; with more, weights are learnt on the validation rows unless the user asks for folds."""


def can_answer(found: Earlier) -> bool:
    """Return whether a member can answer for train and validation rows that it has not seen."""
    return get_family(found.family).cheap or (found.folder / FILE).exists()


def wanted(asked: str | None, found: Sequence[Earlier], known: Examples) -> bool:
    """Return whether weights are learnt on out-of-fold answers.

    Args:
        asked: "validation", "out-of-fold", or None for out of fold where it can be had.
        found: The members.
        known: Train and validation rows together.

    Raises:
        MedbenchError: Out-of-fold answers are asked for and a member has none.
    """
    without = [one for one in found if not can_answer(one)]
    if asked == "out-of-fold" and without:
        names = ", ".join(one.id for one in without)
        raise MedbenchError(
            "members that fit in seconds or were cross-validated, for weights learnt out of fold",
            names,
            "Train these with --folds 5, or let the weights be learnt on the validation split.",
        )
    small = len(found) * known.truth.size <= MOST_CELLS
    return asked == "out-of-fold" or (asked is None and small and not without)


def gather(found: Sequence[Earlier], known: Examples, fitting: Fitting) -> tuple[list[Member], Scores]:
    """Return the members, those that fit in seconds fitted on all of `known`, and their out-of-fold probabilities.

    Returns:
        The members, and (M, n, L) calibrated probabilities of the rows of `known`, each from a fit without it.

    Raises:
        MedbenchError: The folds of a cross-validated member are damaged or of other rows.
        Stopped: When the user stopped it.
    """
    folds = [fold for fold in splits.folds(known, min(K, max(len(known), 2)), fitting.rng) if len(fold)]
    kept, told = [], []
    for number, one in enumerate(found):
        cheap = get_family(one.family).cheap
        member, prob = (
            _fitted(one, known, folds, number, len(found), fitting) if cheap else _brought(one, known, fitting)
        )
        value = figure(fitting.around.headline, prob, known.truth, known.answer)
        kept.append(replace(member, facts={**member.facts, "validation": {fitting.around.headline: round(value, 4)}}))
        told.append(prob)
    return kept, np.stack(told)


def _fitted(
    found: Earlier, known: Examples, folds: Sequence[Rows], number: int, count: int, fitting: Fitting
) -> tuple[Member, Scores]:
    """Fit a member without each fold and then on everything; its calibration rests on such scores and stays."""
    _, calibration = load(found, fitting.device)
    family, nothing = get_family(found.family), known.take([])
    options = family.parse(dict(found.card["options"]))
    scores = np.zeros(known.truth.shape, dtype=np.float32)
    everything = np.arange(len(known))

    def fit(rows: Rows) -> Model:
        if fitting.say.stopping:
            raise Stopped
        rng = np.random.default_rng(int(found.card.get("seed", 0)))
        inside = replace(fitting, rng=rng, say=Say(None, fitting.say.stop), checkpoints=None)
        return family.fit(known.take(rows), nothing, options, inside)

    for at, held in enumerate(folds):
        words = f"Answers of {found.name} for rows it has not seen, fold {at + 1} of {len(folds)}."
        fitting.say("progress", step=number * len(folds) + at, steps=count * len(folds), sentence=words)
        rest = np.setdiff1d(everything, held)
        scores[held] = fit(rest if len(rest) else everything).scores([known.items[row] for row in held])
    facts = members.facts_of(found)
    facts |= {"learnt_again": True, "learnt_from": {"rows": len(known), "splits": ["train", "validation"]}}
    return Member(facts, fit(everything), calibration), calibration.calibrate(scores)


def _brought(found: Earlier, known: Examples, fitting: Fitting) -> tuple[Member, Scores]:
    """Load a member with the answers of its run's folds, in the order of the rows."""
    model, calibration = load(found, fitting.device)
    with undamaged(found.folder, "model"), np.load(found.folder / FILE, allow_pickle=False) as stored:
        prob, truth = stored["probabilities"], stored["truth"]
    if not np.array_equal(truth, known.truth):
        raise MedbenchError(
            f"folds of this dataset's {len(known):,} train and validation rows",
            f"{found.id!r} with {len(truth):,} others",
            "Train it again with --folds 5.",
        )
    return Member(members.facts_of(found), model, calibration), np.asarray(prob, dtype=np.float32)
