"""What readers decided: lines that are only appended, and what they add up to now.

    data/reviews/<id>/decisions/<host>-<pid>-<start>-<day>.jsonl     one act a line, each process its own files

An act is a decision on a record, an undo, a record that was opened, a settled disagreement, or a random sample that was
drawn. Nothing is ever changed or taken out: what counts is played from the acts in the order of their times.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from medbench import journal
from medbench.errors import MedbenchError

Verdict = Literal["read", "unsure", "skip"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
HELD_SECONDS = 600.0
"""A record that somebody opened is not offered to others for so long."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reader said of one record.

    Attributes:
        id: Id of the line.
        record: Position in the dataset.
        verdict: "read" (the labels count), "unsure" or "skip" (look at it later).
        labels: Labels that apply; none means that the record is irrelevant.
        who: The reader.
        at: When, Unix seconds.
        note: The reader's own words.
        why: What the record was offered for: certainty, uncertainty, diversity, order, sample, second.
    """

    id: str
    record: int
    verdict: Verdict
    labels: tuple[str, ...]
    who: str
    at: float
    note: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Records drawn at random from the unread, to see what was missed."""

    records: tuple[int, ...]
    urn: int
    who: str
    at: float


@dataclass(frozen=True)
class Standing:
    """What all acts add up to.

    Attributes:
        decisions: The decisions that count, oldest first: the newest of each reader on each record.
        settled: Record -> the decision that settled a disagreement.
        opened: Record -> (who, when) of the last opening.
        samples: The random samples, oldest first.
    """

    decisions: tuple[Decision, ...] = ()
    settled: Mapping[int, Decision] = field(default_factory=dict)
    opened: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    @cached_property
    def by_record(self) -> dict[int, list[Decision]]:
        """Record -> its decisions, oldest first."""
        found: dict[int, list[Decision]] = {}
        for decision in self.decisions:
            found.setdefault(decision.record, []).append(decision)
        return found

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Everybody who decided, in the order of first sight."""
        return tuple(dict.fromkeys(decision.who for decision in self.decisions))

    def of(self, who: str) -> list[Decision]:
        """Return the decisions of one reader, oldest first."""
        return [decision for decision in self.decisions if decision.who == who]

    @cached_property
    def answers(self) -> dict[int, tuple[str, ...]]:
        """Record -> the labels that hold, in the order in which the records were first decided on.

        A settled answer holds; else one that all readers of the record gave; else, label by label, what more than half
        of them said. A tie holds nothing, and neither do unsure and skipped records.
        """
        found: dict[int, tuple[str, ...]] = {}
        for record, decisions in self.by_record.items():
            if record in self.settled:
                found[record] = self.settled[record].labels
                continue
            given = [set(decision.labels) for decision in decisions if decision.verdict == "read"]
            answer = _majority(given)
            if answer is not None:
                found[record] = answer
        for record, decision in self.settled.items():
            found.setdefault(record, decision.labels)
        return found

    @cached_property
    def disagreements(self) -> tuple[int, ...]:
        """Records that readers labelled differently, or that one of them is unsure of, and nobody settled."""
        return tuple(
            record
            for record, decisions in self.by_record.items()
            if record not in self.settled
            and (
                len({frozenset(one.labels) for one in decisions if one.verdict == "read"}) > 1
                or any(one.verdict == "unsure" for one in decisions)
            )
        )


def _majority(given: Sequence[set[str]]) -> tuple[str, ...] | None:
    if not given:
        return None
    labels = sorted(set().union(*given))
    votes = {label: sum(label in one for one in given) for label in labels}
    if any(2 * count == len(given) for count in votes.values()):
        return None
    return tuple(label for label in labels if 2 * votes[label] > len(given))


class Journal:
    """The acts of one review: appended by this process, read from all. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Take the review's folder of decisions; it need not exist yet."""
        self.folder = folder
        self._lock = threading.Lock()
        self._acts: list[dict[str, Any]] = []
        self._read: dict[Path, int] = {}
        self._standing = Standing()

    def decide(
        self, record: int, verdict: Verdict, labels: Sequence[str], who: str, *, note: str = "", why: str = ""
    ) -> None:
        """Keep a decision at once. Raises MedbenchError without a name, or when the disk refuses."""
        labels = tuple(labels) if verdict == "read" else ()
        self._append("decide", who, record=record, verdict=verdict, labels=labels, note=note.strip(), why=why)

    def settle(self, record: int, labels: Sequence[str], who: str, note: str = "") -> None:
        """Keep what a disagreement was settled to."""
        self._append("settle", who, record=record, labels=tuple(labels), note=note.strip())

    def open(self, record: int, who: str) -> None:
        """Say that somebody has this record before them."""
        self._append("open", who, record=record)

    def sample(self, records: Sequence[int], urn: int, who: str) -> None:
        """Keep which unread records were drawn at random, and of how many."""
        self._append("sample", who, records=list(records), urn=urn)

    def undo(self, who: str, kinds: Sequence[str] = ("decide", "settle")) -> int | None:
        """Take this reader's last act of these kinds back; return its record, or None when there is none."""
        self.standing()
        undone = {act["of"] for act in self._acts if act["kind"] == "undo"}
        mine = [act for act in self._acts if act["kind"] in kinds and act["who"] == who and act["id"] not in undone]
        if not mine:
            return None
        self._append("undo", who, of=mine[-1]["id"])
        return int(mine[-1]["record"])

    def _append(self, kind: str, who: str, **fields: Any) -> None:
        if not who.strip():
            raise MedbenchError("the reader's initials", "none", "Type yours before you decide.")
        if not self.folder.parent.exists():  # somebody deleted it meanwhile: writing would leave half a review
            raise MedbenchError("a review that is there", "one that was deleted", "Bring it back or choose another.")
        with journal.lock:
            name = journal.stem()
            journal.append(self.folder / f"{name}.jsonl", name, [{"kind": kind, "who": who.strip(), **fields}])

    def standing(self) -> Standing:
        """Return what all acts add up to now; reads only what is new since the last call."""
        with self._lock:
            fresh = [act for path in sorted(self.folder.glob("*.jsonl")) for act in self._new(path)]
            if fresh:
                self._acts = sorted([*self._acts, *fresh], key=lambda act: float(act["t"]))
                self._standing = _played(self._acts)
            return self._standing

    def _new(self, path: Path) -> list[dict[str, Any]]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        return [act for line in whole.splitlines() if (act := _act(line)) is not None]


def _act(line: bytes) -> dict[str, Any] | None:
    """Return the act of a line; None for a torn one, or one of a newer version's kinds."""
    needed = {"decide": ("record", "verdict"), "settle": ("record",), "open": ("record",), "undo": ("of",)}
    needed["sample"] = ("records", "urn")
    try:
        act = json.loads(line)
    except ValueError:
        return None
    if not isinstance(act, dict) or any(key not in act for key in ("kind", "id", "t", "who")):
        return None
    return act if all(key in act for key in needed.get(act["kind"], ("?",))) else None


def _played(acts: Sequence[Mapping[str, Any]]) -> Standing:
    undone = {act["of"] for act in acts if act["kind"] == "undo"}
    decided: dict[tuple[int, str], Decision] = {}
    settled: dict[int, Decision] = {}
    opened: dict[int, tuple[str, float]] = {}
    samples: list[Sample] = []
    for act in acts:
        if act["id"] in undone:
            continue
        if act["kind"] == "decide" and act["verdict"] in VERDICTS:
            decision = _decision(act)
            decided.pop((decision.record, decision.who), None)  # a changed mind stands where it was changed
            decided[decision.record, decision.who] = decision
            if opened.get(decision.record, ("",))[0] == decision.who:
                del opened[decision.record]  # they are through with it: another reader may have it at once
        elif act["kind"] == "settle":
            settled[int(act["record"])] = _decision({**act, "verdict": "read"})
        elif act["kind"] == "open":
            opened[int(act["record"])] = (str(act["who"]), float(act["t"]))
        elif act["kind"] == "sample":
            drawn = tuple(int(record) for record in act["records"])
            samples.append(Sample(drawn, int(act["urn"]), str(act["who"]), float(act["t"])))
    return Standing(tuple(decided.values()), settled, opened, tuple(samples))


def _decision(act: Mapping[str, Any]) -> Decision:
    words = {name: str(act.get(name, "")) for name in ("id", "who", "note", "why")}
    labels = tuple(str(label) for label in act.get("labels", ()))
    return Decision(record=int(act["record"]), verdict=act["verdict"], labels=labels, at=float(act["t"]), **words)


def held_by_others(standing: Standing, who: str, now: float | None = None) -> set[int]:
    """Return the records that another reader has open."""
    since = (time.time() if now is None else now) - HELD_SECONDS
    return {record for record, (other, at) in standing.opened.items() if other != who and at > since}
