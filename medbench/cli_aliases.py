"""The part of the command line that says who answers for a job: promote, roll back, try a challenger, list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medbench.cli_runs import Json, Who, Why, by, give, moment, note, told, who_does_it
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.aliases import Job

Model = Annotated[str, typer.Argument(help="Model id; see: medbench models.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job; see: medbench aliases.")]
JobOption = Annotated[str, typer.Option("--job", help="The job; task and dataset of the model when empty.")]


def promote(
    model: Model,
    job: JobOption = "",
    why: Why = "",
    who: Who = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also when it is worse, or when that cannot be told.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a model the champion of a job: it answers wherever @JOB stands in place of a model id.

    It is compared with the present champion on test items that neither learnt from; a worse one needs --anyway.

    For example:

      medbench promote MODEL --job literature-ohsumed --why "better on rare labels"

      medbench predict @literature-ohsumed search.nbib --out labelled.nbib
    """
    from medbench import promoting

    with told(as_json):
        tell = None if as_json else _asking
        changed, check = promoting.promote(
            Workspace.here(), model, job, who=who_does_it(who), why=why, anyway=anyway, tell=tell
        )
    give(
        {**changed.as_json(), "check": {"verdict": check.verdict, **check.figures()}},
        as_json,
        lambda: f"{check.sentence}\n{_words(changed)}",
    )


def _asking(answered: int, asked: int) -> None:
    note(f"{answered:,} of {asked:,} answers to the hold-out")


def rollback(job: JobName, why: Why = "", who: Who = "", as_json: Json = False) -> None:
    """Bring back the champion before the present one.

    For example:

      medbench rollback literature-ohsumed --why "more complaints"
    """
    from medbench import appointing

    _change(lambda here: appointing.roll_back(here, job, who=who_does_it(who), why=why), as_json)


def challenge(
    model: Model,
    job: JobOption = "",
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of texts, notes and files it answers for, 0-1; 0: all, unseen.")
    ] = 0.0,
    why: Why = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Try a model beside a job's champion: in the shadow, or for a share of what is asked.

    The same text always goes to the same model; a file or a folder of pictures goes to one of them as a whole.

    For example:

      medbench challenge MODEL --job literature-ohsumed --share 0.2
    """
    from medbench import appointing

    _change(lambda here: appointing.challenge(here, model, job, share=share, who=who_does_it(who), why=why), as_json)


def withdraw(job: JobName, why: Why = "", who: Who = "", as_json: Json = False) -> None:
    """End the trial of a job's challenger. Example: medbench withdraw literature-ohsumed."""
    from medbench import appointing

    _change(lambda here: appointing.withdraw(here, job, who=who_does_it(who), why=why), as_json)


def _change(act: Callable[[Workspace], Job], as_json: bool) -> None:
    with told(as_json):
        changed = act(Workspace.here())
    give(changed.as_json(), as_json, lambda: _words(changed))


def aliases(as_json: Json = False) -> None:
    """List the jobs: who answers, who is tried, how the two fare, and what changed. Example: medbench aliases."""
    from medbench import aliases as kept
    from medbench import contest

    here = Workspace.here()
    with told(as_json):
        found = kept.jobs(here)
        fared = {job.name: contest.fared(here, job) for job in found}
    lines: list[str] = []
    for job in found:
        lines.append(_words(job))
        lines += [f"  {moment(move.at)}  {move.act} {move.model}{by(move)}" for move in job.moves]
        lines += [f"  {sentence}" for one in [fared[job.name]] if one for sentence in one.sentences()]
    rows: list[dict[str, Any]] = [
        {**job.as_json(), "contest": one.as_json() if (one := fared[job.name]) else None} for job in found
    ]
    give(rows, as_json, lambda: "\n".join(lines) or "No jobs yet: medbench promote --help")


def _words(job: Job) -> str:
    words = f"{job.alias}  champion {job.champion}"
    if job.challenger is None:
        return words
    how = f"{job.challenger.share:.0%} of what is asked" if job.challenger.mode == "share" else "in the shadow"
    return f"{words}, challenger {job.challenger.model} ({how})"
