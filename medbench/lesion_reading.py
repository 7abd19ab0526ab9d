"""One photograph of a lesion, read whole: the answer, how sure, how good the photograph, what it resembles, and why.

`read_picture` and `judge_heat` are what the page, the command line and the API show; `SkinLesionPredictor` is the same
for a few lines of Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medbench import heat_check, lesion_photo, predicting, trust_figures
from medbench.errors import MedbenchError
from medbench.fact_shares import FactShares, share_facts
from medbench.heat_check import HeatCheck
from medbench.lesion_heat import HeatTrust, heat_of, judge_heat, picture_model, show_heat
from medbench.lesion_photo import Looked
from medbench.lesion_similar import SIMILAR, Similar, similar_pictures
from medbench.pictures import open_picture
from medbench.predicting import Loaded
from medbench.records import Explanation, Item, Prediction, join_image
from medbench.tasks.lesion import MALIGNANT
from medbench.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to read.

    Attributes:
        path: Where it lies.
        name: What the user calls it.
        facts: Any of age (years), sex and site.
    """

    path: Path
    name: str
    facts: Mapping[str, str]

    @property
    def item(self) -> str:
        """The one string that families read."""
        return join_image(str(self.path.absolute()), self.facts)


@dataclass(frozen=True, slots=True)
class LesionReading:
    """Everything medbench says about one photograph.

    Attributes:
        prediction: The answer; its `problem` is set, and nothing else, when the picture cannot be read.
        spread: Label -> standard deviation of its probability over random dropout masks or an ensemble's members.
        quality: Why the photograph may mislead, one sentence each.
        lesion_area: Share of the picture inside the outline, 0-1.
        tone: Estimated skin tone, "" when no skin can be seen.
        similar: The most similar training pictures, one of each lesion.
        similar_note: Why there are none or their pictures cannot be shown, in one sentence, or "".
        seen: True when the model learnt from this very picture.
        facts: What age, sex and site added; None where the model reads none, none was told, or nobody asked.
    """

    prediction: Prediction
    spread: Mapping[str, float]
    quality: tuple[str, ...]
    lesion_area: float
    tone: str
    similar: tuple[Similar, ...] = ()
    similar_note: str = ""
    seen: bool = False
    facts: FactShares | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the prediction's record with what is known of a picture added; JSON-ready."""
        return {
            **self.prediction.as_json(),
            "spread": dict(self.spread),
            "quality": list(self.quality),
            "lesion_area": round(self.lesion_area, 4),
            "skin_tone": self.tone,
            "similar": [
                {
                    "id": one.id,
                    "lesion": one.lesion,
                    "labels": list(one.labels),
                    "confirmed": one.confirmed,
                    "similarity": round(one.similarity, 4),
                }
                for one in self.similar
            ],
            "similar_note": self.similar_note,
            "seen_in_training": self.seen,
            "facts": self.facts.as_json() if self.facts else None,
        }


def read_picture(
    workspace: Workspace, loaded: Loaded, path: Path, facts: Mapping[str, str] | None = None, name: str = ""
) -> LesionReading:
    """Read one photograph.

    Args:
        workspace: Where the training pictures lie.
        loaded: A model of pictures.
        path: The photograph.
        facts: Any of age (years), sex and site.
        name: What the user calls it; the file's own name when empty.

    Raises:
        MedbenchError: It is no picture that can be read, or the model reads text.
    """
    picture = Picture(path, name or path.name, facts or {})
    open_picture(path, picture.name)
    reading = read_pictures(loaded, [picture])[0]
    similar, note = similar_pictures(workspace, loaded, Item(picture.name, "", picture.item))
    seen = bool(predicting.seen_in_training(loaded, [Item(picture.name, "", picture.item)])[0])
    shares = share_facts(loaded, picture.item)
    return replace(reading, similar=tuple(similar), similar_note=note, seen=seen, facts=shares)


def read_pictures(loaded: Loaded, pictures: Sequence[Picture]) -> list[LesionReading]:
    """Read photographs, in their order, without similar ones; one that cannot be read says so and stops nothing.

    Raises:
        MedbenchError: The model reads text.
    """
    model = picture_model(loaded)
    seen: list[Looked | MedbenchError] = [_looked(picture) for picture in pictures]
    good = [at for at, look in enumerate(seen) if isinstance(look, Looked)]
    items = [Item(pictures[at].name, "", pictures[at].item) for at in good]
    answers = predicting.predict(loaded, items)
    with loaded.lock:
        spread = model.spread([item.joined for item in items]) if items else np.zeros((0, len(loaded.labels)))
    answered = dict(zip(good, zip(answers, spread, strict=True), strict=True))
    found = []
    for at, look in enumerate(seen):
        if isinstance(look, MedbenchError):
            problem = Prediction(pictures[at].name, loaded.id, (), needs_human=True, doubt=1.0, problem=str(look))
            found.append(LesionReading(problem, {}, (), 0.0, ""))
            continue
        prediction, row = answered[at]
        by_label = {label: round(float(value), 4) for label, value in zip(loaded.labels, row, strict=True)}
        tone = lesion_photo.tone_class(look.tone)
        found.append(LesionReading(prediction, by_label, look.reasons, look.area, tone))
    return found


def _looked(picture: Picture) -> Looked | MedbenchError:
    try:
        return lesion_photo.look(open_picture(picture.path, picture.name))
    except MedbenchError as error:
        return error


# --- in words --------------------------------------------------------------------------------------------------


def to_mind(loaded: Loaded, reading: LesionReading) -> list[str]:
    """Return what must be said before the answer, one sentence each; empty when nothing speaks against it."""
    answer = reading.prediction
    told = [f"{reason} Take it again if you can." for reason in reading.quality]
    if reading.seen:
        told.append("Seen in training: the model learnt from this very picture, so its answer proves little.")
    if answer.unlike:
        share = "all" if answer.unlikeness >= 0.995 else f"{answer.unlikeness:.0%}"
        told.append(f"Unlike the training pictures: stranger than {share} of those it was checked on.")
    if answer.needs_human and len(answer.conformal) > 1:
        told.append("A person should look: the model cannot narrow it down to one diagnosis.")
    elif answer.needs_human and not answer.unlike:
        told.append(f"A person should look: {answer.why or 'the model is not sure enough'}.")
    return told


def malignant_share(reading: LesionReading) -> float:
    """Return the probability of all malignant classes together, 0-1."""
    return min(1.0, sum(score.probability for score in reading.prediction.labels if score.label in MALIGNANT))


def to_know(loaded: Loaded, reading: LesionReading) -> list[str]:
    """Return what explains the differential and what stands behind it, one sentence each."""
    return [*of_this(loaded, reading), *of_all(loaded)]


def of_all(loaded: Loaded) -> list[str]:
    """Return what stands behind every answer of a model, one sentence each."""
    spread = f"± is how much the probability moves {loaded.model.spread_means}."
    card = loaded.card
    return [spread, *filter(None, (trust_figures.calibrated(card), trust_figures.beside_unlike(card)))]


def of_this(loaded: Loaded, reading: LesionReading) -> list[str]:
    """Return what explains one differential and what is promised of it, one sentence each."""
    answer = reading.prediction
    likely = max(answer.labels, key=lambda score: score.probability)
    told = []
    if MALIGNANT & {score.label for score in answer.labels}:
        told.append(f"Malignant, all classes together: {malignant_share(reading):.2f}.")
    if answer.chosen and not likely.chosen:
        name = loaded.name_of(answer.chosen[0])
        told.append(f"It decides for {name}, not for the most probable class: rarer classes are given more weight.")
    if reading.facts is not None:
        asked = answer.chosen[0] if answer.chosen else likely.label
        told.append(reading.facts.sentence(asked, loaded.name_of(asked)))
    if answer.conformal and answer.coverage is not None:
        names = ", ".join(loaded.name_of(label) for label in answer.conformal)
        words = trust_figures.set_words(loaded.card, answer.coverage, "pictures", "diagnosis")
        told.append(f"{words}: {names}.")
    return [*told, *filter(None, [answer.promise])]


# --- for a few lines of Python ---------------------------------------------------------------------------------


class PredictorConfig(BaseModel):
    """What a `SkinLesionPredictor` can be told in a YAML file."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(default="cpu", description="Where the model runs: cpu or cuda:0.")
    method: str = Field(default="", description="The heat-map method; empty means the first that fits the network.")
    similar: int = Field(default=SIMILAR, ge=0, le=50, description="Similar training pictures per answer, a count.")
    age: str = Field(default="", description="Age of the patient, years; for models that read it.")
    sex: Literal["", "male", "female"] = Field(default="", description="Sex of the patient, male or female.")
    site: str = Field(default="", description="Where on the body the lesion is.")


@dataclass(frozen=True, slots=True)
class HeatReading:
    """Why a label got its probability on one picture.

    Attributes:
        explanation: The heat map.
        trust: How far it can be trusted on this picture.
        check: Whether such maps depend on what the network learnt; None when that was not measured.
    """

    explanation: Explanation
    trust: HeatTrust
    check: HeatCheck | None = None


class SkinLesionPredictor:
    """A lesion model for use from Python.

    For example:

        predictor = SkinLesionPredictor("models/starter-lesion")
        predictor.predict("lesion.jpg")["label"]
    """

    def __init__(self, model_path: str | Path, config_path: str | Path | None = None) -> None:
        """Load a model.

        Args:
            model_path: A model's folder, or the id of a model of this workspace.
            config_path: A YAML file with the fields of `PredictorConfig`; None for their defaults.

        Raises:
            MedbenchError: There is no such model, it reads text, or the file is not as expected.
        """
        self.config = _config(Path(config_path)) if config_path is not None else PredictorConfig()
        folder = Path(model_path).absolute()
        if (folder / "model.json").exists():
            self._workspace, name = Workspace(folder.parent.parent / "data", folder.parent), folder.name
        else:
            self._workspace, name = Workspace.here(), str(model_path)
        self._loaded = predicting.load_for(self._workspace, name, "image", self.config.device)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels this model knows."""
        return self._loaded.labels

    def predict(self, image_path: str | Path, return_probabilities: bool = True) -> dict[str, Any]:
        """Read one photograph.

        Args:
            image_path: The photograph.
            return_probabilities: Whether "probabilities" is among the keys.

        Returns:
            "label" (the decided one), "name", "confidence" (its calibrated probability, 0-1), "probabilities"
            (label -> 0-1), and the record of `LesionReading.as_json`: conformal set, spread, flags, quality, similar
            training pictures.

        Raises:
            MedbenchError: It is no picture that can be read.
        """
        picture = self._picture(image_path)
        open_picture(picture.path)
        reading = read_pictures(self._loaded, [picture])[0]
        if self.config.similar:
            found, note = similar_pictures(
                self._workspace, self._loaded, Item(picture.name, "", picture.item), self.config.similar
            )
            reading = replace(reading, similar=tuple(found), similar_note=note)
        return _flat(reading, return_probabilities)

    def predict_batch(
        self, image_paths: Sequence[str | Path], return_probabilities: bool = True
    ) -> list[dict[str, Any]]:
        """Read many photographs, in their order; one that cannot be read has a "problem" and no label."""
        readings = read_pictures(self._loaded, [self._picture(path) for path in image_paths])
        return [_flat(reading, return_probabilities) for reading in readings]

    def explain_prediction(self, image_path: str | Path, label: str = "", method: str = "") -> HeatReading:
        """Say where the evidence for a label lies, and how far that can be trusted.

        Args:
            image_path: The photograph.
            label: A label of the model; the decided one when empty.
            method: A heat-map method; the configured one when empty.

        Raises:
            MedbenchError: The label or the method is unknown, or the picture cannot be read.
        """
        picture = self._picture(image_path)
        if not label:
            answer = predicting.predict(self._loaded, [Item(picture.name, "", picture.item)])[0]
            label = answer.labels[0].label
        explanation = show_heat(self._loaded, picture.item, label, method or self.config.method)
        trust = judge_heat(self._loaded, picture.item, label, heat_of(explanation), explanation.method)
        return HeatReading(explanation, trust, heat_check.told(self._loaded, explanation.method))

    def _picture(self, path: str | Path) -> Picture:
        facts = {name: getattr(self.config, name) for name in ("age", "sex", "site")}
        return Picture(Path(path), Path(path).name, facts)


def _config(path: Path) -> PredictorConfig:
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return PredictorConfig.model_validate(told)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MedbenchError("a YAML file", f"{str(path)!r} ({type(error).__name__})", "Check the path.") from None
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        fields = ", ".join(PredictorConfig.model_fields)
        raise MedbenchError("a configuration that fits", found, f"Known fields are: {fields}.") from None


def _flat(reading: LesionReading, probabilities: bool) -> dict[str, Any]:
    scores = reading.prediction.labels
    top = scores[0] if scores else None  # the decided one
    told: dict[str, Any] = {
        "label": top.label if top else None,
        "name": top.name if top else None,
        "confidence": top.probability if top else None,
    }
    if probabilities:
        told["probabilities"] = {score.label: score.probability for score in scores}
    return {**told, **reading.as_json()}
