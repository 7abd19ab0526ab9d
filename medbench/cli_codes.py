"""`medbench codes`: search the code tables, and show all that they say of one code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from medbench.cli_runs import Json, give, told
from medbench.errors import MedbenchError

codes_app = typer.Typer(help="Search the tables of ICD-10-CM, ICD-10-PCS and ICD-9-CM.", no_args_is_help=True)


@codes_app.command("search")
def search(
    query: Annotated[str, typer.Argument(help="Words, or the beginning of a code.")],
    table: Annotated[str, typer.Option(help="icd10cm, icd10pcs, icd9cm or icd9pcs.")] = "icd10cm",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many codes to show at most.")] = 10,
    as_json: Json = False,
) -> None:
    """Find codes by words, typos and abbreviations included, or by their beginning.

    For example:

      medbench codes search "type 2 diabetes"

      medbench codes search E11 --json
    """
    from medbench.codes import VERSIONS, tables

    with told(as_json):
        version = next((known for known in VERSIONS if known == table), None)
        if version is None:
            raise MedbenchError("a code table", repr(table), f"Choose one of {', '.join(VERSIONS)}.")
        held = tables()
        hits = held.search(query, version, limit)
        found = {"release": held.release(version), "hits": [asdict(hit) | {"label": hit.code.label} for hit in hits]}
    lines = [f"{hit.code.code:9} {'' if hit.code.billable else '…':1} {hit.code.text}" for hit in hits]
    give(found, as_json, lambda: "\n".join(lines) or "No code fits these words.")


@codes_app.command("show")
def show(
    code: Annotated[str, typer.Argument(help="A code with or without its dot, or a label like icd9cm:250.00.")],
    as_json: Json = False,
) -> None:
    """Show a code's text, place in the tree, notes, and what it became or belongs to.

    For example:

      medbench codes show E11.9

      medbench codes show icd9cm:250.00 --json
    """
    from medbench.codes import TITLES, tables

    with told(as_json):
        held = tables()
        found = held.find(code)
        if found is None:
            raise MedbenchError("a code of one of the tables", repr(code), f'Search: medbench codes search "{code}"')
        facts: dict[str, Any] = asdict(found) | {
            "label": found.label,
            "release": held.release(found.version),
            "above": [{"code": each.code, "text": each.text} for each in held.ancestors(found.label)],
            "below": [{"code": each.code, "text": each.text} for each in held.children(found.label)],
            "notes": asdict(held.notes(found.label)),
            "icd10": [asdict(each) for each in held.to_icd10(found.label)],
            "ccsr": asdict(group) if (group := held.ccsr(found.label)) else None,
        }
    give(facts, as_json, lambda: _told(facts, TITLES[found.version]))


def _told(facts: dict[str, Any], table: str) -> str:
    lines = [f"{facts['code']}  {facts['text']}", f"{table}, {facts['release']}; {facts['kind']}"]
    lines[1] += "; billable" if facts["billable"] else "; not billable, finer codes exist"
    lines += [f"  in {each['code']}  {each['text']}" for each in facts["above"]]
    lines += [f"  finer {each['code']}  {each['text']}" for each in facts["below"]]
    for kind, notes in facts["notes"].items():
        for note in notes:
            lines.append(f"  {kind.replace('_', ' ')}: {' '.join(note) if kind == 'seventh' else note}")
    for each in facts["icd10"]:
        how = "about " if each["approximate"] else ""
        lines.append(f"  today {how}{each['code']['code']}  {each['code']['text']}")
    if facts["ccsr"]:
        lines.append(f"  CCSR {facts['ccsr']['category']}  {facts['ccsr']['system']}")
    return "\n".join(lines)
