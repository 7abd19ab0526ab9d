"""A run on paper: what was asked, what it learnt from, how well it does, what it must not be trusted with.

One list of sections is drawn twice, as HTML that needs no network and as PDF, so that the two never differ.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from medbench import (
    checklists,
    comparing_figures,
    comparing_judged,
    fold_figures,
    heat_check,
    metrics,
    report_curves,
    report_errors,
    trust_figures,
)
from medbench.comparing_judged import Answered
from medbench.report_curves import Curves
from medbench.reports import NOTICE, calibration_words, data_facts, figure_rows, identity, label_rows, making
from medbench.squares import Square, as_svg
from medbench.workspace import Workspace, read_json

LABELS_MOST = 300  # rows of the table of labels; the model card holds all
_BARS = 40
_BINS = 10
_STYLE = """
body {font: 15px/1.5 system-ui, sans-serif; color: #191e24; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;}
h1 {font-size: 1.7rem;} h2 {font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #d5dbe1;}
table {border-collapse: collapse; width: 100%; font-size: .9rem; margin: .5rem 0;}
th, td {text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #e8ecf0;}
.notice {background: #e8ecf0; padding: .6rem .9rem; font-weight: 600;}
.gap {color: #a04000; font-weight: 600;}
.bar {background: #e8ecf0; width: 12rem; height: .7rem; display: inline-block;}
.plots {display: flex; flex-wrap: wrap; gap: 1.5rem; margin: .8rem 0;} .plots svg {max-width: 100%; height: auto;}
.bar i {background: #1e69aa; height: .7rem; display: block;}
@media print {body {margin: 0; max-width: none;} h2 {break-after: avoid;} tr {break-inside: avoid;}}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report; empty parts of it are left out.

    Attributes:
        title: Its heading.
        text: Paragraphs.
        points: A list.
        facts: Names with values.
        head: Column names of its table.
        rows: The table.
        shares: How wide the columns are, relative to each other.
        bars: (name, share of 0-1) drawn as bars.
        squares: Plots, side by side.
    """

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    shares: Sequence[float] = ()
    bars: Sequence[tuple[str, float]] = ()
    squares: Sequence[Square] = ()


def sections(workspace: Workspace, model_id: str) -> tuple[dict[str, Any], list[Section]]:
    """Return a model's card and the report's parts.

    Raises:
        MedbenchError: There is no such model, or its files are damaged.
    """
    from medbench.aliases import card_of

    card = card_of(workspace, model_id)
    found = report_errors.tables(workspace, card)
    lists = checklists_of(workspace, card, report_errors.groups_sentence(found))
    drawn = _curves(workspace, card)
    parts = [
        Section("The model", facts=[*identity(card), *data_facts(card)]),
        _performance(card),
        _folds(card),
        _labels(card),
        *([_curves_section(drawn)] if drawn else []),
        *(Section(one.title, [one.text], head=one.head, rows=one.rows, shares=one.shares) for one in found if one.rows),
        Section("Calibration and promises", text=[*_trust(card), *_drawn_words(drawn)], **_reliability(drawn)),
        Section("Limits and notes", points=[str(one) for one in [*card.get("limits", ()), *card.get("notes", ())]]),
        Section("What the dataset's check found", points=list(card.get("dataset", {}).get("findings", ()))),
        Section("How it was made", text=[str(card.get("command", ""))], facts=making(card)),
        *(_checklist(name, lines) for name, lines in lists.items()),
    ]
    return card, [part for part in parts if _says_something(part)]


def dataset_card(workspace: Workspace, card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of what a model learnt from; empty when it has been deleted or belongs to another machine."""
    name = str(card.get("dataset", {}).get("id") or "")
    path = workspace.datasets / name / "dataset.json"
    return read_json(path) if name and path.is_file() else {}


def checklists_of(workspace: Workspace, card: Mapping[str, Any], groups: str = "") -> dict[str, list[checklists.Line]]:
    """Return the checklists that concern a model, filled from its card, its dataset's card and its folder.

    Args:
        workspace: Where they lie.
        card: The model's card.
        groups: Figures of groups of patients, in a sentence.

    Raises:
        MedbenchError: Files of the model are damaged.
    """
    folder = workspace.model(str(card["id"]))
    heat = " ".join(f"{check.method}: {check.sentence}" for check in heat_check.load(folder).values())
    kept = (folder / "judged.npz").is_file()
    return checklists.filled(card, dataset_card(workspace, card), answers_kept=kept, heat=heat, groups=groups)


def _says_something(part: Section) -> bool:
    return any((any(part.text), part.points, part.facts, part.rows, part.bars, part.squares))


def _performance(card: Mapping[str, Any]) -> Section:
    baselines = list(card.get("baselines", {}))
    head = ["", "model [95 % interval]", *baselines]
    text = [f"Judged on {card.get('judged_on', 'unknown rows')}."]
    return Section(
        "How well it does",
        text,
        head=head,
        rows=figure_rows(card),
        shares=[3, 3, *(max(1.5, len(name) / 7) for name in baselines)],
    )


def _folds(card: Mapping[str, Any]) -> Section:
    if not card.get("folds"):
        return Section("Cross-validation")
    head, rows = fold_figures.table(card)
    text = [fold_figures.sentence(card), fold_figures.CAUTION]
    return Section("Cross-validation", text, head=head, rows=rows, shares=[2.2, 1, *[1.5] * (len(head) - 2)])


def _labels(card: Mapping[str, Any]) -> Section:
    rows = label_rows(card) if card.get("per_label") else []
    head = ["label", "items", "precision", "recall", "F1", "threshold"]
    bars = [(row[0], float(entry["f1"])) for row, entry in zip(rows, card.get("per_label", ()), strict=False)]
    more = f" The first {LABELS_MOST} of {len(rows):,}; the model card holds all." if len(rows) > LABELS_MOST else ""
    few = bars if len(bars) <= _BARS else []
    return Section(
        "Each label", [more], head=head, rows=rows[:LABELS_MOST], shares=[5, 1, 1.2, 1.2, 1.2, 1.2], bars=few
    )


def _trust(card: Mapping[str, Any]) -> list[str]:
    promises = trust_figures.sentences(card.get("promises", {}), card.get("answer", "one"))
    return [calibration_words(card), *promises]


def _curves(workspace: Workspace, card: Mapping[str, Any]) -> tuple[Answered, Curves] | None:
    """Return the answers that the run kept, and the curves they make; None when it kept none."""
    if not (workspace.model(str(card["id"])) / "judged.npz").exists():
        return None
    model = comparing_judged.answered(workspace, str(card["id"]))
    return model, report_curves.curves(workspace, model)


def _curves_section(drawn: tuple[Answered, Curves]) -> Section:
    _, found = drawn
    shares = [4, 1.2, 3, 3, 1.2]
    return Section("Curves", [found.text], head=found.head, rows=found.rows, shares=shares, squares=found.squares)


def _drawn_words(drawn: tuple[Answered, Curves] | None) -> list[str]:
    if drawn is None:
        return []
    return [
        f"The plot leaves out bins of fewer than {comparing_figures.FEWEST_PAIRS}; on the dotted line claims come true."
    ]


def _reliability(drawn: tuple[Answered, Curves] | None) -> dict[str, Any]:
    """Return the table of claimed against true shares, and its plot."""
    if drawn is None:
        return {}
    model, found = drawn
    curve = metrics.reliability_curve(model.truth, model.probabilities, model.answer, _BINS)
    rows = [[f"{row['claimed']:.2f}", f"{row['true']:.2f}", f"{int(row['n']):,}"] for row in curve]
    return {
        "head": ["mean probability", "share that was true", "pairs of item and label"],
        "rows": rows,
        "shares": [1] * 3,
        "squares": [found.reliability],
    }


def _checklist(name: str, lines: Sequence[checklists.Line]) -> Section:
    rows = [[line.number, line.topic, line.asks, line.shown] for line in lines]
    text = [
        f"A draft from the run. Numbers of {checklists.SOURCES[name]}; what each item asks is said in our own words.",
        checklists.summary(lines),
    ]
    return Section(
        f"Checklist {name}", text, head=["", "part", "asks", "answer"], rows=rows, shares=[0.6, 1.6, 3.6, 4.2]
    )


# --- drawn -----------------------------------------------------------------------------------------------------


def as_html(workspace: Workspace, model_id: str) -> bytes:
    """Return the report as one HTML page that needs no network. Raises MedbenchError as `sections` does."""
    card, parts = sections(workspace, model_id)
    title = html.escape(str(card.get("name") or model_id))
    body = "".join(map(_html_section, parts))
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{html.escape(_made(model_id))}</p>"
        f'<p class="notice">{html.escape(NOTICE)}</p>{body}</body></html>'
    )
    return page.encode()


def _made(model_id: str) -> str:
    return f"Report of the model {model_id}, made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by medbench."


def _html_section(part: Section) -> str:
    pieces = [f"<h2>{html.escape(part.title)}</h2>"]
    pieces += [f"<p>{html.escape(line)}</p>" for line in part.text if line]
    if part.points:
        pieces.append("<ul>" + "".join(f"<li>{html.escape(point)}</li>" for point in part.points) + "</ul>")
    if part.facts:
        pieces.append(_html_table((), part.facts))
    if part.bars:
        pieces.append("<table><tr><th>label</th><th>F1</th></tr>" + "".join(map(_html_bar, part.bars)) + "</table>")
    if part.squares:
        pieces.append(f'<div class="plots">{"".join(map(as_svg, part.squares))}</div>')
    if part.rows:
        pieces.append(_html_table(part.head, part.rows))
    return "".join(pieces)


def _html_bar(bar: tuple[str, float]) -> str:
    name, share = bar
    drawn = f'<span class="bar"><i style="width:{share:.0%}"></i></span>'
    return f"<tr><td>{html.escape(name)}</td><td>{drawn} {share:.3f}</td></tr>"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>" if head else ""
    return f"<table>{top}{''.join(map(_html_row, rows))}</table>"


def _html_row(row: Sequence[str]) -> str:
    cells = (
        f'<td class="gap">{html.escape(cell)}</td>' if cell.startswith("GAP") else f"<td>{html.escape(cell)}</td>"
        for cell in row
    )
    return "<tr>" + "".join(cells) + "</tr>"


def as_pdf(workspace: Workspace, model_id: str) -> bytes:
    """Return the report as PDF (A4, fonts embedded). Raises MedbenchError as `sections` does."""
    from medbench.report_sheet import Sheet

    card, parts = sections(workspace, model_id)
    sheet = Sheet(NOTICE)
    sheet.title(str(card.get("name") or model_id))
    sheet.text(_made(model_id))
    sheet.notice(NOTICE)
    for part in parts:
        sheet.heading(part.title, part.squares)
        for line in filter(None, part.text):
            sheet.text(line)
        for point in part.points:
            sheet.point(point)
        if part.facts:
            sheet.facts(part.facts)
        for name, share in part.bars:
            sheet.bar(name, share, None, decided=True)
        if part.squares:
            sheet.squares(part.squares)
        if part.rows and part.title.startswith("Checklist"):
            for number, topic, asks, answer in part.rows:
                sheet.text(f"{number}  {topic}: {asks}", bold=True)
                sheet.text(answer)
        elif part.rows:
            sheet.table(part.head, part.rows, part.shares)
    return sheet.done()
