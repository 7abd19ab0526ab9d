"""`medbench vocabulary DATASET`: the words that are characteristic of each label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.vocabulary import Vocabulary

_SHOWN = 8


def vocabulary(
    dataset: Annotated[str, typer.Argument(help="Dataset id or name.")],
    label: Annotated[list[str] | None, typer.Option(help="Only this label; several times for several.")] = None,
    words: Annotated[int, typer.Option(min=1, max=3, help="Longest term, in words.")] = 2,
    min_texts: Annotated[int, typer.Option(min=1, help="A term must stand in at least so many texts.")] = 3,
    terms: Annotated[int, typer.Option(min=1, max=1000, help="Terms of each label, at most.")] = 30,
    out: Annotated[
        Path | None,
        typer.Option("--output", "--out", help=".csv with counts and intervals; .yaml: rules for keywords."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the terms that texts of a label hold more often than others, with counts, interval and z.

    For example:

      medbench vocabulary ohsumed

      medbench vocabulary ohsumed --label C14 --words 3 --out heart.csv

      medbench vocabulary ohsumed --terms 10 --out rules.yaml && medbench train rules.yaml
    """
    from medbench import datasets
    from medbench import vocabulary as finding

    with told(as_json):
        held = datasets.load(Workspace.here(), dataset)
        if unknown := [one for one in label or () if one not in held.labels]:
            raise MedbenchError(
                "labels of the dataset", repr(unknown[0]), f"Choose from {', '.join(held.labels[:20])}."
            )
        found = finding.of_dataset(held, words=words, min_texts=min_texts, kept=terms)
        kept = {one: found.terms[one] for one in (label or held.labels) if one in found.terms}
        found = finding.Vocabulary(kept, found.counts, found.n_texts, found.n_terms)
        if out is not None:
            _write(found, out, held.id, held.task)
            note(f"Written to {out}.")
    facts = {"dataset": held.id, "texts": found.n_texts, "terms": found.n_terms, "rows": found.rows()}
    give(facts, as_json, lambda: _lines(found, held.label_names))


def _lines(found: Vocabulary, names: dict[str, str]) -> str:
    lines = [f"{found.n_texts:,} texts of the train split, {found.n_terms:,} terms; most certain first."]
    for label, terms in found.terms.items():
        said = " · ".join(f"{one.term} ({one.texts}/{one.rest})" for one in terms[:_SHOWN])
        lines.append(f"{names.get(label, label)} ({found.counts[label]:,} texts): {said}")
    return "\n".join(lines)


def _write(found: Vocabulary, out: Path, dataset: str, task: str) -> None:
    """Write a table, or a run spec of the family `keywords` with these terms as its rules."""
    import csv

    import yaml

    from medbench.vocabulary import COLUMNS, lexicon

    if out.suffix.lower() == ".csv":
        with out.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(found.rows())
    elif out.suffix.lower() in (".yaml", ".yml"):
        rules = lexicon(found, {label: [one.term for one in terms] for label, terms in found.terms.items()})
        spec = {
            "task": task,
            "family": "keywords",
            "dataset": dataset,
            "name": "rules from the vocabulary",
            "options": {"learn": False, "lexicon": rules},
        }
        out.write_text(yaml.safe_dump(spec, allow_unicode=True, sort_keys=False), encoding="utf-8")
    else:
        raise MedbenchError("a file that ends in .csv or .yaml", repr(out.name), "Name it words.csv.")
