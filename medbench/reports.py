"""Answers and model cards for reading away from the screen: a PDF of predictions, a model card in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from medbench import energy, fold_figures, trust_figures
from medbench.records import Explanation, Item, Prediction

if TYPE_CHECKING:
    from medbench.report_sheet import Sheet

NOTICE = "Research use. Not a medical device. A person reads every answer before it is used."
SHORT = 25  # up to this many items, each is shown in full
DETAILS = 50  # of more, the most doubtful ones
ROWS = 5_000  # rows of the table of all items
TEXT_SHOWN = 4_000  # characters of an item's text
LABELS_SHOWN = 6
LABEL_ROWS = 60
HEADLINE = ("micro-F1", "macro-F1", "balanced accuracy", "expected calibration error")
_METRICS = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall (sensitivity)",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "map": "mean average precision",
    "auc": "AUC, mean over labels",
    "ece": "expected calibration error",
    "brier": "Brier score",
    "h_f1": "hierarchical F1",
    "h_precision": "hierarchical precision",
    "h_recall": "hierarchical recall",
}
Facts = list[tuple[str, str]]


def model_card_markdown(card: Mapping[str, Any]) -> str:
    """Return a model card as Markdown: use, data, metrics with intervals, baselines, calibration, limits, command.

    Args:
        card: What `model.json` holds; facts that are missing are left out.
    """
    parts = [f"# {_cell(card.get('name') or card.get('id', 'model'))}", NOTICE]
    parts.append(markdown_table(("", ""), [*identity(card), *data_facts(card)]))
    figures = figure_rows(card)
    if figures:
        head = ["", "model [95 % interval]", *card.get("baselines", {})]
        parts += ["## Metrics", f"Judged on {card.get('judged_on', 'unknown rows')}.", markdown_table(head, figures)]
    if card.get("folds"):
        parts += ["## Cross-validation", fold_figures.sentence(card), markdown_table(*fold_figures.table(card))]
        parts.append(fold_figures.CAUTION)
    if calibration_words(card):
        parts += ["## Calibration", calibration_words(card)]
    if promises := trust_figures.sentences(card.get("promises", {}), card.get("answer", "one")):
        parts += ["## Promises", "\n".join(f"- {_cell(line)}" for line in promises)]
    if card.get("per_label"):
        head = ["label", "items", "precision", "recall", "F1", "threshold"]
        parts += ["## Labels", markdown_table(head, label_rows(card))]
    if card.get("hierarchy"):
        head = ["group", "labels", "items", "precision", "recall", "F1"]
        parts += ["## Label tree", _tree_words(card["hierarchy"]), markdown_table(head, _group_rows(card["hierarchy"]))]
    for title, lines in (("Limits", card.get("limits")), ("Notes", card.get("notes"))):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {_cell(line)}" for line in lines)]
    findings = card.get("dataset", {}).get("findings")
    if findings:
        parts += ["## What the dataset's check found", "\n".join(f"- {_cell(line)}" for line in findings)]
    if card.get("command"):
        parts += ["## How it was made", f"```sh\n{card['command']}\n```", markdown_table(("", ""), making(card))]
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; cells make no markup of their own."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """Return text that stays inside a Markdown cell and makes no markup of its own."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def identity(card: Mapping[str, Any]) -> Facts:
    """Return what a model is, as names with values."""
    answer = {"one": "one label per item", "many": "any number of labels per item"}
    facts = [
        ("Model", card.get("id")),
        ("Task", card.get("task")),
        ("Method", card.get("family")),
        ("Answers", answer.get(str(card.get("answer")))),
        ("Labels", f"{len(card['labels'])}: {_names(card, card['labels'])}" if card.get("labels") else None),
        ("Made", card.get("created")),
        ("Intended use", card.get("intended_use")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def data_facts(card: Mapping[str, Any]) -> Facts:
    """Return what it learnt from, as names with values."""
    data = card.get("dataset", {})
    splits = ", ".join(f"{name} {count:,}" for name, count in data.get("splits", {}).items())
    facts = [
        ("Data", f"{data['name']} ({data.get('n_rows', 0):,} rows; {data.get('id', '')})" if data.get("name") else ""),
        ("Splits", splits),
        ("Licence of the data", data.get("licence") or card.get("licence")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def making(card: Mapping[str, Any]) -> Facts:
    """Return how it was made, as names with values."""
    cost, versions = card.get("cost", {}), card.get("versions", {})
    facts = [
        ("Seed", card.get("seed")),
        ("Options", ", ".join(f"{name}={value}" for name, value in card.get("options", {}).items())),
        ("Time", f"{cost['seconds']:,.0f} s" if cost.get("seconds") else None),
        ("Energy", energy.words(cost)),
        ("Peak memory", _size(cost.get("peak_memory"))),
        ("Size on disk", _size(cost.get("size"))),
        ("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _size(count: float | None) -> str | None:
    if not count:
        return None
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _names(card: Mapping[str, Any], labels: Sequence[str], most: int = 12) -> str:
    names = [str(card.get("label_names", {}).get(label, label)) for label in labels]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _tree_words(tree: Mapping[str, Any]) -> str:
    return (
        f"{tree['groups']:,} groups on {tree['levels']} levels (digest {tree['digest']}); a group is decided with one "
        f"of its labels. Calibration error of the groups' probabilities: {tree['ece']:.3f}."
    )


def _group_rows(tree: Mapping[str, Any]) -> list[list[str]]:
    return [
        [str(row["name"]), *(f"{row[key]:,}" for key in ("labels", "n"))]
        + [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        for row in tree["per_group"][:LABEL_ROWS]
    ]


def figure_rows(card: Mapping[str, Any]) -> list[list[str]]:
    """Return one row per known metric: its name, the model's value with interval, each baseline's value."""
    measured = card.get("metrics", {})
    baselines = card.get("baselines", {}).values()
    return [
        [title, _with_interval(measured[name]), *(_with_interval(table.get(name), short=True) for table in baselines)]
        for name, title in _METRICS.items()
        if name in measured
    ]


def _with_interval(entry: Any, *, short: bool = False) -> str:
    facts = entry if isinstance(entry, Mapping) else {"value": entry}
    if facts.get("value") is None:
        return "–"
    value = f"{facts['value']:.3f}"
    if short or facts.get("low") is None or facts.get("high") is None:
        return value
    return f"{value} [{facts['low']:.3f}, {facts['high']:.3f}]"


def calibration_words(card: Mapping[str, Any]) -> str:
    """Say how its probabilities were calibrated; empty when the card does not know."""
    facts = card.get("calibration", {})
    if "ece_after" not in facts:
        return ""
    return (
        f"Probabilities were calibrated ({trust_figures.how_calibrated(facts)}) on rows the model was not fitted on;"
        f" the expected calibration error was {_with_interval(facts.get('ece_before'))} before and"
        f" {_with_interval(facts['ece_after'])} after."
    )


def label_rows(card: Mapping[str, Any]) -> list[list[str]]:
    """Return one row per label: its name, items, precision, recall, F1 and threshold."""
    return [
        [
            _names(card, [str(row["label"])]),
            f"{row.get('n', 0):,}",
            *(_with_interval(row.get(name)) for name in ("precision", "recall", "f1", "threshold")),
        ]
        for row in card["per_label"]
    ]


def predictions_pdf(
    predictions: Sequence[Prediction],
    items: Sequence[Item],
    card: Mapping[str, Any],
    evidence: Mapping[str, Sequence[Explanation]] | None = None,
    corrections: Mapping[int, Sequence[str]] | None = None,
) -> bytes:
    """Return a PDF report of predictions.

    Up to 25 items are shown in full; of more, all stand in a table and the 50 most doubtful ones are shown in full.

    Args:
        predictions: n predictions of one model.
        items: The n items, in the same order.
        card: The model's card.
        evidence: Item id -> explanations, whose words are marked in the item's text.
        corrections: Position -> labels a reader decided on.

    Returns:
        The bytes of the PDF (A4, fonts embedded).

    Raises:
        ValueError: When the two lists differ in length.
    """
    from medbench.report_sheet import Sheet

    report = _Report(Sheet(NOTICE), predictions, items, card, evidence or {}, corrections or {})
    report.draw()
    return report.sheet.done()


@dataclass
class _Report:
    """One report on its way to the sheet."""

    sheet: Sheet
    predictions: Sequence[Prediction]
    items: Sequence[Item]
    card: Mapping[str, Any]
    evidence: Mapping[str, Sequence[Explanation]]
    corrections: Mapping[int, Sequence[str]]

    def draw(self) -> None:
        if len(self.items) != len(self.predictions):
            raise ValueError(f"{len(self.predictions)} predictions for {len(self.items)} items")
        self._front()
        self._summary()
        order = list(range(len(self.items)))
        if len(order) > SHORT:
            self._table()
            doubtful = [at for at in order if self.predictions[at].needs_human]
            order = sorted(doubtful, key=lambda at: -self.predictions[at].doubt)[:DETAILS]
            if order:
                most = f"the {DETAILS} most doubtful of them" if len(doubtful) > DETAILS else "all of them"
                self.sheet.heading(f"To be read by a person: {len(doubtful):,} items; {most}")
        else:
            self.sheet.heading("Answers")
        for at in order:
            self._item(at)

    def _front(self) -> None:
        sheet, card = self.sheet, self.card
        count = len(self.items)
        sheet.title(f"Labels for {count:,} {'item' if count == 1 else 'items'}")
        sheet.text(f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by medbench with the model {card.get('id', '')}.")
        sheet.notice(NOTICE)
        sheet.heading("The model")
        sheet.facts([*identity(card), *data_facts(card)])
        figures = figure_rows(card)
        headline = [row for row in figures if row[0] in HEADLINE] or figures[:3]
        if headline:
            sheet.text(f"Judged on {card.get('judged_on', 'unknown rows')}:")
            head = ["", "model [95 % interval]", *card.get("baselines", {})]
            sheet.table(head, headline, [3, 3, *[1.5] * (len(head) - 2)])
        for line in [calibration_words(card), *card.get("limits", []), *card.get("notes", [])]:
            if line:
                sheet.point(str(line))

    def _summary(self) -> None:
        answers = self.predictions
        self.sheet.heading("Summary")
        flags = [
            ("to be read by a person", sum(answer.needs_human for answer in answers)),
            ("unlike the training data", sum(answer.unlike for answer in answers)),
            ("not read to the end by the model", sum(answer.cut > 0 for answer in answers)),
            ("without text", sum(answer.problem is not None for answer in answers)),
            ("corrected by a reader", len(self.corrections)),
        ]
        told = [f"{count:,} {words}" for words, count in flags if count]
        self.sheet.text(f"{len(answers):,} items: " + ("; ".join(told) or "none needs a person") + ".")
        if len(answers) > 1:
            counts = Counter(label for at in range(len(answers)) for label in self._labels(at))
            rows = [[_names(self.card, [label]), f"{count:,}"] for label, count in counts.most_common(LABEL_ROWS)]
            if rows:
                self.sheet.table(["label", "items"], rows, [5, 1])

    def _labels(self, at: int) -> Sequence[str]:
        return self.corrections.get(at, self.predictions[at].chosen)

    def _table(self) -> None:
        self.sheet.heading("All items")
        if len(self.items) > ROWS:
            self.sheet.text(f"The first {ROWS:,} of {len(self.items):,}; the exported file holds all.")
        rows = []
        for at, (item, answer) in enumerate(zip(self.items[:ROWS], self.predictions[:ROWS], strict=True)):
            top = max((score.probability for score in answer.labels), default=None)
            marks = "".join(mark for mark, flag in (("read ", answer.needs_human), ("unlike", answer.unlike)) if flag)
            labels = _names(self.card, list(self._labels(at))) + (" (corrected)" if at in self.corrections else "")
            rows.append([f"{at + 1}", answer.id, _title(item), labels or "none", _with_interval(top), marks])
        self.sheet.table(["", "id", "title", "labels", "top", "flags"], rows, [0.9, 1.6, 4.4, 4.4, 0.9, 1.4])
        self.sheet.text(
            "top: the highest probability. read: a person should read it. unlike: unlike the training data."
        )

    def _item(self, at: int) -> None:
        sheet, item, answer = self.sheet, self.items[at], self.predictions[at]
        sheet.item(f"{at + 1}. {_title(item)}", f"id {answer.id}")
        if at in self.corrections:
            sheet.text(f"Corrected by a reader to: {_names(self.card, self.corrections[at]) or 'no label'}.", bold=True)
        if answer.problem:
            sheet.text(answer.problem, bold=True)
            return
        decided = [score.name for score in answer.labels if score.chosen]
        sheet.text(f"Decided by the model: {', '.join(decided) or 'no label'}.", bold=at not in self.corrections)
        many = self.card.get("answer") != "one"
        for score in answer.labels[: max(LABELS_SHOWN, len(decided))]:
            sheet.bar(score.name, score.probability, score.threshold if many else None, score.chosen)
        for sentence in _sentences(answer, self.card):
            sheet.point(sentence)
        explanations = self.evidence.get(item.id, ())
        for explanation in explanations:
            sheet.text(_evidence_sentence(explanation, self.card), bold=True)
            sheet.marked(item.joined[:TEXT_SHOWN], explanation.spans)
        if not explanations:
            sheet.marked(item.text[:TEXT_SHOWN], ())
        if len(item.joined) > TEXT_SHOWN:
            sheet.text(f"… the first {TEXT_SHOWN:,} of {len(item.joined):,} characters.")


def _title(item: Item) -> str:
    return item.title.strip() or " ".join(item.text[:90].split()) or "(no text)"


def _sentences(answer: Prediction, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield what must be said beside the labels, one sentence each."""
    if answer.needs_human:
        yield "To be read by a person before it is used" + (f": {answer.why}." if answer.why else ".")
    if answer.promise:
        yield answer.promise
    if answer.conformal and answer.coverage is not None:
        names = _names(card, answer.conformal, most=30)
        yield f"{trust_figures.set_words(card, answer.coverage)}: {names}."
    if answer.unlike:
        than = "all" if answer.unlikeness >= 0.995 else f"{answer.unlikeness:.0%}"
        yield f"Unlike the training data (stranger than {than} of the items it was checked on): do not rely on this."
        if answer.strange:
            yield answer.strange
    if measured := trust_figures.beside_unlike(card):
        yield measured
    if answer.cut > 0:
        yield f"The model did not read the last {answer.cut:.0%} of the text."


def _evidence_sentence(explanation: Explanation, card: Mapping[str, Any]) -> str:
    sentence = f"Evidence for {_names(card, [explanation.label])} ({explanation.method}"
    if any(span.weight < 0 for span in explanation.spans):
        sentence += "; orange and underlined speaks against it"
    drop = explanation.faithfulness
    if drop is None:
        return f"{sentence})."
    than = "more" if drop >= 0 else "less"
    if explanation.measured is not None and explanation.measured.most:
        return (
            f"{sentence}). Without the strongest mark the score falls at most {drop:.2f} more than without another one."
        )
    return f"{sentence}). Without the marks the score falls {abs(drop):.2f} {than} than without random words."
