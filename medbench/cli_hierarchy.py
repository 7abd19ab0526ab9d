"""`medbench hierarchy DATASET [FILE]`: the tree of a dataset's labels, shown, set or taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace


def hierarchy(
    dataset: Annotated[str, typer.Argument(help="Dataset id or name.")],
    file: Annotated[
        Path | None, typer.Argument(help="The tree: CSV or TSV (child,parent), JSON, YAML, or indented text.")
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="The job's own: ICD chapters and blocks, malignant and benign lesions.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tree away; models keep theirs.")] = False,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out names of the tree that are no labels of the dataset.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the tree of a dataset's labels, or set it: runs started afterwards answer for its groups too.

    For example:

      medbench hierarchy ohsumed tree.csv

      medbench hierarchy mimic-notes --ready

      medbench hierarchy ohsumed
    """
    from medbench import datasets, label_trees

    with told(as_json):
        if sum((file is not None, ready, remove)) > 1:
            raise MedbenchError("one of a file, --ready or --remove", "several", "Choose one of them.")
        workspace = Workspace.here()
        held = datasets.load(workspace, dataset)
        if remove:
            label_trees.take_away(workspace, held.id)
        elif ready or file is not None:
            tree = label_trees.ready(held) if file is None else label_trees.from_file(held, file, leave_out=leave_out)
            label_trees.keep(workspace, held.id, tree)
            for sentence in tree.notes:
                note(sentence)
        current = held.hierarchy
    lines = (
        [] if current is None else [f"{'  ' * depth}{_line(*one)}" for depth, *one in current.outline(held.label_names)]
    )
    facts: dict[str, Any] = {} if current is None else {**current.facts(), "parents": dict(current.parents)}
    give(facts, as_json, lambda: "\n".join(lines) or "No tree: give a file, or --ready.")


def _line(node: str, name: str) -> str:
    return node if name == node else f"{node}  {name}"
