"""The plain records that travel between rooms. They know no file, no library and no page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

ItemKind = Literal["text", "image"]
AnswerKind = Literal["one", "many"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an uploaded file, in the file's own words.

    Attributes:
        line: 1-based line (text formats), row (tables; the header is row 1) or page (PDF) where it begins.
        fields: Column or tag -> values in file order. A table cell is a one-element tuple.
        repairs: What the reader mended, one short phrase each.
        refused: Why the record cannot be used, or None when it was read.
        order: For tagged formats, the (tag, value) pairs in file order, so that writing loses nothing.
    """

    line: int
    fields: Mapping[str, tuple[str, ...]]
    repairs: tuple[str, ...] = ()
    refused: str | None = None
    order: tuple[tuple[str, str], ...] = ()

    def first(self, name: str) -> str:
        """Return the first value of a field, or an empty string."""
        values = self.fields.get(name, ())
        return values[0] if values else ""


Role = Literal["title", "text", "labels", "id", "group", "split"]
LabelStyle = Literal["one", "separated", "json", "columns"]


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which columns of a file play which part. Decided once, at upload.

    Attributes:
        title: Column of the title, or None.
        text: Column of the abstract or the full text, or None.
        labels: The label column; several columns when `label_style` is "columns" (one-hot); empty when unlabelled.
        id: Column of the item's own id (PMID, DOI), or None.
        group: Column of what keeps items together (patient, article), or None.
        split: Column that names the file's own splits, or None.
        label_style: How labels stand in their cell: "one" label, "separated" by `separator`, a "json" list, or one
            0/1 "columns" per label.
        separator: The separator when `label_style` is "separated", e.g. ";" or "|".
    """

    title: str | None = None
    text: str | None = None
    labels: tuple[str, ...] = ()
    id: str | None = None
    group: str | None = None
    split: str | None = None
    label_style: LabelStyle = "one"
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the dataset verdict has to say.

    Attributes:
        kind: Machine name, e.g. "exact_duplicates", "leak_text", "conflicting_labels", "give_away_column".
        severity: "stop" (results would be wrong), "warn" (look at it) or "info".
        sentence: One sentence a clinician understands, numbers included.
        count: How many rows it touches.
        rows: Positions in the dataset's frame, at most 1,000, for opening them.
        value: The headline number if there is one (a share in 0-1, a count).
        detail: Anything else worth keeping, JSON-ready.
    """

    kind: str
    severity: Literal["stop", "warn", "info"]
    sentence: str
    count: int = 0
    rows: tuple[int, ...] = ()
    value: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch [start, end) of an item's text, in characters, that an annotator marked as evidence for a label."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Items with their true labels: what a family is fitted on.

    Attributes:
        items: n texts (title and abstract already joined by `join_text`) or n image paths.
        truth: (n_items, n_labels) bool; exactly one True per row when answer is "one".
        labels: n_labels label names, the column order of `truth`.
        answer: "one" label per item or "many".
        groups: n group keys (patient, duplicate cluster); items of one group never straddle splits.
        marks: What annotators marked in each of the n items, for families that learn from it; empty when nobody did.
    """

    items: Sequence[str]
    truth: Truth
    labels: tuple[str, ...]
    answer: AnswerKind
    groups: tuple[str, ...] = ()
    marks: tuple[tuple[Mark, ...], ...] = ()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def take(self, rows: Iterable[int] | npt.NDArray[np.int64]) -> Examples:
        """Return the examples at these positions, in that order."""
        index = [int(row) for row in rows]
        groups = tuple(self.groups[row] for row in index) if self.groups else ()
        marks = tuple(self.marks[row] for row in index) if self.marks else ()
        items = [self.items[row] for row in index]
        return Examples(items, self.truth[index], self.labels, self.answer, groups, marks)

    def with_more(self, more: Examples) -> Examples:
        """Return these examples, then `more`; groups and marks only where both have them."""
        if len(more) == 0:
            return self
        groups = (*self.groups, *more.groups) if self.groups and more.groups else ()
        marks = (*self.marks, *more.marks) if self.marks and more.marks else ()
        items: Sequence[str] = [*self.items, *more.items]
        return Examples(items, np.concatenate([self.truth, more.truth]), self.labels, self.answer, groups, marks)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the original text, [start, end) in characters, and its signed weight for a label."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """What leaving out, and keeping, the marked words does to a label's score (0-1): are the marks what drives it?

    Attributes:
        comprehensiveness: How far the score falls without the marks; high is good (DeYoung et al. 2020).
        sufficiency: How far it falls when nothing but the marks is kept; low is good, below 0 when it even rises.
        random: How far it falls without as many random words, mean over several draws.
        deletion: Mean score while the words go, strongest first; low is good (Petsiuk et al. 2018). None: not measured.
        insertion: Mean score while they come back, strongest first; high is good. None: not measured.
        chance: Mean score while words go or come in random order: what deletion and insertion should be better than.
        most: Whether the mark was chosen as the part whose removal counts most, of the very parts it is compared with.
            The gain is then 0 or more whatever the model does: an upper bound.
    """

    comprehensiveness: float
    sufficiency: float
    random: float
    deletion: float | None = None
    insertion: float | None = None
    chance: float | None = None
    most: bool = False

    @property
    def gain(self) -> float:
        """How much more the score falls without the marks than without random words; above 0 beats chance."""
        return float(min(max(self.comprehensiveness - self.random, -1.0), 1.0))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a label got its score.

    Attributes:
        label: The label explained.
        method: Short name of the method, shown to the user.
        spans: For text: whole words or sentences with signed weights, in the original text.
        heat: For images: (H, W) float32 in [0, 1].
        faithfulness: Drop of the score when the marked evidence is removed minus the drop when the same amount of
            random evidence is removed, in [-1, 1]; None when it was not measured.
        measured: What `faithfulness` rests on, for texts.
    """

    label: str
    method: str
    spans: tuple[Span, ...] = ()
    heat: npt.NDArray[np.float32] | None = None
    faithfulness: float | None = None
    measured: Faithfulness | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to classify: its id, title (may be empty) and abstract or full text."""

    id: str
    title: str
    text: str

    @property
    def joined(self) -> str:
        """The one string that families read."""
        return join_text(self.title, self.text)


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label's calibrated probability, its decision threshold, and the decision.

    `alone` is the probability by itself, before labels that go together moved each other; None where they do not.
    """

    label: str
    name: str
    probability: float
    threshold: float
    chosen: bool
    alone: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Everything medbench says about one item. A label is never shown without these.

    Attributes:
        id: The item's own id (PMID, file name) or its position.
        model: Model id that answered.
        labels: Every label, most probable first.
        conformal: Labels in the conformal set; empty when the model has none.
        coverage: Stated coverage of that set (0-1), or None.
        needs_human: True when the answer should be read by a person.
        doubt: 0 (sure) to 1 (a coin toss): how near the closest decision is to its threshold.
        unlike: True when the item is unlike the training data.
        unlikeness: Where it falls among training-like items, 0 (typical) to 1 (stranger than all of them).
        strange: In words, why a text is called unlike the training data; "" where it is not, or nothing is known.
        cut: Share of the text the model could not read, 0-1.
        problem: One sentence when there was nothing to classify (an empty text), else None.
        groups: The groups of the model's label tree, decided ones first; empty without a tree. A group has no
            threshold: it is chosen when a label under it is. Those below 1 % are left out.
        promise: What is promised, and what was measured, of answers that no person is asked about; "" when nothing.
        why: Why a person should read it, half a sentence; "" where none has to.
        behind: What stands behind all answers of the model, one sentence each: how its probabilities were calibrated,
            what its conformal sets hold, how well it notices what is unlike its training data.
    """

    id: str
    model: str
    labels: tuple[LabelScore, ...]
    conformal: tuple[str, ...] = ()
    coverage: float | None = None
    needs_human: bool = False
    doubt: float = 0.0
    unlike: bool = False
    unlikeness: float = 0.0
    cut: float = 0.0
    problem: str | None = None
    groups: tuple[LabelScore, ...] = ()
    promise: str = ""
    strange: str = ""
    why: str = ""
    behind: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[str, ...]:
        """Labels decided for, most probable first."""
        return tuple(score.label for score in self.labels if score.chosen)

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; the same for the app, the command line and the API."""
        return {**asdict(self), "chosen": list(self.chosen)}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its 95 % interval (None where it was not computed) and the items it rests on."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """Where torch runs. `name` is "cpu", "cuda:0", ...; the memory is in bytes."""

    name: str = "cpu"
    memory: int = 0


class TuneSpec(BaseModel):
    """How long a run searches its options before it trains the model that is kept."""

    model_config = ConfigDict(extra="forbid")

    minutes: float = Field(default=10, gt=0, le=10_000, description="Stop searching after so many minutes.")
    trials: int = Field(default=40, ge=1, le=10_000, description="Try at most so many sets of options, a count.")


class RunSpec(BaseModel):
    """What a run is asked to do: one YAML file, one form, one command line."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(description="The job: literature, icd or lesion.")
    family: str = Field(description="The method: keywords, linear, embedding, encoder, ...")
    dataset: str = Field(description="Dataset id or its name.")
    name: str = Field(default="", description="A short name for the run; empty means family and dataset name.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of every random draw in the run.")
    device: str = Field(default="auto", description="auto, cpu or cuda:0.")
    keep_learning: bool | None = Field(
        default=None,
        description="After judging on the test split, fit once more on all rows for the weights that are kept. "
        "Empty means yes for families that fit in seconds, no for fine-tuned networks.",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The family's own options.")
    tune: TuneSpec | None = Field(
        default=None, description="Search the options that are not given, on the validation split; empty: no search."
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=10,
        description="Also cross-validate over the train and validation rows in so many folds, a count; empty: one "
        "split. The test split takes no part.",
    )
    accept_error: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="The error accepted among answers that no person is asked about, 0-1: the share of wrong answers, "
        "or of labels wrong or missing where an item has many. Empty: .05, with many labels .20 or, where "
        "that cannot be promised, what the error of half of the answers is bounded by.",
    )


def join_text(title: str, text: str) -> str:
    """Join title and abstract into the one string that families read: title, newline, text; blanks left out."""
    return "\n".join(part for part in (title.strip(), text.strip()) if part)


def join_image(path: str, facts: Mapping[str, str] | None = None) -> str:
    """Join a picture's path and what is known of the patient into the one string that families read.

    Args:
        path: Absolute path of the picture.
        facts: Any of age (years), sex (male or female) and site (where on the body); blanks are left out.
    """
    known = {name: value.strip() for name, value in sorted((facts or {}).items()) if value.strip()}
    return f"{path}\n{json.dumps(known, separators=(',', ':'), ensure_ascii=False)}" if known else path


def part_image(item: str) -> tuple[str, dict[str, str]]:
    """Return the path and the facts of an item made by `join_image`."""
    path, _, facts = item.partition("\n")
    return path, json.loads(facts) if facts else {}
