"""Reviews: one dataset, what is looked for, and who reads what next.

`data/reviews/<id>/` holds
    review.json      what is looked for; written once, by `create`
    decisions/       what readers did (see `review_decisions`)
A deleted review is moved whole to `data/reviews/.deleted/<id>/`, until it is brought back or deleted for good.
The ranking is not kept: it is learnt again from the decisions, in a second, wherever somebody reads.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import datasets
from medbench.errors import MedbenchError
from medbench.records import join_text
from medbench.review_choosing import STRATEGIES, Strategy, strategy_of, worth
from medbench.review_decisions import Journal, Standing, held_by_others
from medbench.review_learning import FAMILIES, Known, Pool, Ranker, Ranking
from medbench.review_stopping import Advice, Estimate, advise, estimate
from medbench.tasks import get_task
from medbench.workspace import Workspace, checked_id, read_cards, read_json, write_json

VERSION = 1
_NEEDED = ("id", "name", "dataset", "labels", "created")
_KEPT_OPEN = 4
_DELETED = ".deleted"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a review is: kept as review.json.

    Attributes:
        id: Its folder's name.
        name: What the user calls it.
        dataset: Id of the dataset that is read.
        labels: Labels to decide on; a single one means include or exclude.
        question: What is looked for, in words; ranks until there are examples, and stands above every record.
        family: Who ranks.
        strategy: How the next record is chosen.
        readers: How many people read each record.
        begin_labelled: True when rows that carry labels already count as read.
        created: When, Unix seconds.
    """

    id: str
    name: str
    dataset: str
    labels: tuple[str, ...]
    question: str = ""
    family: str = "linear"
    strategy: Strategy = "mixed"
    readers: int = 1
    begin_labelled: bool = False
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Next:
    """The record to read now, and what it is offered for."""

    record: int
    why: str


def create(
    workspace: Workspace,
    dataset: str,
    name: str,
    labels: Sequence[str],
    *,
    question: str = "",
    family: str = "linear",
    strategy: str = "mixed",
    readers: int = 1,
    begin_labelled: bool = False,
) -> Plan:
    """Begin a review.

    Raises:
        MedbenchError: The dataset holds no texts, or the plan makes no sense; all that is wrong at once.
    """
    held = datasets.load(workspace, dataset)
    named = tuple(dict.fromkeys(" ".join(label.split()) for label in labels if label.strip()))
    plan = next((known for known in STRATEGIES if known == strategy), None)
    wrong = [] if held.item == "text" else ["the dataset holds pictures; choose one of texts"]
    wrong += [] if name.strip() else ["the name is empty"]
    wrong += [] if named else ["no label is named"]
    wrong += [] if plan else [f"{strategy!r} is none of {', '.join(STRATEGIES)}"]
    wrong += [] if family in FAMILIES else [f"{family!r} is none of {', '.join(FAMILIES)}"]
    wrong += [] if 1 <= readers <= 9 else [f"{readers} readers; 1 to 9 can read a record"]
    if wrong or plan is None:
        raise MedbenchError("a review that can begin", "; ".join(wrong), "Correct that and begin again.")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "review"
    made = Plan(
        f"{slug}-{secrets.token_hex(4)}", name.strip(), held.id, named, question.strip(), family, plan, readers,
        begin_labelled, _moment_after(list_reviews(workspace) + list_deleted(workspace)),
    )  # fmt: skip
    write_json(folder_of(workspace, made.id) / "review.json", {"version": VERSION, **asdict(made)})
    return made


def _moment_after(plans: Sequence[Plan]) -> float:
    """Return the time in seconds, later than all of theirs: clocks are turned back, and two may begin in one tick."""
    return round(max([time.time(), *(plan.created + 0.001 for plan in plans)]), 3)


def folder_of(workspace: Workspace, review_id: str) -> Path:
    """Return a review's folder. Raises MedbenchError when the id is not one."""
    return workspace.reviews / checked_id(review_id)


def list_reviews(workspace: Workspace) -> list[Plan]:
    """Return all reviews, newest first; damaged ones are left out and named in the log."""
    return _plans(workspace.reviews)


def list_deleted(workspace: Workspace) -> list[Plan]:
    """Return the reviews that were deleted and can be brought back, newest first."""
    return _plans(workspace.reviews / _DELETED)


def _plans(folder: Path) -> list[Plan]:
    cards = read_cards(sorted(folder.glob("*/review.json")), _NEEDED)
    return sorted((_plan(card) for card in cards), key=lambda plan: plan.created, reverse=True)


def _plan(card: dict[str, Any]) -> Plan:
    known = {key: value for key, value in card.items() if key in Plan.__slots__}
    return Plan(**{**known, "labels": tuple(card["labels"])})


class Review:
    """A review at work: its records, its decisions, and the ranker behind it. Shared by all readers of a process."""

    def __init__(self, workspace: Workspace, plan: Plan) -> None:
        """Take the plan; rows are read when they are needed."""
        self.plan = plan
        self.dataset = datasets.load(workspace, plan.dataset)
        self.journal = Journal(folder_of(workspace, plan.id) / "decisions")
        self.ranker = Ranker(self._pool, plan.family)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.dataset)

    @cached_property
    def texts(self) -> list[str]:
        """The text of every record, as families read it."""
        frame = self.dataset.frame()
        return [join_text(title, text) for title, text in zip(frame["title"], frame["text"], strict=True)]

    def _pool(self) -> Pool:
        return Pool(self.texts, self.plan.question)

    @cached_property
    def given(self) -> dict[int, tuple[str, ...]]:
        """Record -> the labels of the plan that it carried from the start; empty unless these count as read."""
        if not self.plan.begin_labelled:
            return {}
        frame, wanted = self.dataset.frame(), set(self.plan.labels)
        rows = np.flatnonzero(frame["labelled"].to_numpy()).tolist()
        return {row: tuple(label for label in frame["labels"].iloc[row] if label in wanted) for row in rows}

    def known(self, standing: Standing) -> Known:
        """Return what is known now: labels given at the start, then the answers of readers."""
        held = {**self.given, **standing.answers}
        column = {label: at for at, label in enumerate(self.plan.labels)}
        truth = np.zeros((len(held), len(column)), dtype=bool)
        for row, labels in enumerate(held.values()):
            for label in labels:
                if label in column:
                    truth[row, column[label]] = True
        return Known(np.fromiter(held, np.int64, len(held)), truth)

    def learn(self) -> None:
        """Let the ranker take in the newest decisions; returns at once."""
        self.ranker.tell(self.known(self.journal.standing()))

    def next(self, who: str, strategy: Strategy | None = None, now: float | None = None) -> Next | None:
        """Return what this reader should read now, without waiting for anything; None when nothing is left.

        Records of a random sample come first, then those that wait for their second reader, then the ranking's choice,
        and skipped ones at the very end. Records that another reader has open are left to them.
        """
        standing = self.journal.standing()
        mine = {decision.record: decision.verdict for decision in standing.of(who)}
        counts = Counter(decision.record for decision in standing.decisions if decision.verdict != "skip")
        done = set(mine) | set(self.given) | set(standing.settled) | held_by_others(standing, who, now)
        done |= {record for record, count in counts.items() if count >= self.plan.readers}
        for sample in standing.samples:
            for record in sample.records:
                if record not in done:
                    return Next(record, "sample")
        second = [record for record in counts if record not in done]
        if second:
            return Next(second[0], "second")
        unread = np.ones(len(self), dtype=bool)
        unread[list(done)] = False
        if unread.any():
            return self._ranked(unread, strategy or self.plan.strategy, len(mine))
        skipped = [record for record, verdict in mine.items() if verdict == "skip" and record not in standing.settled]
        return Next(skipped[0], "skipped") if skipped else None

    def waiting(self, standing: Standing) -> tuple[int, ...]:
        """Return the records that some have read, though not yet as many readers as planned; settled ones are done."""
        counts = Counter(decision.record for decision in standing.decisions if decision.verdict != "skip")
        short = (record for record, count in counts.items() if count < self.plan.readers)
        return tuple(record for record in short if record not in standing.settled)

    def _ranked(self, unread: npt.NDArray[np.bool_], strategy: Strategy, turn: int) -> Next:
        ranking: Ranking | None = self.ranker.current
        if ranking is None:
            # Nothing learnt yet: an order that has nothing to do with the file's, the same for all readers.
            order = np.random.default_rng(0).permutation(len(self))
            return Next(int(order[np.argmax(unread[order])]), "order")
        plain = strategy_of(strategy, turn) if ranking.learnt else "diversity"
        value = np.where(unread, worth(plain, ranking.scores, ranking.novelty), -np.inf)
        return Next(int(np.argmax(value)), plain)

    def advice(self, standing: Standing, label: str) -> Advice:
        """Say whether reading for a label may stop."""
        answers = standing.answers
        relevant = np.array([label in labels for labels in answers.values()], dtype=bool)
        return advise(relevant, len(self) - len(set(self.given) - set(answers)))

    def told(self, standing: Standing, label: str) -> str:
        """Return the stop advice for a label as one or two sentences."""
        advice, name = self.advice(standing, label), f"“{label}”"
        if not advice.found:
            return f"{name}: nothing found yet in {advice.read:,} of {advice.total:,} records; too early to stop."
        verdict = "reading may stop" if advice.may_stop else "read on"
        found = f"{advice.found:,} found in {advice.read:,} of {advice.total:,} records"
        if advice.recall_low < 0.01:
            return f"{name}: {verdict}. {found}; too early to say what share of all that is."
        sure = f"{100 * advice.confidence:.0f} % sure"
        return f"{name}: {verdict}. {found}, at least {100 * advice.recall_low:.0f} % of all there are ({sure})."

    def draw(self, who: str, count: int, rng: np.random.Generator) -> int:
        """Draw unread records at random, to be read next; return how many were drawn.

        Raises:
            MedbenchError: Nothing is unread, or the last sample is not read yet.
        """
        standing = self.journal.standing()
        if standing.samples and any(record not in standing.by_record for record in standing.samples[-1].records):
            raise MedbenchError("the last sample read to its end", "unread records in it", "Read them first.")
        unread = sorted(set(range(len(self))) - set(standing.by_record) - set(self.given) - set(standing.settled))
        if not unread:
            raise MedbenchError("unread records", "none", "There is nothing left to check.")
        drawn = rng.choice(unread, size=min(count, len(unread)), replace=False)
        self.journal.sample([int(record) for record in drawn], len(unread), who)
        return len(drawn)

    def sampled(self, standing: Standing, label: str) -> Estimate | None:
        """Return the recall that the newest sample read to its end tells; None when there is none."""
        answers = standing.answers
        whole = [one for one in standing.samples if all(record in answers for record in one.records)]
        if not whole:
            return None
        newest = whole[-1]
        hits = sum(label in answers[record] for record in newest.records)
        # What else was found behind the draw comes from the same urn: it would count twice.
        before = [record for record, all_of in standing.by_record.items() if all_of[0].at <= newest.at]
        found = sum(label in answers.get(record, ()) for record in {*before, *newest.records})
        return estimate(found, newest.urn, len(newest.records), hits)


_open: dict[tuple[Path, str], Review] = {}
_lock = threading.Lock()


def load(workspace: Workspace, review_id: str) -> Review:
    """Return a review, the same object for all readers of this process.

    Raises:
        MedbenchError: There is none, or its dataset is gone.
    """
    path = _existing(workspace, review_id) / "review.json"
    with _lock:
        key = (path, review_id)
        if key not in _open:
            while len(_open) >= _KEPT_OPEN:
                _open.pop(next(iter(_open)))
            _open[key] = Review(workspace, _plan(read_json(path)))
        return _open[key]


def _existing(workspace: Workspace, review_id: str) -> Path:
    folder = folder_of(workspace, review_id)
    if not (folder / "review.json").exists():
        known = ", ".join(plan.id for plan in list_reviews(workspace)[:20])
        todo = f"Choose one of these: {known}." if known else "Begin one first."
        raise MedbenchError("the id of a review", repr(review_id), todo)
    return folder


def delete(workspace: Workspace, review_id: str) -> None:
    """Put a review aside with all its decisions; `restore` brings it back. Raises MedbenchError when there is none."""
    folder, aside = _existing(workspace, review_id), _aside(workspace, review_id)
    with _lock:
        _open.pop((folder / "review.json", review_id), None)
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)


def restore(workspace: Workspace, review_id: str) -> None:
    """Bring a deleted review back as it was.

    Raises:
        MedbenchError: It is not among the deleted, or its dataset has been deleted since.
    """
    aside = _deleted(workspace, review_id)
    datasets.load(workspace, str(read_json(aside / "review.json")["dataset"]))
    aside.rename(folder_of(workspace, review_id))


def delete_for_good(workspace: Workspace, review_id: str) -> None:
    """Remove a deleted review from the disk. Raises MedbenchError when it is not among the deleted."""
    shutil.rmtree(_deleted(workspace, review_id))


def _aside(workspace: Workspace, review_id: str) -> Path:
    return workspace.reviews / _DELETED / checked_id(review_id)


def _deleted(workspace: Workspace, review_id: str) -> Path:
    folder = _aside(workspace, review_id)
    if not (folder / "review.json").exists():
        known = ", ".join(plan.id for plan in list_deleted(workspace)[:20]) or "there is none"
        raise MedbenchError("the id of a deleted review", repr(review_id), f"Choose one of these: {known}.")
    return folder


def import_file(workspace: Workspace, path: Path, name: str) -> str:
    """Keep an uploaded file as a dataset to be read, and return its id.

    Args:
        workspace: Where.
        path: Where the bytes lie.
        name: What the user called the file; the dataset is named after it.

    Raises:
        MedbenchError: No record of it can be used.
    """
    task = get_task("literature")
    draft = datasets.draft([(path, name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.save(workspace, draft, name=name.split(".")[0] or name)
