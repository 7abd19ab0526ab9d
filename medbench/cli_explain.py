"""`medbench explain`: one verb for all models. Why a text or a file of texts got its labels; a picture's heat map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medbench.cli_lesion import Fact, explain_picture
from medbench.cli_runs import Column, Json, give, note, picked, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from medbench.evidence_sheet import Told
    from medbench.explaining import Study
    from medbench.predicting import Loaded
    from medbench.records import Item

_SHOWN = 8
_COMPARED = 50  # texts of a file on which methods are compared unless told otherwise


def explain(
    model: Annotated[str, typer.Argument(help="Model id; see: medbench models.")],
    item: Annotated[
        Path | None, typer.Argument(help="A photograph for models of pictures; a text or PDF for the others.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The text itself, for models of texts.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="A file of records (RIS, nbib, CSV, ...): every one of them.")
    ] = None,
    method: Annotated[str, typer.Option(help="How to explain; the model's best when empty. See the manual.")] = "",
    label: Annotated[str, typer.Option(help="What is explained; the decided labels when empty.")] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="All methods side by side, and how far they agree.")
    ] = False,
    most: Annotated[int, typer.Option(help="Records of a FILE that are explained, a count; 0 for all.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where it goes: .csv, .json or .html; .png or .pdf for a picture.")
    ] = None,
    title: Column = None,
    abstract: Column = None,
    age: Fact = "",
    sex: Fact = "",
    site: Fact = "",
    as_json: Json = False,
) -> None:
    """Say why: the words and sentences that drove a label, how faithful they are, how far methods agree.

    For example:

      medbench explain starter-literature-domains --text "Statins after myocardial infarction ..."

      medbench explain starter-literature-domains --text "..." --compare

      medbench explain starter-literature-domains --file search.nbib --out evidence.html

      medbench explain starter-lesion mole.jpg --out mole.png
    """
    with told(as_json):
        from medbench import predicting

        loaded = predicting.load(Workspace.here(), model)
        if loaded.card.get("item", "text") == "image":
            if item is None:
                raise MedbenchError("a photograph", "none", f"medbench explain {model} mole.jpg --out mole.png")
            facts, lines = explain_picture(model, item, out, label, method, {"age": age, "sex": sex, "site": site})
        else:
            items = _items(item, text, file, picked(title=title, text=abstract), most or (_COMPARED if compare else 0))
            facts, lines = (_compared if compare else _explained)(loaded, items, method, label, out, file is not None)
    give(facts, as_json, lambda: "\n".join(lines))


def _items(document: Path | None, text: str | None, file: Path | None, chosen: dict[str, str], most: int) -> list[Item]:
    from medbench.note_files import note_of
    from medbench.record_files import items_of
    from medbench.records import Item

    given = [one for one in (document, text, file) if one is not None]
    if len(given) != 1:
        found = "none of them" if not given else "several"
        raise MedbenchError("a document, --text or --file", found, 'Give one: medbench explain MODEL --text "..."')
    if text is not None:
        return [Item("text", "", text)]
    if document is not None:
        if not document.is_file():
            raise MedbenchError("a PDF or text file", f"no file {str(document)!r}", "Check the path.")
        return [Item(document.name, "", note_of(document.name, document.read_bytes()).text)]
    return items_of(Path(str(file)), chosen, most)


def _teller(done: str) -> Callable[[float], None]:
    """Return what tells every tenth of the way on standard error."""
    told = 0.0

    def tell(share: float) -> None:
        nonlocal told
        if share >= told + 0.1 or share == 1.0 > told:
            told = share
            note(f"{share:.0%} {done}")

    return tell


def _labels(loaded: Loaded, items: list[Item], label: str) -> list[tuple[str, ...]]:
    """Return for each item the label that was asked for, else the decided ones, else the most probable one."""
    from medbench import predicting

    if label and label not in loaded.labels:
        raise MedbenchError(f"one of the labels {', '.join(loaded.labels)}", repr(label), "Choose one of these.")
    found = []
    for answer in predicting.predict(loaded, items):
        likeliest = tuple(score.label for score in answer.labels[:1])
        found.append(() if answer.problem else (label,) if label else answer.chosen or likeliest)
    return found


def _explained(
    loaded: Loaded, items: list[Item], method: str, label: str, out: Path | None, many: bool
) -> tuple[dict[str, Any], list[str]]:
    """Explain every item; a file by sentences, unless a method was named."""
    from medbench import explaining, record_evidence
    from medbench.evidence_sheet import Told

    chosen = explaining.method_of(loaded, method or ("sentences" if many else ""))
    labels = _labels(loaded, items, label)
    if many and chosen.name == "sentences":
        each = record_evidence.sentence_evidence(loaded, items, labels, _teller("explained"))
    else:
        each = [
            [explaining.explain(loaded, one, name, chosen.name) for name in names]
            for one, names in zip(items, labels, strict=True)
        ]
    rows = [
        Told(one, loaded.name_of(said.label), said) for one, found in zip(items, each, strict=True) for said in found
    ]
    if not rows:
        raise MedbenchError("a text with words", "none", "Give another.")
    if out is not None:
        _write(out, rows, f"{loaded.card['name']}: {chosen.title}")
    lines = [line for row in rows[: 1 if many else None] for line in _lines(row)] if not many else _short(rows)
    facts = {"model": loaded.id, "method": chosen.name, "items": len(items), "out": str(out) if out else None}
    explanations = [row.as_json() for row in rows]
    return {**facts, "explanations": explanations}, [*lines, *([f"Written to {out}."] if out else [])]


def _lines(row: Told) -> list[str]:
    """Return the strongest marks for and against a label, and how far they can be believed."""
    from medbench.evidence_sheet import faithful_words

    text, strongest = row.item.joined, sorted(row.explanation.spans, key=lambda span: -abs(span.weight))[:_SHOWN]
    words = [f"  {span.weight:+.3f}  {' '.join(text[span.start : span.end].split())}" for span in strongest]
    lines = [f"{row.name}:", *words, f"  {faithful_words(row.explanation)}"]
    measured = row.explanation.measured
    if measured is not None:
        figures = f"Comprehensiveness {measured.comprehensiveness:.2f}, sufficiency {measured.sufficiency:.2f}"
        if measured.deletion is not None:
            curves = f"deletion {measured.deletion:.2f}, insertion {measured.insertion:.2f}"
            figures += f", {curves}, by chance {measured.chance:.2f}"
        lines.append(f"  {figures}.")
    return lines


def _short(rows: list[Told]) -> list[str]:
    from medbench.record_evidence import shown_sentence

    return [
        f"{row.item.id}  {row.name}: {shown_sentence(row.item.joined, row.explanation) or 'no sentence stands out'}"
        for row in rows
    ]


def _write(out: Path, rows: list[Told], heading: str) -> None:
    from medbench import evidence_sheet

    writers = {".csv": evidence_sheet.as_csv, ".json": evidence_sheet.as_json}
    ending = out.suffix.lower()
    if ending == ".html":
        out.write_bytes(evidence_sheet.as_html(rows, heading))
    elif ending in writers:
        out.write_bytes(writers[ending](rows))
    else:
        raise MedbenchError(
            "an output file that ends in .csv, .json or .html", repr(out.name), "Name it evidence.html."
        )


def _compared(
    loaded: Loaded, items: list[Item], method: str, label: str, out: Path | None, many: bool
) -> tuple[dict[str, Any], list[str]]:
    """Compare the methods on one text (all of them), or over a file (those that are quick)."""
    from medbench import explaining

    names = tuple(part.strip() for part in method.split(",") if part.strip())
    if not many and not names:
        names = tuple(one.name for one in explaining.methods_for(loaded) if not loaded.model.dear) or ()
    labels = _labels(loaded, items, label)
    pairs = [(one, found[0]) for one, found in zip(items, labels, strict=True) if found]
    if not pairs:
        raise MedbenchError("a text with words", "none", "Give another.")
    found = explaining.study(loaded, pairs, names, _teller("compared"))
    facts = {"model": loaded.id, **found.as_json()}
    if out is not None:
        import json

        if out.suffix.lower() != ".json":
            raise MedbenchError("an output file that ends in .json", repr(out.name), "Name it methods.json.")
        out.write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    return facts, _study_lines(found)


def _study_lines(found: Study) -> list[str]:
    from medbench.explaining import METHODS

    lines = [f"{found.items} texts. Gain: how much more the score falls without the marks than without random words."]
    for name, row in zip(found.methods, found.rows, strict=True):
        figures = ", ".join(
            f"{key} {row[key]:.2f}" for key in ("gain", "comprehensiveness", "sufficiency") if key in row
        )
        lines.append(f"  {METHODS[name].title}: {figures or 'nothing marked'}, {row['seconds']:.1f} s a text")
    for at, name in enumerate(found.methods):
        for other in range(at + 1, len(found.methods)):
            rank, top = found.correlation[at, other], found.same_top[at, other]
            both = f"{METHODS[name].title} and {METHODS[found.methods[other]].title}"
            lines.append(f"  {both}: rank correlation {rank:.2f}, the same first place in {top:.0%} of the texts.")
    return lines
