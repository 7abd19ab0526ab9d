"""Several models of one dataset that answer as one: mean, vote, weighted mean, or stacking on out-of-fold answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench import splits
from medbench.comparing_verdict import title_of
from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, FamilyOptions, Fitting, Model, Surroundings
from medbench.families import _ensemble_folds as out_of_fold
from medbench.families import _ensemble_members as members
from medbench.families._earlier import Earlier
from medbench.families._ensemble_combining import KINDS, Choice, Combiner, choose
from medbench.families._ensemble_evidence import mean_heat, mean_spans
from medbench.families._ensemble_members import Member
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores
from medbench.workspace import read_json, undamaged, write_json

CARD, ARRAYS, FOLDER = "ensemble.json", "combiner.npz", "members"
_FOLDS = 5


class EnsembleOptions(FamilyOptions):
    """Options of the ensemble."""

    members: list[str] = Field(
        default_factory=list,
        max_length=20,
        description="The models that are combined, by their ids; empty takes the best ones of this dataset.",
        json_schema_extra={"models": "single"},
    )
    k: int = Field(
        3,
        ge=2,
        le=20,
        description="How many of the best models are taken when none are named above, a count.",
        json_schema_extra={"label": "How many of the best"},
    )
    combine: Literal["best", "mean", "voting", "weighted", "stacking"] = Field(
        "best",
        description="Mean of the calibrated probabilities, a vote of the members' decisions, a weighted mean, a "
        "logistic regression on them (stacking), or whichever of the four does best on rows it was not fitted on.",
    )
    learn_on: Literal["validation", "out-of-fold"] | None = Field(
        None,
        description="Rows that weights are learnt on: the validation rows, or train and validation rows answered by "
        "fits that had not seen them, for members that fit in seconds or were cross-validated. Empty takes these where "
        "every member has them.",
        json_schema_extra={"expert": True},
    )


class EnsembleModel(Model):
    """Members and what combines them."""

    spread_means: ClassVar[str] = "from one member of the ensemble to another"

    def __init__(self, parts: Sequence[Member], combiner: Combiner, labels: tuple[str, ...], card: dict[str, Any]):
        """Take the members in the order of the combiner's weights."""
        self.labels, self.answer = labels, combiner.answer
        self.members, self.combiner, self.card = tuple(parts), combiner, card
        self._held: tuple[tuple[str, ...], Scores] | None = None
        self.cross_fitted = False

    def each(self, items: Sequence[str]) -> Scores:
        """Return the members' calibrated probabilities, (M, n, L) float32."""
        return np.stack([member.probabilities(items) for member in self.members])

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32 combined probabilities."""
        return self.combiner(self.each(items))

    def held_out(self, items: Sequence[str]) -> Scores:
        """Return (n, L) scores of the rows that weights were learnt on, from combinations fitted without them."""
        if self._held is not None and self._held[0] == tuple(items):
            return self._held[1]
        return self.scores(items)

    def spread(self, items: Sequence[str], draws: int = 0) -> npt.NDArray[np.float32]:
        """Return (n, L) standard deviations of the probability between members, each counting by its share."""
        each: npt.NDArray[np.float64] = self.each(items).astype(np.float64)
        shares = self.combiner.shares[:, None, None]
        away = each - (shares * each).sum(axis=0)
        variance = (shares * away**2).sum(axis=0)
        found: npt.NDArray[np.float32] = np.sqrt(variance).astype(np.float32)
        return found

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the members' vectors side by side, (n, d) of length 1.

        Scaled by the square roots of the shares, so that a cosine is the weighted mean of the members' cosines.
        """
        parts = [
            member.model.embed(items) * np.float32(np.sqrt(share))
            for member, share in zip(self.members, self.combiner.shares, strict=True)
        ]
        joined = np.concatenate(parts, axis=1)
        length = np.linalg.norm(joined, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = (joined / np.where(length > 0, length, 1)).astype(np.float32)
        return unit

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words that is not read, mean over the members by share."""
        each = np.stack([member.model.cut(items) for member in self.members])
        return np.asarray(self.combiner.shares @ each, dtype=np.float32)

    def reasons(self, item: str, label: str) -> Explanation:
        """Return the members' evidence, mean by share; a member's weights count by their size among its own."""
        told = [member.model.reasons(item, label) for member in self.members]
        return Explanation(label, f"mean of {len(told)} members", spans=mean_spans(item, told, self.combiner.shares))

    def methods(self) -> tuple[str, ...]:
        """Return its members' evidence."""
        return ("members",)

    def notes(self) -> tuple[str, ...]:
        """Return who takes part with which share, how they are combined, and what was tried."""
        return tuple(self.card["notes"])

    def save(self, folder: Path) -> None:
        """Write ensemble.json, combiner.npz and each member's weights, calibration and card under members/."""
        for place, member in zip(self.card["members"], self.members, strict=True):
            member.save(folder / FOLDER / str(place["folder"]))
        arrays = {"weights": self.combiner.weights, "bias": self.combiner.bias}
        if self.combiner.thresholds is not None:
            arrays["thresholds"] = self.combiner.thresholds
        np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
        write_json(folder / CARD, self.card)


class PictureEnsemble(EnsembleModel):
    """Members that read pictures: it can do what one of them can."""

    def scores_of(self, pixels: npt.NDArray[np.float32], item: str = "") -> Scores:
        """Return (n, L) scores of pictures already decoded, (n, H, W, 3) float32 in [0, 1]."""
        readers: list[Any] = [member.model for member in self.members]
        each = [
            member.trust.calibrate(reader.scores_of(pixels, item))
            for member, reader in zip(self.members, readers, strict=True)
        ]
        return self.combiner(np.stack(each))

    def methods(self) -> tuple[str, ...]:
        """Return the heat-map methods that fit every member."""
        readers: list[Any] = [member.model for member in self.members]
        first, *others = [reader.methods() for reader in readers]
        return tuple(name for name in first if all(name in each for each in others))

    def heat(self, item: str, label: str, method: str = "grad-cam") -> Explanation:
        """Return the members' heat maps of a label, mean by share.

        Raises:
            MedbenchError: The label is not one of the ensemble's, or the method does not fit every member.
        """
        if method not in self.methods():
            raise MedbenchError(f"one of the methods {', '.join(self.methods())}", repr(method), "Choose one of these.")
        readers: list[Any] = [member.model for member in self.members]
        maps = [reader.heat(item, label, method).heat for reader in readers]
        return Explanation(label, method, heat=mean_heat(maps, self.combiner.shares))

    def reasons(self, item: str, label: str) -> Explanation:
        """Return the mean heat map of a label by the first method that fits every member."""
        return self.heat(item, label, self.methods()[0])

    def randomised(self, seed: int = 0) -> PictureEnsemble:
        """Return the ensemble with random weights in every member (Adebayo et al. 2018)."""
        readers: list[Any] = [member.model for member in self.members]
        blind = [
            Member(member.facts, reader.randomised(seed + at), member.trust)
            for at, (member, reader) in enumerate(zip(self.members, readers, strict=True))
        ]
        return PictureEnsemble(blind, self.combiner, self.labels, self.card)


def _model(item: ItemKind, *given: Any) -> EnsembleModel:
    return PictureEnsemble(*given) if item == "image" else EnsembleModel(*given)


class Ensemble(Family[EnsembleOptions]):
    """Combinations of trained models."""

    name = "ensemble"
    title = "Ensemble"
    summary = "Several models that are trained on this dataset answer as one: often the best figures, each one's cost."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text", "image"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    relearns = False
    combines = True
    Options = EnsembleOptions

    def fit(self, train: Examples, validation: Examples, options: EnsembleOptions, fitting: Fitting) -> EnsembleModel:
        """Gather the members and fit what combines them on rows that no member's answer had learnt from.

        Raises:
            MedbenchError: A member is unknown or does not fit, there are fewer than two, validation is empty, or
                out-of-fold answers are asked for and a member has none.
            Stopped: When the user stopped it.
        """
        if not len(validation):
            raise MedbenchError("a validation split for an ensemble", "none", "Save the dataset with one.")
        known = train.with_more(validation)
        asked = members.asked_for(options, fitting.around, train)
        found, prob, rows = self._gathered(options, asked, train, validation, known, fitting)
        folds = [fold for fold in splits.folds(rows, min(_FOLDS, max(len(rows), 2)), fitting.rng) if len(fold)]
        kinds = KINDS if options.combine == "best" else (options.combine,)
        where = "out-of-fold answers" if rows is known else "the validation split"
        fitting.say("stage", name="combine", sentence=f"Combining {len(found)} models on {where}.")
        headline = fitting.around.headline
        limits = np.stack([member.trust.thresholds for member in found]).astype(np.float64)
        choice = choose(kinds, prob, rows.truth, rows.answer, headline, folds, limits)
        card = _card(found, choice, train.labels, fitting.around, named=bool(options.members), folded=rows is known)
        model = _model(fitting.around.item, found, choice.combiner, train.labels, card)
        model.cross_fitted, model._held = rows is known, (tuple(rows.items), choice.held)
        return model

    def _gathered(
        self,
        options: EnsembleOptions,
        asked: Sequence[Earlier],
        train: Examples,
        validation: Examples,
        known: Examples,
        fitting: Fitting,
    ) -> tuple[list[Member], Scores, Examples]:
        """Return the members, their (M, n, L) probabilities of rows they have not seen, and these rows."""
        if not options.members and len(asked) > options.k:
            found, prob = members.gather(options, train, validation, fitting)
            ids = [str(member.facts["id"]) for member in found]
            asked = [next(one for one in asked if one.id == name) for name in ids]
            if not out_of_fold.wanted(options.learn_on, asked, known):
                return found, prob, validation
        elif not out_of_fold.wanted(options.learn_on, asked, known):
            return *members.gather(options, train, validation, fitting), validation
        return *out_of_fold.gather(asked, known, fitting), known

    def load(self, folder: Path, device: Device) -> EnsembleModel:
        """Load a saved ensemble. Raises MedbenchError when a file is missing or damaged."""
        if not (folder / CARD).exists():
            raise MedbenchError(f"{CARD} of a saved ensemble", f"none in {str(folder)!r}", "Restore it or train again.")
        card = read_json(folder / CARD)
        with undamaged(folder, "model"), np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            limits = arrays["thresholds"] if "thresholds" in arrays.files else None
            combiner = Combiner(card["combine"], card["answer"], arrays["weights"], arrays["bias"], limits)
            found = [members.load_member(folder / FOLDER / str(one["folder"]), device) for one in card["members"]]
        return _model(card["item"], found, combiner, tuple(card["labels"]), card)

    def estimate_among(
        self, train: Examples, options: EnsembleOptions, device: Device, around: Surroundings
    ) -> Estimate:
        """Say who would take part and what stands against it; `train` stands for the validation rows, too."""
        found = members.estimate(train, options, device, around)
        if found.problems:
            return found
        asked = members.asked_for(options, around, train)
        try:
            folded = out_of_fold.wanted(options.learn_on, asked, train)
        except MedbenchError as error:
            return replace(found, problems=(str(error),))
        return members.with_folds(found, asked, train, device, out_of_fold.K) if folded else found


def _card(
    found: Sequence[Member],
    choice: Choice,
    labels: tuple[str, ...],
    around: Surroundings,
    *,
    named: bool,
    folded: bool,
) -> dict[str, Any]:
    """Return ensemble.json: labels, how it combines, members with shares and folders, and the notes of the card."""
    combiner = choice.combiner
    shares = [round(float(share), 4) for share in combiner.shares]
    rows = [
        {"id": member.facts["id"], "name": member.name, "share": share, "folder": _folder(at, str(member.facts["id"]))}
        for at, (member, share) in enumerate(zip(found, shares, strict=True))
    ]
    title = title_of(around.headline)
    told = ", ".join(f"{row['name']} ({row['id']}, share {row['share']:.2f})" for row in rows)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in choice.figures.items())
    alone = ", ".join(f"{member.facts['validation'][around.headline]:.3f}" for member in found)
    notes = [
        f"An ensemble of {len(rows)} models, combined by {_WORDS[combiner.kind]}: {told}.",
        f"Cross-fitted on {_ROWS[folded]}, {title}: {figures}; its members alone: {alone}.",
    ]
    if not named:
        notes.append("Its members were chosen by their figures on the validation split, not on the test split.")
    if any(member.facts.get("learnt_again") for member in found):
        notes.append(f"Members that fit in seconds were fitted again on {_AGAIN[folded]}.")
    return {
        "version": 1,
        "labels": list(labels),
        "answer": combiner.answer,
        "item": around.item,
        "combine": combiner.kind,
        "figures": {around.headline: choice.figures},
        "members": rows,
        "notes": notes,
    }


_ROWS = {False: "the validation split", True: "train and validation rows, answered by fits that had not seen them"}
_AGAIN = {False: "the train split alone", True: "the train and validation rows, not on the test split"}
_WORDS = {
    "mean": "their mean",
    "voting": "a vote of their decisions",
    "weighted": "a weighted mean",
    "stacking": "stacking",
}


def _folder(at: int, model_id: str) -> str:
    return f"{at + 1}-{re.sub(r'[^a-z0-9._-]', '-', model_id)[:60]}"


FAMILY = Ensemble()
