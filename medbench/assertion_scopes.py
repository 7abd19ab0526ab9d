"""The stretches of a note in which a mention is denied, a relative's, past or uncertain, and which of them meet it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from medbench.assertion_rules import Status


@dataclass(frozen=True, slots=True)
class Assertion:
    """One scope: mentions between `start` and `end` have this status, because of the trigger.

    Attributes:
        start: First character of the scope in the note.
        end: One past its last character.
        status: What mentions in it are.
        trigger_start: First character of the trigger, which may be a section's heading.
        trigger_end: One past its last character.
        trigger: The trigger as written.
        ended: True when the words say that a past condition is over.
    """

    start: int
    end: int
    status: Status
    trigger_start: int
    trigger_end: int
    trigger: str
    ended: bool = False


class Scopes(list[Assertion]):
    """The scopes of a note in the order of their triggers; not changed once made.

    A record of 500 pages has thousands of scopes and of mentions: which meet is looked up, not tried pair by pair.
    """

    def __init__(self, found: Iterable[Assertion] = ()) -> None:
        """Take the scopes."""
        super().__init__(found)
        self._order = sorted(range(len(self)), key=lambda at: self[at].start)
        self._starts = [self[at].start for at in self._order]
        self._reach = list(accumulate((self[at].end for at in self._order), max))

    def meeting(self, start: int, end: int) -> list[Assertion]:
        """Return the scopes that share characters with `start`-`end`, in their order."""
        at = bisect_left(self._starts, end)
        found = []
        while at > 0 and self._reach[at - 1] > start:  # no scope before this one reaches the mention
            at -= 1
            if self[self._order[at]].end > start:
                found.append(self._order[at])
        return [self[place] for place in sorted(found)]
