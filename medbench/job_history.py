"""What was answered for a job: who answered, what a challenger said unseen, and what readers made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medbench import coding_history, history, journal
from medbench.records import Prediction
from medbench.workspace import Workspace


def shadow(workspace: Workspace, shown: Sequence[str], unseen: Sequence[Prediction], job: str) -> None:
    """Keep what a challenger would have said, beside what was shown; `read` leaves it out.

    Args:
        workspace: Where the history lies.
        shown: n ids of the predictions that were shown.
        unseen: The challenger's n predictions.
        job: Name of the job.

    Raises:
        MedbenchError: When the folder cannot be written.
    """
    lines = [
        {"kind": "shadow", "of": of, "job": job, "model": answer.model, "chosen": list(answer.chosen)}
        for of, answer in zip(shown, unseen, strict=True)
    ]
    with journal.lock:
        stem = journal.stem()
        journal.append(workspace.history / f"{stem}.jsonl", stem, lines)


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer to a job: who answered what, what a challenger said unseen, and what a reader made of it.

    Attributes:
        at: Unix seconds.
        model: Id of the model whose answer was shown.
        chosen: The labels it decided for.
        unseen_by: Id of the challenger that answered in the shadow, "" for none.
        unseen: The labels that it decided for.
        right: The labels a reader settled on, None when nobody has.
        together: What was asked at once (a file, a drop of pictures, the same text again) has the same mark.
        own: The same text or picture has the same mark, whatever it came with.
        kept: Whether its text is in the history, so that a challenger can still answer.
    """

    at: float
    model: str
    chosen: frozenset[str]
    unseen_by: str
    unseen: frozenset[str]
    right: frozenset[str] | None
    together: str = ""
    own: str = ""
    kept: bool = False


def asked_of(workspace: Workspace, job: str) -> list[Asked]:
    """Return every answer that was given to a job, oldest first.

    What is right is a reader's correction, or the codes that somebody settled on for the whole note. Of two answers of
    a challenger to one item (two servers went on with the same) the first counts.
    """
    with history.opened(workspace, "job = ? OR kind IN ('correction', 'undo')", [job]) as lines:
        history.join_standing(lines)
        rows = lines.execute(
            "SELECT p.id, p.t, p.model, p.chosen, coalesce(c.model, ''), c.chosen, s.labels, s.of IS NOT NULL,"
            " coalesce(p.together, p.id), coalesce(p.hash, p.own, p.id), p.text_id IS NOT NULL FROM history p"
            " LEFT JOIN (SELECT * FROM history WHERE kind = 'shadow'"
            " QUALIFY row_number() OVER (PARTITION BY of ORDER BY t) = 1) c ON c.of = p.id"
            " LEFT JOIN standing s ON s.of = p.id WHERE p.kind = 'prediction' ORDER BY p.t"
        ).fetchall()
    coded = coding_history.settled(workspace)
    return [
        Asked(
            at,
            model,
            frozenset(chosen or ()),
            other,
            frozenset(unseen or ()),
            frozenset(right or ()) if read else coded.get(name),
            *marks,
        )
        for name, at, model, chosen, other, unseen, right, read, *marks in rows
    ]


def unanswered(workspace: Workspace, job: str, champion: str, challenger: str, since: float) -> list[str]:
    """Return the ids of texts that a champion answered for a job and a challenger has not, oldest first.

    Args:
        workspace: Where the history lies.
        job: Name of the job.
        champion: Id of the model whose answer was shown.
        challenger: Id of the model that was to answer unseen.
        since: Unix seconds; what was asked before is nobody's debt.
    """
    with history.opened(workspace, "job = ?", [job]) as lines:
        rows = lines.execute(
            "SELECT id FROM history p WHERE kind = 'prediction' AND model = ? AND t >= ? AND text_id IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM history c WHERE c.kind = 'shadow' AND c.of = p.id AND c.model = ?)"
            " ORDER BY t",
            [champion, since, challenger],
        ).fetchall()
    return [str(row[0]) for row in rows]
