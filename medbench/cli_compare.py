"""`medbench compare MODEL MODEL ...`: who is better on the same test items, and is that more than chance?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.workspace import Workspace


def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more model ids; see: medbench models.")],
    metric: Annotated[str, typer.Option(help="What decides, e.g. macro_f1; the task's own when empty.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "--out", help="Also write it: .json, .csv, .md or .tex.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare models that were judged on the same test items: intervals, paired tests, a sentence for each.

    For example:

      medbench compare MODEL MODEL MODEL

      medbench compare MODEL MODEL --metric macro_f1 --output comparison.md

      medbench compare MODEL MODEL --metric auc
    """
    from medbench import comparing_sheet

    with told(as_json):
        sheet = comparing_sheet.compared(Workspace.here(), models, metric, seed=seed)
        if output is not None:
            comparing_sheet.write(sheet, output)
            note(f"Written to {output}.")
    lines = [*sheet["sentences"], sheet["footnote"]]
    lines += [f"Left out: {name} {why}." for name, why in sheet["fenced"].items()]
    lines += ["", comparing_sheet.table(sheet).to_string(index=False)]
    if (areas := comparing_sheet.areas_table(sheet)) is not None:
        lines += ["", areas.to_string(index=False)]
    give(sheet, as_json, lambda: "\n".join(lines))
