"""The shelf of families: how a question is answered. One file each; the folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores, Span
from medbench.workspace import Workspace

CHEAP_FITS = 7
"""How often a cheap family is fitted in one run: five folds, once to be judged, once on all rows."""


class FamilyOptions(BaseModel):
    """Base of every family's options: unknown keys are refused, every field carries one sentence with its unit.

    A field with `json_schema_extra={"expert": True}` is folded away in the form; "label" there is its name in it,
    "empty" what stands in it while it is empty, and "models" makes it a choice among the models of the dataset ("any",
    "single" or a family's name). With `{"secret": True}` a refused value is not quoted: it may be a password pasted
    into the wrong field.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)


OptionsT = TypeVar("OptionsT", bound=FamilyOptions)


class Model(ABC):
    """A fitted model. `labels` is the column order of its scores, `answer` says whether rows sum to 1."""

    labels: tuple[str, ...]
    answer: AnswerKind
    spread_means: ClassVar[str] = "when parts of the network are silenced at random"
    """What the spread of a probability is over, for models that tell one; ends the sentence "how much it moves ..."."""

    cross_fitted: bool = False
    """True right after a fit that learnt from train and validation rows alike; `held_out` then answers for all."""

    dear: ClassVar[bool] = False
    """True when each reading takes long or costs money: a text is not read again for what nobody asked for."""

    @abstractmethod
    def scores(self, items: Sequence[str]) -> Scores:
        """Return uncalibrated scores, (n_items, n_labels) float32 in [0, 1]; rows sum to 1 when answer is "one"."""

    @abstractmethod
    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n_items, d) float32 row-normalised vectors for neighbours and "unlike the training data"."""

    @abstractmethod
    def reasons(self, item: str, label: str) -> Explanation:
        """Explain `label` on `item` with character spans in the original text (whole words or sentences)."""

    def methods(self) -> tuple[str, ...]:
        """Return the names of the ways this model is best explained in, the best first.

        For texts these are keys of `explaining.METHODS`; those that work on any model are offered beside them.
        """
        return ()

    def marks(self, item: str, label: str, method: str) -> tuple[Span, ...]:
        """Return what one of its own methods finds for `label`: whole words or sentences, in text order."""
        return self.reasons(item, label).spans

    def label_scores(self, texts: Sequence[str], label: str) -> npt.NDArray[np.float32]:
        """Return (n,) scores of one label, for the many variants of an explanation: nothing is remembered of them."""
        scores: npt.NDArray[np.float32] = self.scores(texts)[:, self.labels.index(label)]
        return scores

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights into an existing folder: safetensors, JSON, npz or Parquet; nothing pickled."""

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n_items,) float32, the share of each text's words that the model does not read, 0-1."""
        return np.zeros(len(items), dtype=np.float32)

    def unanswered(self, items: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return (n,) bool, the items that the model had no answer for: their scores say nothing."""
        return np.zeros(len(items), dtype=bool)

    def held_out(self, items: Sequence[str]) -> Scores:
        """Return (n, L) scores of the validation items, if `cross_fitted` of the train items too, as if not seen.

        Only asked right after a fit.
        """
        return self.scores(items)

    def handed_on(self) -> Any:
        """Return what a fit can go on from instead of making it again, for what `Family.untuned` returned."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Return what the model's card must say of how it came about, one sentence each."""
        return ()


@dataclass(frozen=True)
class Surroundings:
    """What lies around a fit, for families that build on models of earlier runs.

    Attributes:
        workspace: Where those models lie; None when there are none to build on.
        dataset: Id of the dataset that is learnt from. It stands for rows and splits: models of the same id have the
            same test rows.
        item: What the dataset's items are.
        headline: The metric that the task puts first.
    """

    workspace: Workspace | None = None
    dataset: str = ""
    item: ItemKind = "text"
    headline: str = "micro_f1"


@dataclass(frozen=True)
class Fitting:
    """What a fit is given beside the data and its options.

    Attributes:
        rng: The only source of randomness.
        device: Where torch runs.
        say: Where progress goes and where a stop is heard.
        checkpoints: Folder for checkpoints; None when none may be kept (cross-fitting).
        resume: True to go on from the newest checkpoint in `checkpoints`.
        around: Other models, and the dataset the examples come from.
        start: What the model before tuning handed on for the same rows and options; None for nothing.
    """

    rng: np.random.Generator
    device: Device
    say: Say
    checkpoints: Path | None = None
    resume: bool = False
    around: Surroundings = Surroundings()
    start: Any = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to cost on this machine.

    Attributes:
        seconds: Wall-clock seconds of the whole run (a cheap family fits `CHEAP_FITS` times), or None when unknown.
        memory: Peak resident bytes, or None.
        disk: Bytes the run leaves behind (checkpoints included), or None.
        cut: Share of texts of which the model will not read all words, 0-1.
        problems: Reasons why the run would fail, each one sentence; empty when it can start.
        notes: Facts worth knowing before the start, one sentence each.
    """

    seconds: float | None = None
    memory: int | None = None
    disk: int | None = None
    cut: float = 0.0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Family(ABC, Generic[OptionsT]):
    """A method that learns from examples.

    Attributes:
        name: Machine name, also the module's name.
        title: What the user reads.
        summary: One sentence: when to choose it and what it costs.
        items: Item kinds it can read.
        answers: Answer kinds it can give.
        cheap: True when it fits in seconds: calibration and thresholds are then tuned on out-of-fold scores of
            train + validation instead of on the validation split alone, and the final fit uses both.
        relearns: False when it must not be fitted again on all rows after it was judged.
        combines: True when its models are made of other models; such ones are not combined again.
        for_codes: True when it is made for labels that are medical codes, and other methods serve other labels better.
        space: Options that a search tries: (low, high), (low, high, "log"), or True for all values of a choice.
        Options: The pydantic class of its options.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    items: ClassVar[frozenset[ItemKind]]
    answers: ClassVar[frozenset[AnswerKind]]
    cheap: ClassVar[bool] = False
    relearns: ClassVar[bool] = True
    combines: ClassVar[bool] = False
    for_codes: ClassVar[bool] = False
    space: ClassVar[Mapping[str, tuple[Any, ...] | Literal[True]]] = {}
    Options: type[OptionsT]

    @abstractmethod
    def fit(self, train: Examples, validation: Examples, options: OptionsT, fitting: Fitting) -> Model:
        """Learn from `train`; look at `validation` for early stopping only (it may be empty for cheap families)."""

    @abstractmethod
    def load(self, folder: Path, device: Device) -> Model:
        """Load a model that `save` wrote. Raises MedbenchError when files are missing or damaged."""

    def estimate(self, train: Examples, options: OptionsT, device: Device) -> Estimate:
        """Say before the start what a run would cost and what stands against it. Must not import torch."""
        return Estimate()

    def estimate_among(self, train: Examples, options: OptionsT, device: Device, around: Surroundings) -> Estimate:
        """Say the same, knowing the models that are there; for families that build on them."""
        return self.estimate(train, options, device)

    def untuned(self, train: Examples, options: OptionsT, fitting: Fitting) -> Model | None:
        """Return what the fit starts from, when that can already answer: a card shows it beside the tuned model.

        Where the base has no answers of its own, an output layer is fitted on what it computes of some training items;
        `Model.notes` says so. It must cost little beside the fit. Raises Stopped when the user stopped it.
        """
        return None

    def remedy(self, error: BaseException, options: OptionsT) -> tuple[str, dict[str, Any]] | None:
        """For a failed fit: a sentence that names the cause and the options to change; None when there is no remedy."""
        return None

    def parse(self, options: dict[str, Any]) -> OptionsT:
        """Validate options. Raises MedbenchError naming all problems at once."""
        try:
            return self.Options(**options)
        except ValidationError as error:
            problems = "; ".join(
                self._problem(entry["loc"], entry.get("input"), entry["msg"]) for entry in error.errors()
            )
            todo = "Correct what is named."
            if any(entry["type"] == "extra_forbidden" for entry in error.errors()):
                todo = f"Correct them; known options are: {', '.join(self.Options.model_fields)}."
            raise MedbenchError(f"valid options for {self.name}", problems, todo) from error

    def _problem(self, place: tuple[int | str, ...], found: Any, sentence: str) -> str:
        field = self.Options.model_fields.get(str(place[0])) if place else None
        extra = field.json_schema_extra if field else None
        secret = isinstance(extra, dict) and bool(extra.get("secret"))
        return f"{'.'.join(map(str, place))}={'(not shown)' if secret else repr(found)}: {sentence}"


@cache
def all_families() -> dict[str, Family[Any]]:
    """Return every family in this folder by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}").FAMILY for name in names}


def get_family(name: str) -> Family[Any]:
    """Return the family called `name`. Raises MedbenchError when there is none."""
    try:
        return all_families()[name]
    except KeyError:
        raise MedbenchError(
            f"one of the families {', '.join(all_families())}", repr(name), "Choose one of these."
        ) from None


def families_for(item: ItemKind, answer: AnswerKind) -> list[Family[Any]]:
    """Return the families that can read `item` and give `answer`, simplest first."""
    order = ("keywords", "linear", "coder", "embedding", "encoder", "", "ensemble")  # "": all others
    fitting = [family for family in all_families().values() if item in family.items and answer in family.answers]
    place = {name: at for at, name in enumerate(order)}
    return sorted(fitting, key=lambda family: (place.get(family.name, place[""]), family.name))


def check_relearning(family: Family[Any], keep_learning: bool | None) -> None:
    """Refuse to fit a family again on all rows that must not be. Raises MedbenchError."""
    if keep_learning and not family.relearns:
        raise MedbenchError(
            f"keep_learning empty or false for {family.title}",
            "true",
            "Leave it empty: it is tuned on rows that its members must not have seen.",
        )


def check_searching(family: Family[Any], held: Mapping[str, Any]) -> None:
    """Refuse to search options where none is left to be searched. Raises MedbenchError.

    Args:
        family: Whose options.
        held: Options that the user gives; they stay as they are.
    """
    if all(name in held for name in family.space):
        found = "all of them given" if family.space else f"{family.title}, which has none"
        raise MedbenchError("options that can be searched", found, "Leave some options out, or choose another method.")


def check_folding(family: Family[Any], options: FamilyOptions) -> None:
    """Refuse to cross-validate what builds on models that have learnt from the folds' rows. Raises MedbenchError."""
    named = [name for name in _of_models(family) if getattr(options, name)]
    if family.combines or named:
        found = f"{family.title}, which is made of others" if family.combines else f"{', '.join(named)} given"
        raise MedbenchError(
            "a method that learns from the folds alone, for cross-validation",
            found,
            "Those models have seen rows of every fold. Train it with one split.",
        )


def _of_models(family: Family[Any]) -> list[str]:
    """Return the options that name models of earlier runs."""
    extras = {name: field.json_schema_extra for name, field in family.Options.model_fields.items()}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and "models" in extra]
