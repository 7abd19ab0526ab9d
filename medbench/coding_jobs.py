"""A note coded for a job: its champion or a challenger proposes, both are kept, and the sheet says who was right."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from medbench import aliases, coding, coding_history, job_answers
from medbench.code_sheet import CodeSheet
from medbench.codes import Version
from medbench.coding import CodedNote, Tell
from medbench.records import Item
from medbench.workspace import Workspace


def code(
    workspace: Workspace,
    text: str,
    asked: str = coding.DICTIONARY,
    most: int = coding.MOST,
    version: Version | None = None,
    tell: Tell | None = None,
    again: str = "",
) -> CodedNote:
    """Propose codes for a note as `coding.code_note` does; what is answered for a job is kept in the history.

    Args:
        workspace: Where models, jobs and the history lie.
        text: The note.
        asked: A model of the task "icd", `@job`, or empty for the dictionary alone.
        most: As for `coding.code_note`.
        version: As for `coding.code_note`.
        tell: As for `coding.code_note`.
        again: Id of an earlier answer to this very note: it stays the one that counts, unless another model answers.

    Raises:
        MedbenchError: What `coding.code_note` raises, or there is no such job.
    """
    turn = job_answers.turn(workspace, asked, [text])
    coded = coding.code_note(workspace, text, turn.model, most, version, tell)
    answer = coded.answer
    if turn.job is None or answer is None:
        return coded
    if said := turn.told("notes"):
        coded = replace(coded, remarks=(*coded.remarks, said))
    if again and _is_by(workspace, again, turn):
        return replace(coded, kept=again)
    [kept] = job_answers.keep(workspace, turn, [Item("note", "", text)], [answer])
    return replace(coded, kept=kept)


def _is_by(workspace: Workspace, answer: str, turn: job_answers.Turn) -> bool:
    from medbench import journal

    line = journal.lines_of(workspace.history, [answer]).get(answer, {})
    return turn.job is not None and (line.get("job"), line.get("model")) == (turn.job.name, turn.model)


def keep(workspace: Workspace, coded: CodedNote, sheet: CodeSheet, who: str = "") -> None:
    """Write the sheet of a note, and where it was coded for a job, what that makes of the model's answer."""
    right = None
    if coded.kept:
        labels = aliases.card_of(workspace, coded.model)["labels"] if is_settled(coded, sheet) else ()
        right = right_of(sheet, labels) if labels else None
    coding_history.keep(workspace, coded.text, coded.model, sheet, who, coded.kept, right)


def is_settled(coded: CodedNote, sheet: CodeSheet) -> bool:
    """Return whether a person has dealt with every code that the model decided for and that was proposed to them."""
    given = set(coded.answer.chosen) if coded.answer is not None else set()
    shown = [one.code.label for one in coded.proposals if one.code.label in given]
    return bool(sheet.acts) and all(sheet.standing(label) != "open" for label in shown)


def right_of(sheet: CodeSheet, labels: Collection[str]) -> tuple[str, ...]:
    """Return the chosen codes that the model could have given: of others neither model can be right."""
    known = set(labels)
    return tuple(label for label in sheet.chosen if label in known)
