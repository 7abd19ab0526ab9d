"""The members of an ensemble: chosen, refused, fitted again where they know too much, saved with what is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medbench import trust
from medbench.errors import MedbenchError, Stopped
from medbench.families import CHEAP_FITS, Estimate, Fitting, Model, Surroundings, get_family
from medbench.families._earlier import Earlier, check_answers, check_unseen, find, load, of_dataset
from medbench.families._ensemble_combining import figure
from medbench.records import Device, Examples, Scores
from medbench.trust import Trust
from medbench.workspace import read_json, write_json

ROLE = "a member of the ensemble"
CANDIDATES = 20
"""At most so many models are tried when the best are asked for, newest first."""
_CARD = "member.json"
_KEPT_FACTS = ("id", "name", "family", "options", "item", "seed", "created", "judged_on", "versions", "learnt_from")


class Asked(Protocol):
    """What says who takes part: `members` by their ids, or when there are none, the `k` best."""

    @property
    def members(self) -> list[str]:
        """Ids of models."""

    @property
    def k(self) -> int:
        """How many."""


@dataclass(frozen=True, eq=False)
class Member:
    """One member: what its card said, the fitted model, and its own calibration."""

    facts: dict[str, Any]
    model: Model
    trust: Trust

    @property
    def name(self) -> str:
        """What the user reads of it."""
        return str(self.facts["name"])

    def probabilities(self, items: Sequence[str]) -> Scores:
        """Return (n, L) calibrated probabilities."""
        return self.trust.calibrate(self.model.scores(items))

    def save(self, folder: Path) -> None:
        """Write weights, calibration and card into a new folder; the model it came from may then go."""
        folder.mkdir(parents=True)
        self.model.save(folder)
        self.trust.save(folder)
        write_json(folder / _CARD, self.facts)


def load_member(folder: Path, device: Device) -> Member:
    """Load what `Member.save` wrote. Raises MedbenchError when a file is missing or damaged."""
    if not (folder / _CARD).exists():
        raise MedbenchError(
            f"{_CARD} of an ensemble's member", f"none in {str(folder)!r}", "Restore the ensemble, or train it again."
        )
    facts = read_json(folder / _CARD)
    return Member(facts, get_family(str(facts["family"])).load(folder, device), trust.load(folder))


# --- who takes part ----------------------------------------------------------------------------------------------


def asked_for(options: Asked, around: Surroundings, like: Examples) -> list[Earlier]:
    """Return the models that were named, or else all that may be tried.

    Raises:
        MedbenchError: A model is unknown or does not fit, or fewer than two are left.
    """
    if options.members:
        found = [_fitting(find(around, name, ROLE, like)) for name in dict.fromkeys(options.members)]
        words = f"{len(found)}: {', '.join(one.id for one in found)}"
    else:
        found = [one for one in of_dataset(around) if _can_join(one, like)][:CANDIDATES]
        words = f"{len(found)} that could join"
    if len(found) < 2:
        raise MedbenchError(
            "at least 2 models of this dataset to combine", words, "Train more models on it, then name their ids."
        )
    return found


def _can_join(found: Earlier, like: Examples) -> bool:
    try:
        check_answers(found, like, ROLE)
        _fitting(found)
    except MedbenchError:
        return False
    return True


def _fitting(found: Earlier) -> Earlier:
    """Return a model that can join as it is or fitted again; refuse another ensemble and what knows too much."""
    if get_family(found.family).combines:
        raise MedbenchError(
            "single models as members of the ensemble",
            f"{found.id!r}, itself made of others",
            "Name its members instead.",
        )
    if not get_family(found.family).cheap:
        check_unseen(found, ROLE)
    return found


def learns_again(found: Earlier) -> bool:
    """Return whether a member must be fitted again: its kept weights learnt from more than the train split."""
    return any(split != "train" for split in found.splits)


def gather(options: Asked, train: Examples, validation: Examples, fitting: Fitting) -> tuple[list[Member], Scores]:
    """Return the members and their (M, n, L) calibrated probabilities of the validation items.

    When none are named, all that can join are scored on the validation split and the best are kept: the judged figures
    on their cards rest on the test split, which must not choose.
    """
    found = asked_for(options, fitting.around, train)
    keep = len(found) if options.members else options.k
    kept: list[tuple[float, Member, Scores]] = []
    for number, one in enumerate(found, start=1):
        words = f"Scoring the validation split with {one.name}, {number} of {len(found)}."
        fitting.say("progress", step=number - 1, steps=len(found), sentence=words)
        member = _member(one, train, fitting)
        prob = told(member, validation.items, fitting)
        value = figure(fitting.around.headline, prob, validation.truth, validation.answer)
        facts = {**member.facts, "validation": {fitting.around.headline: round(value, 4)}}
        kept.append((value, replace(member, facts=facts), prob))
        if not options.members:
            kept = sorted(kept, key=lambda entry: -entry[0])[:keep]
    return [member for _, member, _ in kept], np.stack([prob for _, _, prob in kept])


def told(member: Member, items: Sequence[str], fitting: Fitting) -> Scores:
    """Return a member's (n, L) probabilities. Raises Stopped when the user stopped it.

    The items go through at once: models remember their last call, and the vectors of these are asked for next.
    """
    if fitting.say.stopping:
        raise Stopped
    return member.probabilities(items)


def facts_of(found: Earlier) -> dict[str, Any]:
    """Return what is kept of a member's card."""
    return {name: found.card[name] for name in _KEPT_FACTS if name in found.card}


def _member(found: Earlier, train: Examples, fitting: Fitting) -> Member:
    """Load a member; one of a family that fits in seconds is fitted again on the train split when it knows more.

    Its calibration stays: it rests on out-of-fold scores, so it speaks of such fits and not of one set of weights.
    """
    model, calibration = load(found, fitting.device)
    facts = facts_of(found)
    if learns_again(found):
        family = get_family(found.family)
        inside = replace(fitting, rng=np.random.default_rng(int(found.card.get("seed", 0))), checkpoints=None)
        model = family.fit(train, train.take([]), family.parse(dict(found.card["options"])), inside)
        facts["learnt_again"] = True
        facts["learnt_from"] = {"rows": len(train), "splits": ["train"]}
    return Member(facts, model, calibration)


def estimate(train: Examples, options: Asked, device: Device, around: Surroundings) -> Estimate:
    """Say what an ensemble would cost; problems are those that the fit would meet."""
    try:
        found = asked_for(options, around, train)
    except MedbenchError as error:
        return Estimate(problems=(str(error),))
    again = [one for one in found if learns_again(one)]
    seconds, known = 10.0 + 5.0 * len(found), True
    for one in again:
        once = _seconds_of_a_fit(one, train, device)
        seconds, known = seconds + (once or 0.0), known and once is not None
    sizes = sorted((int(one.card.get("cost", {}).get("size", 0)) for one in found), reverse=True)
    memory = max((int(one.card.get("cost", {}).get("peak_memory", 0)) for one in found), default=0)
    taking = len(found) if options.members else min(options.k, len(found))
    notes = []
    if again:
        names = ", ".join(one.name for one in again)
        notes.append(f"Fitted again without the test rows, because they have also learnt from others: {names}.")
    if not options.members:
        words = f"the best {taking} of {len(found)}" if taking < len(found) else f"all {len(found)}"
        notes.append(f"No members are named: {words} models of this dataset are taken, by their validation figures.")
    return Estimate(
        seconds=seconds if known else None,
        memory=memory + 2 * sum(sizes[:taking]) or None,
        disk=sum(sizes[:taking]) or None,
        notes=tuple(notes),
    )


def _seconds_of_a_fit(found: Earlier, train: Examples, device: Device) -> float | None:
    family = get_family(found.family)
    cost = family.estimate(train, family.parse(dict(found.card["options"])), device)
    return None if cost.seconds is None else cost.seconds / CHEAP_FITS


def with_folds(cost: Estimate, found: Sequence[Earlier], train: Examples, device: Device, k: int) -> Estimate:
    """Add to an ensemble's cost that members which fit in seconds are fitted once a fold, and say so."""
    cheap = [one for one in found if get_family(one.family).cheap]
    each = [_seconds_of_a_fit(one, train, device) for one in cheap]
    seconds = cost.seconds
    for once in each:
        seconds = None if seconds is None or once is None else seconds + k * once
    note = f"Weights are learnt on out-of-fold answers: members that fit in seconds are fitted {k + 1} times."
    return replace(cost, seconds=seconds, notes=(*cost.notes, note) if cheap else cost.notes)
