"""Which model answers for a job: `models/aliases.json`, written by `appointing`.

A job is a standing question with one set of labels, "literature-ohsumed". Its champion answers wherever `@job` stands
in place of a model's id. A challenger may take a share of the items, or answer unseen beside the champion. Every change
is kept with who made it, when, why, and on what figures; the file is replaced whole, so that the champion and how it
became one never disagree.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from medbench.errors import MedbenchError, MissingError
from medbench.workspace import Workspace, read_json, undamaged

SIGN = "@"
"""What a job's name begins with where it stands in place of a model's id."""
CROWN = "👑"
NAME_LIMIT = 60
Mode = Literal["share", "shadow"]
Act = Literal["promote", "roll back", "challenge", "withdraw"]


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model that is tried beside the champion.

    Attributes:
        model: Its id.
        mode: "share": it answers for a share of the items; "shadow": it answers for all, and only the history sees it.
        share: The share of items it answers for, 0-1; 0 in the shadow.
    """

    model: str
    mode: Mode = "shadow"
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a job.

    Attributes:
        at: Unix seconds.
        act: What was done.
        model: The model it was done with; after a roll-back, the champion that came back.
        before: The champion before, "" for the first.
        who: Who did it.
        why: Their reason.
        figures: What was known of the two models then, JSON-ready.
    """

    at: float
    act: Act
    model: str
    before: str = ""
    who: str = ""
    why: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A standing question and who answers it.

    Attributes:
        name: Its name, without the sign.
        task: literature, icd or lesion.
        vocabulary: A digest of task, kind of answer and labels: all models of a job share it.
        champion: Id of the model that answers.
        challenger: Who is tried beside it, or None.
        moves: All changes, oldest first.
    """

    name: str
    task: str
    vocabulary: str
    champion: str
    challenger: Challenger | None = None
    moves: tuple[Move, ...] = ()

    @property
    def alias(self) -> str:
        """What stands in place of a model's id."""
        return f"{SIGN}{self.name}"

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, its alias included."""
        return {"alias": self.alias, **asdict(self)}

    @property
    def earlier(self) -> tuple[str, ...]:
        """The champions that a roll-back would bring back, the latest last."""
        line: list[str] = []
        for move in self.moves:
            if move.act == "promote":
                line.append(move.model)
            elif move.act == "roll back":
                line.pop()
        return tuple(line[:-1])

    def since(self, challenger: str) -> float:
        """Return when a model last became the challenger, in Unix seconds; 0 when it never did."""
        return max(
            (move.at for move in self.moves if move.act == "challenge" and move.model == challenger), default=0.0
        )

    def answers(self, item: str) -> str:
        """Return the id of the model that answers for an item: always the same one for the same item and share.

        What decides is a hash of the job and the item. When the share grows, the items that went to a challenger stay
        with it.

        Args:
            item: The item as families read it.
        """
        if self.challenger is None or self.challenger.mode == "shadow":
            return self.champion
        digest = hashlib.blake2b(f"{self.name}\n{item}".encode("utf-8", "replace"), digest_size=8).digest()
        drawn = int.from_bytes(digest, "little") / 2**64
        return self.challenger.model if drawn < self.challenger.share else self.champion


def path_of(workspace: Workspace) -> Path:
    """Return where the jobs are kept."""
    return workspace.models / "aliases.json"


def jobs(workspace: Workspace) -> list[Job]:
    """Return all jobs by name. Raises MedbenchError when the file is damaged."""
    path = path_of(workspace)
    if not path.exists():
        return []
    with undamaged(workspace.models, "list of jobs (aliases.json)", AttributeError):
        stored: Mapping[str, Mapping[str, Any]] = read_json(path)["jobs"]
        return [_job(name, stored[name]) for name in sorted(stored)]


def _job(name: str, stored: Mapping[str, Any]) -> Job:
    moves = tuple(Move(**{key: move[key] for key in Move.__slots__ if key in move}) for move in stored["moves"])
    challenger = Challenger(**stored["challenger"]) if stored.get("challenger") else None
    return Job(name, str(stored["task"]), str(stored["vocabulary"]), str(stored["champion"]), challenger, moves)


def get(workspace: Workspace, name: str) -> Job:
    """Return a job by its name, with or without the sign. Raises MissingError when there is none."""
    found = jobs(workspace)
    for job in found:
        if job.name == name.removeprefix(SIGN):
            return job
    known = ", ".join(job.alias for job in found[:8])
    todo = f"Jobs here: {known}." if known else "Make one: medbench promote MODEL."
    raise MissingError("the name of a job", repr(name), todo)


def resolve(workspace: Workspace, asked: str) -> str:
    """Return the model id that is meant: a job's champion for `@job`, anything else unchanged.

    Raises:
        MedbenchError: There is no such job, or its champion has been deleted.
    """
    return get_whole(workspace, asked).champion if asked.startswith(SIGN) else asked


def get_whole(workspace: Workspace, name: str) -> Job:
    """Return a job whose champion is there; a challenger that has been deleted is left out.

    Raises:
        MedbenchError: There is no such job, or its champion has been deleted.
    """
    job = get(workspace, name)
    if not is_there(workspace, job.champion):
        raise MedbenchError(
            f"the champion of {job.alias}",
            f"that its model {job.champion} has been deleted",
            f"Promote another, or go back: medbench rollback {job.name}.",
        )
    if job.challenger is not None and not is_there(workspace, job.challenger.model):
        return replace(job, challenger=None)
    return job


def offered(workspace: Workspace, cards: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what a picker of models offers: the jobs whose champion is among the cards, then the cards.

    Args:
        workspace: Where the jobs lie.
        cards: Model id -> card, in the order of the picker.

    Returns:
        `@job` or model id -> card. The name of a job's entry begins with a crown.
    """
    try:
        found = [job for job in jobs(workspace) if job.champion in cards]
    except MedbenchError:
        found = []
    crowned = {
        job.alias: {**cards[job.champion], "name": f"{CROWN} champion of {job.name}: {cards[job.champion]['name']}"}
        for job in found
    }
    return {**crowned, **cards}


def is_there(workspace: Workspace, model_id: str) -> bool:
    """Return whether there is such a model."""
    return (workspace.model(model_id) / "model.json").exists()


def card_of(workspace: Workspace, model_id: str) -> dict[str, Any]:
    """Return a model's card. Raises MissingError when there is no such model."""
    if not is_there(workspace, model_id):
        raise MissingError("the id of a model", repr(model_id), "List them with: medbench models.")
    return read_json(workspace.model(model_id) / "model.json")


def default_name(card: Mapping[str, Any]) -> str:
    """Return the name of the job that a model would answer for: its task and its dataset's name."""
    words = f"{card.get('task', 'job')} {card.get('dataset', {}).get('name') or card['id']}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:NAME_LIMIT].rstrip("-")


def vocabulary(card: Mapping[str, Any]) -> str:
    """Return a digest of what a model may answer: its task, one label or many, and the set of labels."""
    facts = [card.get("task"), card.get("answer"), sorted(map(str, card.get("labels", ())))]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()[:16]


def fits(job: Job, card: Mapping[str, Any]) -> None:
    """Raise MedbenchError unless a model answers with the labels of a job."""
    if vocabulary(card) != job.vocabulary:
        raise MedbenchError(
            f"a model with the labels of {job.alias}",
            f"{card['id']}, which has other labels ({len(card.get('labels', ())):,} of {card.get('task')})",
            "Give it a job of its own: --job NEW-NAME.",
        )


def parts(job: Job, items: Sequence[str]) -> dict[str, list[int]]:
    """Return model id -> positions of the items it answers for; models without items are left out."""
    found: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        found.setdefault(job.answers(item), []).append(at)
    return found
