"""`medbench entities`: what texts name; `medbench dictionary`: the lists of terms it looks up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.entities import Entity

NOTES = (".txt", ".pdf", ".md", ".text")
dictionary_app = typer.Typer(help="Lists of terms that are looked up in texts: MeSH and others.", no_args_is_help=True)


def entities(
    file: Annotated[Path, typer.Argument(help="A note (text, PDF), or records: CSV, RIS, NBIB, XML, ...")],
    dictionary: Annotated[
        list[str] | None, typer.Option(help="A kept dictionary; several times for several; all of them when left out.")
    ] = None,
    terms: Annotated[Path | None, typer.Option(help="A list of terms for this once: MeSH, CSV or TSV.")] = None,
    codes: Annotated[str, typer.Option(help="Code table that is looked up: icd10cm, icd9cm or none.")] = "icd10cm",
    scispacy: Annotated[str, typer.Option(help="An installed scispaCy model whose marks are added.")] = "",
    out: Annotated[
        Path | None, typer.Option("--output", "--out", help="The file back in its format, terms as columns added.")
    ] = None,
    lines: Annotated[Path | None, typer.Option(help="A CSV with a line for every mention.")] = None,
    as_json: Json = False,
) -> None:
    """Find the medical entities of a text or a file, and whether they are present, denied, a relative's, past, unsure.

    For example:

      medbench entities letter.txt

      medbench entities search.nbib --terms d2026.bin --out search-terms.nbib

      medbench entities notes.csv --lines mentions.csv
    """
    from medbench import entity_files

    with told(as_json):
        find = _finder(dictionary, terms, codes, scispacy)
        if file.suffix.lower() in NOTES:
            found, text = _of_note(file, find)
            give({"text": text, "entities": [one.as_json() for one in found]}, as_json, lambda: _listed(found))
            return
        done = None
        if out is not None:
            done = entity_files.annotate(file, out, find)
        if lines is not None:
            with lines.open("w", encoding="utf-8-sig", newline="") as stream:
                done = entity_files.write_mentions(stream, entity_files.mentions(file, find))
        if done is not None:
            give({"records": done}, as_json, lambda: f"{done:,} records; written to {out or lines}.")
            return
        whole = [
            {"record": item.id, "entities": [one.as_json() for one in found]}
            for item, found in entity_files.mentions(file, find)
        ]
        give({"records": whole}, as_json, lambda: _counted(whole))


def _finder(names: list[str] | None, terms: Path | None, codes: str, scispacy: str) -> Callable[[str], list[Entity]]:
    from medbench import dictionaries, terms_reading
    from medbench import entities as finding

    tables: dict[str, finding.Codes | None] = {"icd10cm": "icd10cm", "icd9cm": "icd9cm", "none": None}
    if codes not in tables:
        raise MedbenchError("a code table", repr(codes), f"Choose one of {', '.join(tables)}.")
    workspace = Workspace.here()
    wanted = [str(card["id"]) for card in dictionaries.cards(workspace)] if names is None else names
    held = [dictionaries.load(workspace, name) for name in wanted]
    if terms is not None:
        held.append(dictionaries.made(terms.name, terms_reading.read_terms(terms)))
    return lambda text: finding.find(text, held, tables[codes], scispacy)


def _of_note(file: Path, find: Callable[[str], list[Entity]]) -> tuple[list[Entity], str]:
    from medbench.note_files import note_of

    if not file.is_file():
        raise MedbenchError("a file with a text", f"no file {str(file)!r}", "Check the name.")
    read = note_of(file.name, file.read_bytes())
    for remark in read.remarks:
        note(remark)
    return find(read.text), read.text


def _listed(found: list[Entity]) -> str:
    lines = [
        f"{one.start:>6}  {one.status:10}  {one.text}  →  "
        + "; ".join(f"{concept.name} [{concept.id or '–'}, {concept.source}]" for concept in one.concepts)
        for one in found
    ]
    return "\n".join(lines) or "No term was found."


def _counted(whole: list[dict[str, Any]]) -> str:
    """Word the most frequent present terms over all records."""
    from collections import Counter

    counts = Counter(
        name
        for one in whole
        for name in {entity["concepts"][0]["name"] for entity in one["entities"] if entity["status"] == "present"}
    )
    lines = [f"{count:>6}  {name}" for name, count in counts.most_common(40)]
    return "\n".join([f"{len(whole):,} records; records in which a term is present:", *lines])


@dictionary_app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="MeSH descriptors (d2026.bin, desc2026.xml), or a CSV or TSV of terms.")],
    name: Annotated[str, typer.Option(help="What it is called; the file's name when empty.")] = "",
    branches: Annotated[str, typer.Option(help="First letters of the MeSH trees that are kept.")] = "ABCDEFG",
    as_json: Json = False,
) -> None:
    """Keep a list of terms in the workspace, so that the pages, the API and the command line look it up.

    For example:

      medbench dictionary add d2026.bin --name MeSH

      medbench dictionary add terms.csv --name "Our terms"
    """
    from medbench import dictionaries, terms_reading

    with told(as_json):
        wanted = name or file.name.split(".")[0]
        listed = terms_reading.read_terms(file, branches=tuple(branches.upper()))
        card = dictionaries.keep(Workspace.here(), dictionaries.made(wanted, listed), file.name)
    give(card, as_json, lambda: f"{card['id']}: {card['concepts']:,} concepts, {card['terms']:,} terms")


@dictionary_app.command("list")
def list_dictionaries(as_json: Json = False) -> None:
    """List the dictionaries that are kept. Example: medbench dictionary list --json."""
    from medbench import dictionaries

    with told(as_json):
        cards = dictionaries.cards(Workspace.here())
    lines = [
        f"{card['id']:20} {card['concepts']:>8,} concepts  {card['terms']:>8,} terms  {card['name']}" for card in cards
    ]
    give(cards, as_json, lambda: "\n".join(lines) or "No dictionary yet: medbench dictionary add --help")


@dictionary_app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Its id or name; see: medbench dictionary list.")], as_json: Json = False
) -> None:
    """Delete a dictionary. Example: medbench dictionary remove mesh."""
    from medbench import dictionaries

    with told(as_json):
        dictionaries.remove(Workspace.here(), name)
    give({"removed": name}, as_json, lambda: f"Removed {name}.")
