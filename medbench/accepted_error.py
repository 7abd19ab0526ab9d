"""The error accepted among answers that no person reads, changed after training: on what ground, by whom, and undone.

    models/<id>/accepted.json   every change, oldest first, with the bands before and after; the file is replaced whole
    models/<id>/trust.json      the band that counts now
    models/<id>/model.json      what is promised, and what that came to on the test items, written last

Which answers may stand alone is worked out from the steps that a band keeps of its calibration items, so no answer is
asked for again. Whoever reads these files anew, as every page, command and call does, uses the new band.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from medbench import aliases, comparing_judged, trust, trust_figures
from medbench.errors import MedbenchError
from medbench.human_band import Band, band_from
from medbench.trust import Trust
from medbench.workspace import Workspace, read_json, undamaged, write_json

VERSION = 1
FILE = "accepted.json"
Act = Literal["accept", "undo"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what is accepted.

    Attributes:
        at: Unix seconds.
        act: "accept" another error, or "undo" the last change that stands.
        accepted: The error accepted from then on, 0-1.
        before: The error accepted until then, 0-1.
        who: Who did it.
        why: Their reason.
        band: The band from then on, JSON-ready.
        band_before: The band until then, JSON-ready.
    """

    at: float
    act: Act
    accepted: float
    before: float
    who: str = ""
    why: str = ""
    band: Mapping[str, Any] = field(default_factory=dict)
    band_before: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it JSON-ready, without the bands."""
        return {name: getattr(self, name) for name in ("at", "act", "accepted", "before", "who", "why")}


def band_of(workspace: Workspace, model_id: str) -> Band:
    """Return the band that counts now.

    Raises:
        MedbenchError: No such model, or one from before there were bands.
    """
    return _band(_trust(workspace, model_id), model_id)


def changes(workspace: Workspace, model_id: str) -> list[Change]:
    """Return all changes, oldest first."""
    path = workspace.model(model_id) / FILE
    if not path.exists():
        return []
    with undamaged(workspace.model(model_id), f"list of changes ({FILE})", AttributeError):
        return [
            Change(**{name: one[name] for name in Change.__slots__ if name in one})
            for one in read_json(path)["changes"]
        ]


def standing(told: list[Change]) -> list[Change]:
    """Return the changes that no undo has taken back, oldest first."""
    line: list[Change] = []
    for change in told:
        if change.act == "accept":
            line.append(change)
        elif line:
            line.pop()
    return line


def accept(workspace: Workspace, model_id: str, error: float, *, who: str = "", why: str = "") -> Change:
    """Accept another error: the largest share that is offered and bounded by it stands alone from now on.

    Args:
        workspace: Where the models lie.
        model_id: The model.
        error: Accepted among answers that no person reads, 0-1.
        who: Who accepts it.
        why: Their reason.

    Raises:
        MedbenchError: No such model, one from before there were bands, or an error that cannot be promised.
    """
    with _changing(workspace):
        kept = _trust(workspace, model_id)
        before = _band(kept, model_id)
        after = before.chosen(error)
        if after == before:
            raise MedbenchError("another error than the accepted one", f"{error:g}", "Nothing to do.")
        return _write(workspace, model_id, kept, "accept", (before, after), (who, why))


def undo(workspace: Workspace, model_id: str, *, who: str = "", why: str = "") -> Change:
    """Take the last change that stands back: the band before it counts again.

    Raises:
        MedbenchError: No such model, or nothing to take back.
    """
    with _changing(workspace):
        kept = _trust(workspace, model_id)
        line = standing(changes(workspace, model_id))
        if not line:
            raise MedbenchError("a change of the accepted error", f"none for {model_id}", "Nothing to do.")
        after = band_from(line[-1].band_before)
        return _write(workspace, model_id, kept, "undo", (_band(kept, model_id), after), (who, why))


def _write(
    workspace: Workspace, model_id: str, kept: Trust, act: Act, bands: tuple[Band, Band], by: tuple[str, str]
) -> Change:
    folder, (before, after) = workspace.model(model_id), bands
    change = Change(time.time(), act, after.accepted, before.accepted, *by, after.numbers(), before.numbers())
    told = [*changes(workspace, model_id), change]
    write_json(folder / FILE, {"version": VERSION, "changes": [asdict(one) for one in told]})
    now = replace(kept, band=after)
    write_json(folder / "trust.json", now.summary())
    card = read_json(folder / "model.json")
    promises = {**card.get("promises", {}), **_measured(workspace, card, now, after)}
    write_json(folder / "model.json", {**card, "promises": promises})
    return change


def _measured(workspace: Workspace, card: Mapping[str, Any], now: Trust, band: Band) -> dict[str, Any]:
    """Return what is promised now and what that came to on the test items; only the promise where they are not kept."""
    bare = {"band": {"promise": band.promise(), "accepted": band.accepted, "confidence": band.confidence}}
    try:
        judged = comparing_judged.answered(workspace, str(card["id"]))
        groups = comparing_judged.items_of(workspace, judged).groups
    except MedbenchError:  # a shipped model, or its dataset is gone
        return bare
    if judged.split != "test":
        return bare
    found = trust_figures.measured(now, judged.probabilities, judged.truth, judged.labels, np.asarray(groups).tolist())
    return {name: found[name] for name in ("band", "alone") if name in found}


def _trust(workspace: Workspace, model_id: str) -> Trust:
    aliases.card_of(workspace, model_id)
    return trust.load(workspace.model(model_id))


def _band(kept: Trust, model_id: str) -> Band:
    if kept.band is None:
        raise MedbenchError(
            "a model whose answers without a person have a bound of their error",
            f"{model_id}, which was trained before there was one",
            "Train it again.",
        )
    return kept.band


@contextmanager
def _changing(workspace: Workspace) -> Iterator[None]:
    """Let nobody else change what is accepted until the block ends."""
    handle = os.open(workspace.models / "accepted.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # frees the lock
