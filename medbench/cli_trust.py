"""The part of the command line for what stands beside an answer: foreign items noticed, and the error accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medbench.cli_runs import Column, Json, Who, Why, by, give, moment, picked, told, who_does_it
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.accepted_error import Change
    from medbench.human_band import Band


def strangers(
    model: Annotated[str, typer.Argument(help="Model id (see: medbench models), or @job.")],
    own: Annotated[str, typer.Option(help="Dataset of items it is made for; the one it learnt from when empty.")] = "",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A file of foreign texts or a folder of foreign pictures; can be repeated."),
    ] = None,
    title: Column = None,
    text: Column = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write the figures on the model's card.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how well "unlike the training data" tells foreign items, as the area under the ROC curve.

    Every run measures this at its end with what lies on any computer; here other material can be added.

    For example:

      medbench strangers MODEL --against letters.csv --text body

      medbench strangers MODEL --own newer-abstracts --keep
    """
    from medbench import strangers as measuring
    from medbench import trust_figures

    with told(as_json):
        columns = picked(title=title, text=text)
        found = measuring.measure(Workspace.here(), model, own, against or (), columns, keep=keep)
    give({"model": model, **found}, as_json, lambda: "\n".join(trust_figures.strangers_lines(found)))


def trust(
    model: Annotated[str, typer.Argument(help="Model id (see: medbench models), or @job.")],
    accept: Annotated[
        float | None, typer.Option(help="Error accepted among answers that no person reads, 0-1, from now on.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last change of the accepted error back.")] = False,
    why: Why = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Show what stands without a person and what could, accept another error, or take that back.

    All that is offered holds together with the stated confidence, so one may be chosen after looking.

    For example:

      medbench trust MODEL

      medbench trust MODEL --accept 0.1 --why "two readers less this month"

      medbench trust MODEL --undo
    """
    from medbench import accepted_error, aliases, trust_figures
    from medbench import trust as fitted
    from medbench.errors import MedbenchError

    with told(as_json):
        here = Workspace.here()
        name = aliases.resolve(here, model)
        if accept is not None and undo:
            raise MedbenchError("either --accept or --undo", "both", "Leave one of them out.")
        said = {"who": who_does_it(who), "why": why}
        if accept is not None:
            accepted_error.accept(here, name, accept, **said)
        elif undo:
            accepted_error.undo(here, name, **said)
        band, changes = accepted_error.band_of(here, name), accepted_error.changes(here, name)
        card = aliases.card_of(here, name)
        behind = trust_figures.behind(fitted.load(here.model(name)), card)
    facts = {"model": name, "accepted": band.accepted, "share": band.share, "promise": band.promise()}
    facts |= {"behind": list(behind), "promises": card.get("promises", {})}
    offers = [{"share": round(one.share, 4), "accepted": one.accepted, "seen": one.error} for one in band.offered()]
    whole = {**facts, "offered": offers, "changes": [one.as_json() for one in changes]}
    give(whole, as_json, lambda: "\n".join([*_lines(band, changes), *behind]))


def _lines(band: Band, changes: list[Change]) -> list[str]:
    """Word the band, what is offered and what was changed."""
    from medbench.human_band import FAULT, HIGHEST, percent

    part = f" {band.share:.0%} of the {band.n:,} items it was tested on stand alone." if band.limit else ""
    offered = band.offered()
    lines = [f"{band.promise()}{part}", ""]
    if offered:
        lines.append(f"{'alone':>6}  at most {FAULT[band.answer]}  seen on these items")
        lines += [f"{one.share:6.0%}  {percent(one.accepted):>7}  {one.error:7.1%}" for one in offered]
    else:
        lines.append(f"Of no share of its answers could {HIGHEST:.0%} {FAULT[band.answer]}, or less, be promised.")
    lines += [""] + [
        f"{moment(one.at)}  {one.act} {percent(one.accepted)}, before {percent(one.before)}{by(one)}" for one in changes
    ]
    lines += [""] if changes else []
    return lines
