"""`medbench strangers MODEL`: how well a model notices items that are nothing like what it learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medbench.cli_runs import Column, Json, give, picked, told
from medbench.workspace import Workspace


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
