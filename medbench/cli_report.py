"""`medbench report MODEL`: card, report, checklists and what is needed to repeat the run, written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medbench.cli_runs import Json, give, told
from medbench.workspace import Workspace


def report(
    model: Annotated[str, typer.Argument(help="Model id (see: medbench models), or @job.")],
    to: Annotated[Path | None, typer.Option(help="Folder for the files; empty means reports/MODEL.")] = None,
    as_json: Json = False,
) -> None:
    """Write a model's card, its report (HTML, PDF), drafts of reporting checklists, and a bundle to repeat the run.

    TRIPOD+AI for every model, CLAIM for models of pictures; what only the authors can say is marked as a gap.

    For example:

      medbench report MODEL --to reports/mine
    """
    from medbench import aliases, bundles

    here = Workspace.here()
    with told(as_json):
        model = aliases.resolve(here, model)
        files = bundles.write(here, model, to or Path("reports") / model)
    give({"files": [str(path) for path in files]}, as_json, lambda: "\n".join(map(str, files)))
