"""The codes a person settles on for one note: every act is kept, what counts is derived, the last one can be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

ActKind = Literal["accept", "reject", "add", "replace", "first"]
Standing = Literal["open", "accepted", "rejected"]
KINDS: tuple[ActKind, ...] = ("accept", "reject", "add", "replace", "first")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a person did.

    Attributes:
        kind: "accept" or "reject" a code, "add" one that nobody proposed, "replace" one by another (a finer code, its
            category), or put one "first".
        label: The code it is about ("icd10cm:E11.9").
        to: The new code of "replace"; empty for the others.
        who: Who did it, as far as told.
        at: When, Unix seconds.
    """

    kind: ActKind
    label: str
    to: str = ""
    who: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class CodeSheet:
    """The acts on one note, in order. Immutable: every change returns a new sheet.

    Attributes:
        acts: What was done, oldest first.
        proposed: Codes that were proposed, in the order shown.
    """

    acts: tuple[Act, ...] = ()
    proposed: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[str, ...]:
        """Codes that count now, in the order they were chosen; "first" moves one to the front."""
        order: list[str] = []
        for act in self.acts:
            new = act.to if act.kind == "replace" else act.label
            if act.kind == "reject":
                order = [label for label in order if label != act.label]
            elif act.kind == "replace":
                at = order.index(act.label) if act.label in order else len(order)
                order = [label for label in order if label not in (act.label, new)]
                order.insert(min(at, len(order)), new)
            elif act.kind == "first":
                order = [new, *(label for label in order if label != new)]
            elif new not in order:
                order.append(new)
        return tuple(order)

    def standing(self, label: str) -> Standing:
        """Say whether a code is accepted, rejected (or replaced by another), or still open."""
        if label in self.chosen:
            return "accepted"
        return "rejected" if any(act.label == label for act in self.acts) else "open"

    def replaced(self, label: str) -> str:
        """Return what a code was replaced by, or an empty string."""
        last = next((act for act in reversed(self.acts) if act.label == label), None)
        return last.to if last is not None and last.kind == "replace" else ""

    def settled_by(self, label: str) -> Act:
        """Return the newest act that a chosen code rests on. Raises StopIteration for a code that no act names."""
        return next(act for act in reversed(self.acts) if label in (act.label, act.to))

    def act(self, act: Act) -> CodeSheet:
        """Return the sheet with one more act.

        Raises:
            ValueError: The act is of no known kind, or replaces a code by nothing.
        """
        if act.kind not in KINDS or (act.kind == "replace") != bool(act.to):
            raise ValueError(f"no act: {act}")
        return replace(self, acts=(*self.acts, act))

    def undo(self) -> CodeSheet:
        """Return the sheet without its last act; an empty sheet stays as it is."""
        return replace(self, acts=self.acts[:-1])

    def as_json(self) -> list[dict[str, Any]]:
        """Return the acts, JSON-ready."""
        return [asdict(act) for act in self.acts]

    @classmethod
    def from_json(cls, acts: Sequence[Mapping[str, Any]], proposed: Sequence[str] = ()) -> CodeSheet:
        """Return the sheet that `as_json` wrote; acts of unknown kinds (a newer version's) are passed over."""
        known = [act for act in acts if act.get("kind") in KINDS]
        names = Act.__slots__
        return cls(tuple(Act(**{name: act[name] for name in names if name in act}) for act in known), tuple(proposed))
