"""Who answers when a job is asked, and what is kept of it: one record for texts, notes, files and pictures.

A challenger with a share answers for what a hash gives it; one in the shadow answers for everything, and only the
history sees it. What comes together, a file or a drop of pictures, is answered by one model: a column of labels from
two models is nobody's result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medbench import aliases, gathering, history, predicting, shadowing
from medbench.aliases import Job
from medbench.history import PictureMark
from medbench.records import Item, ItemKind, Prediction
from medbench.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Turn:
    """Who answers this time.

    Attributes:
        model: Id of the model.
        job: The job that was asked, None when the model was asked by its own id.
        mark: A digest of what is asked; what came together has one, and counts as a group.
    """

    model: str
    job: Job | None = None
    mark: str = ""

    @property
    def alias(self) -> str:
        """`@job`, or "" when a model was asked."""
        return self.job.alias if self.job is not None else ""

    def told(self, what: str) -> str:
        """Return a sentence for the reader where a challenger answers in the champion's place, else ""."""
        if self.job is None or self.model == self.job.champion:
            return ""
        return f"Answered by {self.model}, which is tried for a share of the {what} that {self.job.alias} is asked for."


def mark_of(*parts: str) -> str:
    """Return a digest of what is asked."""
    return hashlib.blake2b("\n".join(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()


def turn(workspace: Workspace, asked: str, parts: Iterable[str]) -> Turn:
    """Return who answers what comes together.

    Args:
        workspace: Where models and jobs lie.
        asked: `@job` or a model's id.
        parts: What is asked: a text, or digests of files or pictures, whose order does not matter.

    Raises:
        MedbenchError: No such job, or its champion has been deleted.
    """
    if not asked.startswith(aliases.SIGN):
        return Turn(asked)  # a model's own id: nothing to draw
    job = aliases.get_whole(workspace, asked)
    parts = sorted(parts)
    return Turn(job.answers("\n".join(parts)), job, mark_of(*parts))


def answer(workspace: Workspace, name: str, items: Sequence[Item]) -> tuple[list[Prediction], list[str]]:
    """Answer for texts, each by itself, as a job, and keep all of it in the history.

    Args:
        workspace: Where models, jobs and the history lie.
        name: The job, with or without the sign.
        items: n texts.

    Returns:
        n answers, each naming the model that gave it, and their n ids in the history ("" for an empty text).

    Raises:
        MedbenchError: No such job, its champion is missing or reads no texts, or the history cannot be written.
    """
    job = aliases.get_whole(workspace, name)
    texts = [item.joined for item in items]
    answers: list[Prediction | None] = [None] * len(items)
    for model, places in aliases.parts(job, texts).items():
        loaded = predicting.load_for(workspace, model, "text")
        for at, given in zip(places, gathering.predict(loaded, [items[at] for at in places]), strict=True):
            answers[at] = given
    whole = [given for given in answers if given is not None]
    return whole, _kept(workspace, job, items, whole, [mark_of(text) for text in texts])


def record(
    workspace: Workspace,
    told: Turn,
    items: Sequence[Item],
    answers: Sequence[Prediction],
    pictures: Sequence[PictureMark] = (),
) -> list[str]:
    """Keep n answers in the history, those without an answer too, and ask no challenger; return their n ids."""
    name, together = (told.job.name, [told.mark] * len(items)) if told.job is not None else ("", ())
    return history.record(workspace, answers, items, pictures, name, together)


def keep(
    workspace: Workspace,
    told: Turn,
    items: Sequence[Item],
    answers: Sequence[Prediction],
    pictures: Sequence[PictureMark] = (),
) -> list[str]:
    """Keep answers in the history; where a job was asked, its challenger in the shadow answers afterwards.

    Args:
        workspace: Where models and the history lie.
        told: Who answered.
        items: n items as families read them; pictures are copied for the challenger before this returns.
        answers: Their n answers.
        pictures: The n marks when the items are pictures.

    Returns:
        n ids, "" for an item without an answer.
    """
    return _kept(workspace, told.job, items, answers, [told.mark] * len(items), pictures)


def _kept(
    workspace: Workspace,
    job: Job | None,
    items: Sequence[Item],
    answers: Sequence[Prediction],
    marks: Sequence[str],
    pictures: Sequence[PictureMark] = (),
) -> list[str]:
    told = [at for at, given in enumerate(answers) if not given.problem]
    given, asked = [answers[at] for at in told], [items[at] for at in told]
    seen = [pictures[at] for at in told] if pictures else ()
    name, together = (job.name, [marks[at] for at in told]) if job is not None else ("", ())
    ids = history.record(workspace, given, asked, seen, name, together)
    if job is not None:
        kind: ItemKind = "image" if pictures else "text"
        shadowing.ask(workspace, job, ids, asked, kind)
    found = dict(zip(told, ids, strict=True))
    return [found.get(at, "") for at in range(len(answers))]
