"""The part of the command line that speaks of runs, and the few pieces that all commands share."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from medbench.errors import MedbenchError, full_disk
from medbench.workspace import Workspace

runs_app = typer.Typer(rich_markup_mode=None, help="List, show, follow, cancel and resume runs.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Cluster = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Work on this Ray cluster; local starts one on this machine.")
]
Column = Annotated[str | None, typer.Option(metavar="COL", help="Column (or tag) of the file that plays this part.")]
Why = Annotated[str, typer.Option(help="Your reason, kept with the change.")]
Who = Annotated[str, typer.Option(help="Who does it; your name on this machine when empty.")]


def picked(**roles: str | None) -> dict[str, str]:
    """Return the parts that the user named a column for."""
    return {role: column for role, column in roles.items() if column}


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Turn a problem into one sentence (or three JSON fields) and exit code 2."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # no file and no disk behind it: a bug
        _refuse(_of_the_system(error), as_json)
    except MedbenchError as error:
        _refuse(error, as_json)


def _refuse(error: MedbenchError, as_json: bool) -> NoReturn:
    print(json.dumps({"error": error.parts()}) if as_json else str(error), file=sys.stderr)
    raise typer.Exit(2) from None


def _of_the_system(error: OSError) -> MedbenchError:
    """Say what the operating system refused: a full disk, a folder that may not be written, too long a name."""
    if (full := full_disk(error)) is not None:
        return full
    where = f" ({str(error.filename)[:120]!r})" if error.filename is not None else ""
    cause = os.strerror(error.errno or 0).lower()
    return MedbenchError("files that can be read and written", f"{cause}{where}", "Check the path and its permissions.")


def give(value: Any, as_json: bool, plain: Callable[[], str]) -> None:
    """Print an answer to standard output, as JSON or as `plain` words it."""
    print(json.dumps(value, ensure_ascii=False, default=str) if as_json else plain())


def note(sentence: str) -> None:
    """Print a sentence to standard error."""
    print(sentence, file=sys.stderr, flush=True)


def follow(workspace: Workspace, run_id: str, as_json: bool) -> None:
    """Print a run's events until it ends, then its model's id; Ctrl+C leaves the run going."""
    from medbench import runs

    try:
        for event in runs.follow(workspace, run_id):
            if event["kind"] != "failed" and (sentence := _sentence(event)):  # the failure itself ends the command
                note(sentence)
    except KeyboardInterrupt:
        note(f"The run goes on. Follow it with: medbench runs follow {run_id}")
        raise typer.Exit(0) from None
    run = runs.get(workspace, run_id)
    if run.model is None:
        if all(run.last.get(part) for part in ("expected", "found", "todo")):
            raise MedbenchError(*(str(run.last[part]) for part in ("expected", "found", "todo")))
        found = str(run.last.get("sentence", f"the run is {run.state}"))
        raise MedbenchError("a finished run", f"{run.state}: {found}", f"See {workspace.run(run_id) / 'log.txt'}.")
    facts = {"run": run_id, "state": run.state, "model": run.model, "metrics": run.last.get("metrics", {})}
    give(facts, as_json, lambda: str(run.model))


def _sentence(event: dict[str, Any]) -> str:
    kind = event["kind"]
    if kind == "progress":
        if not event.get("sentence") and event.get("loss") is None:
            return ""
        parts = [f"{event.get('step', '')}/{event.get('steps', '')}", event.get("sentence", "")]
        parts += [f"loss {event['loss']:.4f}" if event.get("loss") is not None else ""]
        parts += [f"{event['eta']:.0f} s left" if event.get("eta") is not None else ""]
        return "  ".join(part for part in parts if part)
    if kind == "metric":
        numbers = {key: value for key, value in event.items() if isinstance(value, float) and key != "t"}
        return "  ".join([f"step {event.get('step')}", *(f"{key} {value:.4f}" for key, value in numbers.items())])
    if kind == "waiting":
        return str(event["reason"])
    ending = kind in ("finished", "cancelled") and event.get("metrics")
    names = ("micro_f1", "macro_f1", "balanced_accuracy", "ece")
    shown = "".join(f"  {key} {event['metrics'][key]:.3f}" for key in names) if ending else ""
    return f"{event.get('sentence', '')}{shown}"


@runs_app.callback()
def runs_root(context: typer.Context, as_json: Json = False) -> None:
    """List, show, follow, cancel and resume runs; without a verb, list them."""
    if context.invoked_subcommand is None:
        runs_list(as_json=as_json)


@runs_app.command("list")
def runs_list(as_json: Json = False) -> None:
    """List all runs, newest first. Example: medbench runs list --json."""
    from dataclasses import asdict

    from medbench import runs

    with told(as_json):
        found = runs.list_runs(Workspace.here())
    lines = [
        f"{run.id}  {run.state:9}  {run.spec.get('family', ''):10}  {run.spec.get('dataset', '')}" for run in found
    ]
    give([asdict(run) for run in found], as_json, lambda: "\n".join(lines) or "No runs yet: medbench train --help")


@runs_app.command("show")
def runs_show(run_id: str, as_json: Json = False) -> None:
    """Show one run with its events. Example: medbench runs show ID."""
    from dataclasses import asdict

    from medbench import runs

    workspace = Workspace.here()
    with told(as_json):
        run = runs.get(workspace, run_id)
        events = runs.events(workspace, run_id)[0]
    lines = [f"{run.id} is {run.state}", *(line for event in events if (line := _sentence(event)))]
    give({**asdict(run), "events": events}, as_json, lambda: "\n".join(lines))


@runs_app.command("follow")
def runsfollow(run_id: str, as_json: Json = False) -> None:
    """Follow a run until it ends, then print its model's id. Example: medbench runs follow ID."""
    with told(as_json):
        follow(Workspace.here(), run_id, as_json)


@runs_app.command("cancel")
def runs_cancel(run_id: str, as_json: Json = False) -> None:
    """Ask a run to stop; its best checkpoint stays usable. Example: medbench runs cancel ID."""
    from medbench import runs

    with told(as_json):
        runs.cancel(Workspace.here(), run_id)
    give({"run": run_id, "asked": "stop"}, as_json, lambda: f"{run_id} was asked to stop.")


@runs_app.command("resume")
def runs_resume(run_id: str, detach: bool = False, as_json: Json = False) -> None:
    """Go on with a lost, failed or cancelled run from its checkpoint. Example: medbench runs resume ID."""
    from medbench import runs

    workspace = Workspace.here()
    with told(as_json):
        runs.resume(workspace, run_id)
        if detach:
            give({"run": run_id}, as_json, lambda: run_id)
        else:
            follow(workspace, run_id, as_json)


@runs_app.command("folds")
def runs_folds(
    model: str,
    out: Annotated[Path | None, typer.Option(help="Write the table here: .csv, .md, .tex or .json.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Write the answers of every fold here, as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Show the folds of a cross-validated run, with mean ± sd. Example: medbench runs folds ID --out folds.csv."""
    from medbench import aliases, fold_figures

    workspace = Workspace.here()
    with told(as_json):
        card = aliases.card_of(workspace, aliases.resolve(workspace, model))
        table = fold_figures.frame(card)
        if out is not None:
            fold_figures.write(card, out)
        if answers is not None:
            fold_figures.answers(workspace.model(str(card["id"])), card["labels"]).to_csv(answers, index=False)
    give(card["folds"], as_json, lambda: f"{table.to_string(index=False)}\n{fold_figures.sentence(card)}")


def interval(metric: Any) -> str:
    """Return a `Metric` as "0.6870  (0.6700 to 0.7000)"."""
    low, high = metric.low, metric.high
    return f"{metric.value:.4f}" + (f"  ({low:.4f} to {high:.4f})" if low is not None else "")


def who_does_it(given: str) -> str:
    """Return the name that was given, or that of whoever is logged in."""
    try:
        return given or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return ""


def by(move: Any) -> str:
    """Return who made a change and why, to stand behind it."""
    return "".join([f" by {move.who}" if move.who else "", f": {move.why}" if move.why else ""])


def moment(at: float) -> str:
    """Return a moment in Unix seconds as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
