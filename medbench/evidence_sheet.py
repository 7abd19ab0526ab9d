"""Explanations of texts as files: CSV with a line for each mark, JSON, and a page of HTML that needs nothing else."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medbench.records import Explanation, Item, Span

NOTICE = "Research use. Not a medical device. Marks say what moved a model, not what is true of a patient."
FOR, AGAINST = "37, 99, 205", "200, 100, 0"  # blue and orange: told apart by every kind of colour vision
STYLE = f""".mb-text {{white-space: pre-wrap; line-height: 1.75; max-width: 56rem;}}
.mb-text mark {{color: inherit; border-radius: .2rem; padding: .05rem .1rem;}}
.mb-text mark.mb-against {{border-bottom: 2px dotted rgb({AGAINST});}}
.mb-text mark.mb-for {{border-bottom: 2px solid rgb({FOR});}}"""
COLUMNS = ("id", "title", "label", "name", "method", "rank", "weight", "words", "start", "end")
MEASURES = ("faithfulness", "comprehensiveness", "sufficiency", "random", "deletion", "insertion", "chance")
_FAINT = 0.08  # marks weaker than this share of the strongest are left out
_FORMULA = tuple("=+-@\t\r")


@dataclass(frozen=True, slots=True)
class Told:
    """An explanation with the text it is of; `name` is what a user reads for the label."""

    item: Item
    name: str
    explanation: Explanation

    def measures(self) -> dict[str, float | None]:
        """Return how faithful it is, by `MEASURES`; None for what was not measured."""
        measured = self.explanation.measured
        known = asdict(measured) if measured else {}
        return {"faithfulness": self.explanation.faithfulness, **{name: known.get(name) for name in MEASURES[1:]}}

    def as_json(self) -> dict[str, Any]:
        """Return all of it with the words of each mark, JSON-ready."""
        text = self.item.joined
        marks = [{**asdict(span), "words": text[span.start : span.end]} for span in self.explanation.spans]
        facts = {"id": self.item.id, "title": self.item.title, "text": text, "name": self.name}
        said = {"label": self.explanation.label, "method": self.explanation.method, "marks": marks}
        return {**facts, **said, **self.measures()}


def as_csv(told: Iterable[Told]) -> bytes:
    """Return a line for every mark, strongest first in each explanation; one without words where nothing is marked.

    UTF-8 with mark; words that a spreadsheet would take for a formula get a leading apostrophe.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, (*COLUMNS, *MEASURES), lineterminator="\n")
    writer.writeheader()
    for one in told:
        shared = {"id": one.item.id, "title": one.item.title, "label": one.explanation.label, "name": one.name}
        shared = {key: _harmless(value) for key, value in shared.items()} | {"method": one.explanation.method}
        figures = {name: "" if value is None else round(value, 4) for name, value in one.measures().items()}
        text = one.item.joined
        for rank, span in enumerate(sorted(one.explanation.spans, key=lambda span: -span.weight), start=1):
            words = _harmless(" ".join(text[span.start : span.end].split()))
            place = {"rank": rank, "weight": round(span.weight, 5), "start": span.start, "end": span.end}
            writer.writerow({**shared, **figures, **place, "words": words})
        if not one.explanation.spans:
            writer.writerow({**shared, **figures})
    return stream.getvalue().encode("utf-8-sig")


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def as_json(told: Iterable[Told], more: dict[str, Any] | None = None) -> bytes:
    """Return explanations as JSON with the notice, and what else is given."""
    whole = {"notice": NOTICE, "explanations": [one.as_json() for one in told], **(more or {})}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def as_html(told: Sequence[Told], heading: str) -> bytes:
    """Return a page with every text and its marks; everything in it is escaped, and it loads nothing."""
    parts = []
    for one in told:
        said = one.explanation
        parts.append(
            f"<article><h2>{html.escape(one.item.title or one.item.id)}</h2>"
            f"<p><b>{html.escape(one.name)}</b> · {html.escape(faithful_words(said))}</p>"
            f'<div class="mb-text">{marked(one.item.joined, said.spans)}</div></article>'
        )
    style = f"body {{font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;}} {STYLE}"
    head = f'<meta charset="utf-8"><title>{html.escape(heading)}</title><style>{style}</style>'
    key = f"{_example('mb-for', FOR, 'speaks for it')} {_example('mb-against', AGAINST, 'speaks against it')}"
    body = f'<h1>{html.escape(heading)}</h1><p class="mb-text">{key}</p>{"".join(parts)}<p>{NOTICE}</p>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'.encode()


def _example(kind: str, colour: str, words: str) -> str:
    return f'<mark class="{kind}" style="background: rgba({colour}, .25)">{words}</mark>'


def marked(text: str, spans: Sequence[Span]) -> str:
    """Return the text as escaped HTML with its spans marked: blue for, orange against, deeper for more weight."""
    largest = max((abs(span.weight) for span in spans), default=0.0) or 1.0
    pieces, at = [], 0
    for span in sorted(spans, key=lambda span: span.start):
        start, end = max(span.start, at), min(span.end, len(text))
        if end <= start or abs(span.weight) < _FAINT * largest:
            continue
        kind, colour = ("mb-for", FOR) if span.weight > 0 else ("mb-against", AGAINST)
        depth = 0.10 + 0.40 * abs(span.weight) / largest
        pieces.append(html.escape(text[at:start]))
        pieces.append(
            f'<mark class="{kind}" style="background: rgba({colour}, {depth:.2f})" title="{span.weight:+.3f}">'
            f"{html.escape(text[start:end])}</mark>"
        )
        at = end
    return "".join([*pieces, html.escape(text[at:])])


def faithful_words(told: Explanation) -> str:
    """Say in one or two sentences how far the marks can be believed."""
    method, value = f"Method: {told.method}.", told.faithfulness
    if not told.spans:
        return f"No word stands out. {method}"
    if value is None:
        return f"How faithful the marks are was not measured. {method}"
    if told.measured is not None and told.measured.most:
        return (
            f"Without the strongest mark the score falls {value:.2f} more than without another sentence on average. It "
            f"was chosen for that, so this is the most that can be said for it. {method}"
        )
    if value <= 0.01:
        return f"The marked words matter no more than random ones ({value:+.2f}): do not lean on them. {method}"
    words = "the marks drive the answer" if value >= 0.1 else "the marks matter a little"
    return f"Without the marked words the score falls {value:.2f} more than without random ones: {words}. {method}"
