"""A file's answers go into the history, chunk by chunk, and where a job was asked its challenger answers afterwards.

Beside each answered chunk of a batch lies

    00000.history.json   for each record the id of its line in the history; who is to answer unseen, and who has
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medbench import aliases, job_answers, shadowing
from medbench.aliases import Job
from medbench.batches import Batch
from medbench.errors import MedbenchError
from medbench.job_answers import Turn
from medbench.records import Item
from medbench.workspace import Workspace, file_mark, read_json, write_json


def turn(workspace: Workspace, asked: str, path: Path) -> Turn:
    """Return who answers for a file: one model for all of it. Raises MedbenchError for an unknown job."""
    return job_answers.turn(workspace, asked, [file_mark(path)] if path.is_file() else [])


def place_of(batch: Batch, number: int) -> Path:
    """Return where the ids of one chunk lie."""
    return batch.folder / f"{number:05d}.history.json"


def record_chunk(workspace: Workspace, batch: Batch, told: Turn, number: int, items: Sequence[Item]) -> None:
    """Write the answers of one chunk, which are about these items, to the history, once."""
    path = place_of(batch, number)
    if not items or path.exists():
        return
    unseen = shadowing.seen(told.job)
    facts: dict[str, Any] = {"version": 1, "ids": job_answers.record(workspace, told, items, batch.given(number))}
    write_json(path, {**facts, **({"unseen": unseen} if unseen else {})})


def record(workspace: Workspace, batch: Batch, told: Turn) -> None:
    """Write the answers of a batch to the history, each chunk once; reads the file only where a chunk is missing."""
    numbers = range(-(-batch.done // batch.chunk))
    if all(place_of(batch, number).exists() for number in numbers):
        return
    items = batch.items()
    for number in numbers:
        record_chunk(workspace, batch, told, number, list(itertools.islice(items, batch.chunk)))


def answer_unseen(workspace: Workspace, batch: Batch, job: Job | None) -> Iterator[None]:
    """Let the challenger in the shadow answer the chunks that were answered while it was one; a few records a step.

    What it has answered is written chunk by chunk, so that a batch which is opened again goes on there.
    """
    model = shadowing.seen(job)
    if job is None or not model:
        return
    items = batch.items()
    for number in range(-(-batch.done // batch.chunk)):
        part = list(itertools.islice(items, batch.chunk))
        path = place_of(batch, number)
        facts = read_json(path) if path.exists() else {}
        if facts.get("unseen") != model or facts.get("done"):
            continue
        kept = [at for at, answer in enumerate(batch.problems(number)) if not answer]
        ids = [str(facts["ids"][at]) for at in kept]
        yield from shadowing.parts(workspace, job, model, ids, [part[at] for at in kept])
        write_json(path, {**facts, "done": True})


def job_of(workspace: Workspace, batch: Batch) -> Job | None:
    """Return the job that a batch was asked for; None for a model's own id, or a job that is gone."""
    try:
        return aliases.get_whole(workspace, batch.job) if batch.job else None
    except MedbenchError:
        return None
