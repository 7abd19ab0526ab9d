"""What a report says beyond the figures: trials of a search, what is taken for what, groups of items, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medbench import comparing_errors, comparing_judged, datasets
from medbench.comparing_judged import Answered
from medbench.picture_facts import fact_columns, facts_of
from medbench.proportions import share_interval
from medbench.workspace import Workspace

MATRIX_MOST = 12  # labels of a confusion matrix on paper; of more, the commonest confusions are listed
_EXAMPLES = 12
_QUOTED = 160  # characters of an item's text
_TRIALS = 60
_GROUPS_MOST = 12  # values of one fact
PATIENT_FACTS = ("age", "sex", "site", "skin tone")


class Table(NamedTuple):
    """One part of a report: its title, a sentence, and a table with relative column widths."""

    title: str
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    shares: Sequence[float]


def tables(workspace: Workspace, card: Mapping[str, Any]) -> list[Table]:
    """Return what can be said of a model: each part only where its run kept what it needs.

    Raises:
        MedbenchError: Files of the model or of its dataset are damaged.
    """
    found = [trials(card)] if card.get("tuning") else []
    if not (workspace.model(str(card["id"])) / "judged.npz").exists():
        return found
    model = comparing_judged.answered(workspace, str(card["id"]))
    found.append(confusion(model))
    if (workspace.datasets / str(card["dataset"]["id"]) / "dataset.json").is_file():
        found += [groups(workspace, model), examples(workspace, model)]
    return found


def trials(card: Mapping[str, Any]) -> Table:
    """Return the trials of a search, the best first."""
    search = card["tuning"]
    names = list(dict.fromkeys(name for one in search["trials"] for name in one["options"]))
    order = sorted(search["trials"], key=lambda one: -1e9 if one["value"] is None else one["value"], reverse=True)
    rows = [
        [
            str(one["number"]),
            "–" if one["value"] is None else f"{one['value']:.4f}",
            str(one["state"]),
            f"{one['seconds']:.0f}",
            *(_short(one["options"].get(name)) for name in names),
        ]
        for one in order[:_TRIALS]
    ]
    title = str(search["headline"]).replace("_", " ")
    text = (
        f"{len(order)} trials, scored on the validation split; the best of many flatters. Trial {search['best']} won."
    )
    return Table(
        "The search", text, ["trial", title, "state", "s", *names], rows, [1, 1.4, 1.4, 0.7, *[1.5] * len(names)]
    )


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def confusion(model: Answered) -> Table:
    """Return the confusion matrix, or of many labels the commonest confusions."""
    names, labels = model.card.get("label_names", {}), model.labels
    if model.answer == "one" and len(labels) <= MATRIX_MOST:
        counts = np.asarray(model.truth, dtype=np.int64).T @ np.asarray(model.decided, dtype=np.int64)
        rows = [[label, *(f"{count:,}" for count in row)] for label, row in zip(labels, counts.tolist(), strict=True)]
        text = f"{len(model.truth):,} {model.split} items: rows are the true label, columns what was decided."
        return Table("Confusion matrix", text, ["true", *labels], rows, [2, *[1] * len(labels)])
    rows = [
        [str(names.get(true, true)), str(names.get(said, said)), f"{count:,}"]
        for true, said, count in comparing_errors.confusions(model)
    ]
    text = f"Of {len(model.truth):,} {model.split} items: a missed label beside a wrong one of the same item."
    return Table("What is taken for what", text, ["missed", "decided instead", "items"], rows, [4, 4, 1])


def groups(workspace: Workspace, model: Answered) -> Table:
    """Return the share of items that were wholly right, by age, sex, site and skin tone, or by length and year."""
    kin, right = comparing_judged.items_of(workspace, model).groups, model.right
    rows = []
    for fact, values in comparing_errors.item_facts(workspace, model).items():
        column = np.asarray(values, dtype=object).astype(str)
        kinds, counts = np.unique(column, return_counts=True)
        for kind in kinds[np.argsort(-counts, kind="stable")][:_GROUPS_MOST]:
            mine = column == kind
            low, high = share_interval(right[mine], kin[mine])
            rows.append([fact, str(kind), f"{int(mine.sum()):,}", f"{right[mine].mean():.3f} [{low:.3f}, {high:.3f}]"])
    text = f"Share of {model.split} items whose labels are all right, with 95 % interval."
    return Table("Groups of items", text, ["", "group", "items", "all right"], rows, [1.5, 3, 1, 3])


def groups_sentence(found: Sequence[Table]) -> str:
    """Return figures of groups of patients in one sentence for a checklist; "" where nothing tells patients apart."""
    rows = [row for one in found if one.title == "Groups of items" for row in one.rows if row[0] in PATIENT_FACTS]
    told = "; ".join(f"{fact} {group} {figure} (n {count})" for fact, group, count, figure in rows)
    return f"Share of items right: {told}." if told else ""


def examples(workspace: Workspace, model: Answered) -> Table:
    """Return wrong answers of which the model was surest, with the beginning of their texts."""
    wrong = [int(row) for row in comparing_errors.worst(model, len(model.truth)) if not model.right[row]][:_EXAMPLES]
    frame = datasets.load(workspace, str(model.card["dataset"]["id"])).frame().iloc[model.positions[wrong]]
    names, pictures = model.card.get("label_names", {}), model.card.get("item") == "image"
    columns = fact_columns(map(str, frame.columns))

    def shown(row: Mapping[Any, Any]) -> str:
        if pictures:
            known = facts_of({str(name): cell for name, cell in row.items()}, columns)
            return ", ".join(f"{fact} {value}" if fact == "age" else value for fact, value in known.items())
        return " ".join(f"{row['title']} {row['text']}".split())[:_QUOTED]

    def said(flags: Any) -> str:
        held = [label for label, flag in zip(model.labels, flags, strict=True) if flag]
        return "; ".join(str(names.get(label, label)) for label in held) or "none"

    rows = [
        [
            str(row["id"]),
            shown(row),
            said(model.truth[at]),
            said(model.decided[at]),
        ]
        for at, row in zip(wrong, frame.to_dict("records"), strict=True)
    ]
    text = "Wrong answers that the model was surest of. They quote the data: mind who reads this report."
    head = ["id", "patient" if pictures else "item", "true", "decided"]
    return Table("Examples of errors", text, head, rows, [2, 3, 3, 3] if pictures else [1.5, 5, 2.5, 2.5])
