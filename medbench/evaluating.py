"""How good is a model on a labelled file it never saw? Metrics with intervals; rows it did see are called out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from medbench import code_metrics, metrics, predicting
from medbench import mapping as columns
from medbench.errors import MedbenchError
from medbench.lesion_judged import JudgedLesions
from medbench.readers import Account, open_source
from medbench.records import ColumnMap, Item, Metric, Scores, Truth, part_image
from medbench.tasks import get_task
from medbench.workspace import Workspace

SAMPLE = 2_000


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        model: Model id.
        file: Name of the file.
        judged: Rows the figures rest on.
        seen: Rows left out because the model learnt from that very text.
        unlabelled: Rows left out because they carry no label of the model; for ICD codes, no label at all.
        unknown_labels: Label -> rows, for labels in the file that the model does not know; they are not judged, but
            for ICD codes they count as missed.
        refused: Rows the reader could not use.
        metrics: Metrics with 95 % intervals (bootstrap over groups when the file names them, else over rows).
        per_label: One row per label.
        notes: What a reader of the figures must know, one sentence each.
        codes: For ICD codes, the field's figures (`code_metrics.card_figures`).
        lesion: For skin lesions, the figures of every class, of malignant against benign (`lesion_figures.figures`)
            and, under "subgroups", those by age, sex and site where these are told.
    """

    model: str
    file: str
    judged: int
    seen: int
    unlabelled: int
    unknown_labels: dict[str, int]
    refused: int
    metrics: dict[str, Metric]
    per_label: list[dict[str, Any]]
    notes: list[str]
    codes: dict[str, Any] | None = None
    lesion: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return asdict(self)


def evaluate_file(
    workspace: Workspace,
    model_id: str,
    path: Path,
    *,
    name: str | None = None,
    chosen: Mapping[str, str] | None = None,
    keep_seen: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a labelled file with a model.

    Args:
        workspace: Where models lie.
        model_id: The model.
        path: The labelled file.
        name: What the user called it.
        chosen: Role -> column; the rest is taken from the training file's columns or guessed.
        keep_seen: Count rows that the model learnt from as well (the figures then flatter).
        n_boot: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        MedbenchError: When the file cannot be read, has no label column, or none of its labels is known to the model.
    """
    loaded = predicting.load_for(workspace, model_id, "text")
    task = get_task(str(loaded.card["task"]))
    reader, source = open_source(path, name)
    account = Account()
    mapped = _mapping(loaded.card, list(islice(reader.read(source), SAMPLE)), reader.roles, chosen or {})
    if not mapped.labels:
        raise MedbenchError(f"a label column in {source.name!r}", "none", "Name it with --labels COLUMN.")
    rows = list(columns.apply(mapped, account.watch(reader.read(source)), task.clean_label, reader.roles))
    items = [Item(row.id or str(number), row.title, row.text) for number, row in enumerate(rows, start=1)]
    return judge_rows(loaded, source.name, account, rows, items, keep_seen, (n_boot, seed))


def judge_rows(
    loaded: predicting.Loaded,
    file: str,
    account: Account,
    rows: list[columns.Row],
    items: list[Item],
    keep_seen: bool,
    resamples: tuple[int, int],
) -> Evaluation:
    """Answer for items and judge the answers by their rows' labels; `resamples` is (bootstrap resamples, seed)."""
    n_boot, seed = resamples
    unknown = Counter(label for row in rows for label in row.labels if label not in loaded.labels)
    seen = predicting.seen_in_training(loaded, items)
    known = frozenset(loaded.labels)
    coding = loaded.card["task"] == "icd"
    labelled = np.array([bool(row.labels if coding else known.intersection(row.labels)) for row in rows], dtype=bool)
    kept = np.flatnonzero(labelled & (keep_seen | ~seen))
    n_seen = int((seen & labelled).sum())
    truth = _truth([rows[index].labels for index in kept], loaded.labels, unknown, n_seen)
    probabilities, decided = predicting.tables(loaded, [items[index] for index in kept])
    groups = [rows[index].group for index in kept]
    strange = [[label for label in rows[index].labels if label not in known] for index in kept]
    missed = sorted({label for labels in strange for label in labels}) if coding else []
    own = loaded.groups.tree if loaded.groups else None
    truth = own.closed(truth) if own else truth
    measured = metrics.evaluate(
        *(_with_missed(truth, probabilities, decided, strange, missed) if coding else (truth, probabilities, decided)),
        answer=loaded.model.answer,
        groups=groups if all(groups) else None,
        rng=np.random.default_rng(seed),
        n_boot=n_boot,
        tree=own.with_labels((*loaded.labels, *missed)) if own else None,
    )
    judged = (truth, probabilities, decided)
    return Evaluation(
        model=loaded.id,
        file=file,
        judged=len(kept),
        seen=n_seen,
        unlabelled=int((~labelled).sum()),
        unknown_labels=dict(unknown.most_common()),
        refused=account.refused,
        metrics=measured,
        per_label=metrics.per_label(truth, probabilities, decided, loaded.labels),
        notes=_notes(n_seen, keep_seen, unknown, loaded.card),
        codes=_codes(loaded, judged, strange, groups, resamples) if coding else None,
        lesion=_lesion(loaded, judged, [items[index].text for index in kept], groups, resamples),
    )


def _with_missed(
    truth: Truth, probabilities: Scores, decided: Truth, strange: list[list[str]], missed: list[str]
) -> tuple[Truth, Scores, Truth]:
    """Add a column for each label that the model does not know: probability 0, never decided, true where it is."""
    column = {label: at for at, label in enumerate(missed)}
    more = np.zeros((len(truth), len(column)), dtype=bool)
    for row, labels in enumerate(strange):
        more[row, [column[label] for label in labels]] = True
    never = np.zeros_like(more)
    return np.hstack([truth, more]), np.hstack([probabilities, never.astype(np.float32)]), np.hstack([decided, never])


def _codes(
    loaded: predicting.Loaded,
    judged: tuple[Truth, Any, Truth],
    unknown: list[list[str]],
    groups: list[str],
    resamples: tuple[int, int],
) -> dict[str, Any]:
    """Return the figures of the coding field; codes that the model does not know count as missed."""
    return code_metrics.card_figures(
        loaded.labels,
        *judged,
        learnt=loaded.card["learnt_from"].get("counts"),
        rng=np.random.default_rng(resamples[1]),
        unknown=unknown,
        groups=groups if all(groups) else None,
        n_boot=resamples[0],
    )


def _lesion(
    loaded: predicting.Loaded,
    judged: tuple[Truth, Any, Truth],
    pictures: Sequence[str],
    groups: Sequence[str],
    resamples: tuple[int, int],
) -> dict[str, Any] | None:
    """Return what a clinic asks of a lesion model: class by class, malignant or benign, by age, sex and site."""
    if loaded.card["task"] != "lesion":
        return None
    truth, probabilities, decided = judged
    n_boot, seed = resamples
    facts = [part_image(picture)[1] for picture in pictures]
    kin = tuple(groups) if all(groups) else ()
    found = JudgedLesions(loaded.labels, probabilities, truth, decided, facts, kin, pictures)
    parts = [asdict(part) for part in found.subgroups(seed, n_boot)]
    return {**found.figures(seed, n_boot).as_json(), "subgroups": parts}


def _truth(labels: list[tuple[str, ...]], known: tuple[str, ...], unknown: Counter[str], seen: int) -> Truth:
    column = {label: at for at, label in enumerate(known)}
    truth = np.zeros((len(labels), len(known)), dtype=bool)
    for row, carried in enumerate(labels):
        truth[row, [column[label] for label in carried if label in column]] = True
    if not truth.any():
        strange = f"{len(unknown):,} labels it does not know ({', '.join(list(unknown)[:5])})" if unknown else ""
        learnt = f"{seen:,} rows that it learnt from" if seen else ""
        examples = " and ".join(part for part in (learnt, strange) if part) or "no labelled rows"
        raise MedbenchError(
            f"rows with labels such as {', '.join(known[:5])} that the model never saw",
            examples,
            "Bring rows it did not learn from, or count them with --keep-seen."
            if seen
            else "Check the label column, or choose the model that was trained for these labels.",
        )
    return truth


def _mapping(card: Mapping[str, Any], sample: list[Any], roles: Any, chosen: Mapping[str, str]) -> ColumnMap:
    """Take the training file's columns when this file has them all and the user names none; else guess."""
    stored = card["dataset"].get("mapping")
    present = columns.columns_of(sample)
    if stored and not chosen:
        trained = ColumnMap(**{**stored, "labels": tuple(stored["labels"])})
        needed = [trained.title, trained.text, *trained.labels]
        if all(column in present for column in needed if column is not None):
            optional = {role: (stored[role] if stored[role] in present else None) for role in ("id", "group", "split")}
            return ColumnMap(**{**asdict(trained), **optional, "labels": trained.labels})
    return columns.guess(roles, sample, chosen)


def _notes(seen: int, keep_seen: bool, unknown: Counter[str], card: Mapping[str, Any]) -> list[str]:
    notes = []
    if seen and keep_seen:
        notes.append(f"{seen:,} rows were in the model's training data and are counted: the figures flatter it.")
    elif seen:
        notes.append(f"{seen:,} rows were in the model's training data and were left out.")
    if unknown:
        named = ", ".join(f"{label} ({count:,})" for label, count in unknown.most_common(5))
        fate = "they count as missed" if card["task"] == "icd" else "so they are not judged"
        notes.append(f"The model does not know these labels of the file, {fate}: {named}.")
    baseline = card.get("baselines", {}).get("majority", {}).get("micro_f1", {}).get("value")
    if baseline is not None:
        notes.append(f"For comparison, the majority rule reached micro-F1 {baseline:.3f} on the model's own test rows.")
    return notes
