"""Requests that arrive while a model is busy are answered together in its next batch, not one after another."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import finalize

from medbench import predicting
from medbench.predicting import Loaded
from medbench.records import Item, Prediction

LARGEST = 256
"""Items that are answered in one go; more wait for the next."""


@dataclass(eq=False)
class _Waiting:
    """One caller: its items, then its answers or what went wrong."""

    items: Sequence[Item]
    answers: list[Prediction] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class _Gate:
    """The callers of one model. Whoever holds `turn` answers for all that wait."""

    def __init__(self) -> None:
        self.turn, self.listing = threading.Lock(), threading.Lock()
        self.waiting: list[_Waiting] = []

    def taken(self) -> list[_Waiting]:
        """Take the callers of the next batch off the list: the first always, more as long as they fit."""
        with self.listing:
            count = size = 0
            for caller in self.waiting:
                size += len(caller.items)
                if count and size > LARGEST:
                    break
                count += 1
            batch, self.waiting = self.waiting[:count], self.waiting[count:]
        return batch


_gates: dict[int, _Gate] = {}
_making = threading.Lock()


def predict(loaded: Loaded, items: Sequence[Item]) -> list[Prediction]:
    """Answer as `predicting.predict` does, together with whoever else is waiting for this model.

    A batch that fails is asked again caller by caller, so that one bad item harms nobody else.
    """
    mine = _Waiting(items)
    gate = _gate(loaded)
    with gate.listing:
        gate.waiting.append(mine)
    with gate.turn:
        while not mine.done:
            _answer(loaded, gate.taken())
    if mine.error is not None:
        raise mine.error
    return mine.answers


def _gate(loaded: Loaded) -> _Gate:
    with _making:
        gate = _gates.get(id(loaded))
        if gate is None:
            gate = _gates[id(loaded)] = _Gate()
            finalize(loaded, _gates.pop, id(loaded), None)
        return gate


def _answer(loaded: Loaded, batch: Sequence[_Waiting]) -> None:
    try:
        answers = predicting.predict(loaded, [item for caller in batch for item in caller.items])
    except Exception as error:  # noqa: BLE001 - it is raised again where it belongs
        if len(batch) > 1:
            for caller in batch:
                _answer(loaded, [caller])
            return
        batch[0].error, batch[0].done = error, True
        return
    at = 0
    for caller in batch:
        caller.answers = answers[at : at + len(caller.items)]
        at += len(caller.items)
        caller.done = True
