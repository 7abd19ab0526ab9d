"""Who answers for a job changes: promote, roll back, challenge, withdraw.

One writer at a time, and the file is replaced whole. Nothing here asks whether a change is wise; `promoting` does.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from medbench.aliases import (
    SIGN,
    Challenger,
    Job,
    Move,
    card_of,
    default_name,
    fits,
    get,
    is_there,
    jobs,
    path_of,
    vocabulary,
)
from medbench.errors import MedbenchError
from medbench.workspace import Workspace, checked_id, write_json

VERSION = 1
_PATIENCE = 10.0  # seconds that a writer waits for another


def promote(
    workspace: Workspace,
    model_id: str,
    name: str = "",
    *,
    who: str = "",
    why: str = "",
    figures: Mapping[str, Any] | None = None,
) -> Job:
    """Make a model the champion of a job, which comes into being with its first one.

    A promoted challenger is no longer one; another one stays.

    Args:
        workspace: Where models and jobs lie.
        model_id: The model.
        name: The job; task and dataset of the model when empty.
        who: Who promotes it.
        why: Their reason.
        figures: What is known of it and the present champion, JSON-ready.

    Raises:
        MedbenchError: No such model, a name that is none, other labels than the job's, or it is the champion already.
    """
    card = card_of(workspace, model_id)
    name = checked_id(name.removeprefix(SIGN) or default_name(card))
    with _changing(workspace) as held:
        job = held.get(name)
        if job is None:
            job = Job(name, str(card.get("task", "")), vocabulary(card), "")
        fits(job, card)
        if job.champion == model_id:
            raise MedbenchError(f"another model than the champion of {job.alias}", repr(model_id), "Nothing to do.")
        move = Move(time.time(), "promote", model_id, job.champion, who, why, figures or {})
        stays = job.challenger if job.challenger is None or job.challenger.model != model_id else None
        held[name] = replace(job, champion=model_id, challenger=stays, moves=(*job.moves, move))
    return held[name]


def roll_back(workspace: Workspace, name: str, *, who: str = "", why: str = "") -> Job:
    """Bring back the champion before the present one; the present one takes no part any more.

    Raises:
        MedbenchError: No such job, no earlier champion, or it has been deleted.
    """
    name = get(workspace, name).name
    with _changing(workspace) as held:
        job = held[name]
        if not job.earlier:
            raise MedbenchError(f"an earlier champion of {job.alias}", "none", "Promote another model instead.")
        back = job.earlier[-1]
        if not is_there(workspace, back):
            raise MedbenchError(
                f"the earlier champion of {job.alias}",
                f"that {back} has been deleted",
                f"Promote another model: medbench promote MODEL --job {job.name}.",
            )
        move = Move(time.time(), "roll back", back, job.champion, who, why)
        stays = job.challenger if job.challenger is None or job.challenger.model != back else None
        held[name] = replace(job, champion=back, challenger=stays, moves=(*job.moves, move))
    return held[name]


def challenge(
    workspace: Workspace, model_id: str, name: str = "", *, share: float = 0.0, who: str = "", why: str = ""
) -> Job:
    """Try a model beside a job's champion; it takes the place of an earlier challenger.

    Args:
        workspace: Where models and jobs lie.
        model_id: The model.
        name: The job; task and dataset of the model when empty.
        share: Share of the items it answers for, 0-1; 0 lets it answer for all of them unseen. What comes together,
            a file or a drop of pictures, counts as one item.
        who: Who tries it.
        why: Their reason.

    Raises:
        MedbenchError: No such model or job, other labels than the job's, the champion itself, or no share.
    """
    card = card_of(workspace, model_id)
    if not 0 <= share < 1:
        raise MedbenchError("a share from 0 up to less than 1", f"{share:g}", "Promote it if it is to answer for all.")
    name = get(workspace, name or default_name(card)).name
    with _changing(workspace) as held:
        job = held[name]
        fits(job, card)
        if job.champion == model_id:
            raise MedbenchError(f"another model than the champion of {job.alias}", repr(model_id), "Choose another.")
        challenger = Challenger(model_id, "share" if share else "shadow", share)
        move = Move(time.time(), "challenge", model_id, job.champion, who, why, {"share": share})
        held[name] = replace(job, challenger=challenger, moves=(*job.moves, move))
    return held[name]


def withdraw(workspace: Workspace, name: str, *, who: str = "", why: str = "") -> Job:
    """End the trial of a challenger; without one, nothing changes. Raises MedbenchError for an unknown job."""
    name = get(workspace, name).name
    with _changing(workspace) as held:
        job = held[name]
        if job.challenger is not None:
            move = Move(time.time(), "withdraw", job.challenger.model, job.champion, who, why)
            held[name] = replace(job, challenger=None, moves=(*job.moves, move))
    return held[name]


@contextmanager
def _changing(workspace: Workspace) -> Iterator[dict[str, Job]]:
    """Yield the jobs while nobody else can change them; write them when the block ends well."""
    workspace.models.mkdir(parents=True, exist_ok=True)
    handle = os.open(workspace.models / "aliases.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(handle)
        path = path_of(workspace)
        for left in path.parent.glob(f".{path.name}.*"):  # of a writer that was killed: whoever writes holds the lock
            left.unlink(missing_ok=True)
        held = {job.name: job for job in jobs(workspace)}
        yield held
        stored = {name: {key: value for key, value in asdict(held[name]).items() if key != "name"} for name in held}
        write_json(path, {"version": VERSION, "jobs": stored})
    finally:
        os.close(handle)  # frees the lock


def _take(handle: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise MedbenchError("a turn to change the jobs", "somebody else at it", "Try again.") from None
            time.sleep(0.02)
