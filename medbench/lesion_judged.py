"""How good is a lesion model on the pictures it was judged on? Class by class, malignant or benign, group by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medbench import datasets, lesion_figures, lesion_photo, lesion_points
from medbench.binary_figures import N_BOOT
from medbench.errors import MedbenchError
from medbench.lesion_figures import LesionFigures, Subgroup
from medbench.lesion_points import Curves, OperatingPoint
from medbench.pictures import open_picture
from medbench.records import SPLITS, Scores, Truth, part_image
from medbench.tasks.lesion import MALIGNANT
from medbench.workspace import Workspace, read_json, undamaged

TONE = "skin tone"


@dataclass(frozen=True)
class JudgedLesions:
    """A model's answers for the pictures it was judged on, and what is known of these.

    Attributes:
        labels: L labels, the column order.
        probabilities: (n, L) calibrated.
        truth: (n, L) bool.
        decided: (n, L) bool.
        facts: n mappings: age, sex, site where known, and "skin tone" once it has been estimated.
        groups: n keys of lesions or patients.
        items: n pictures (`records.join_image`).
    """

    labels: tuple[str, ...]
    probabilities: Scores
    truth: Truth
    decided: Truth
    facts: Sequence[Mapping[str, str]]
    groups: tuple[str, ...]
    items: Sequence[str] = ()

    @property
    def toned(self) -> bool:
        """Whether the skin tones are known."""
        return any(TONE in known for known in self.facts)

    def with_tones(self, degrees: Sequence[float]) -> JudgedLesions:
        """Return the same with the skin tones' classes among the facts; NaN where no skin can be seen."""
        classes = [lesion_photo.tone_class(None if math.isnan(angle) else angle) for angle in degrees]
        facts = [{**known, TONE: name} for known, name in zip(self.facts, classes, strict=True)]
        return replace(self, facts=facts)

    def figures(self, seed: int = 0, n_boot: int = N_BOOT) -> LesionFigures:
        """Return the figures of every class, of all together, and of malignant against benign."""
        rng = np.random.default_rng(seed)
        return lesion_figures.figures(
            self.probabilities,
            self.truth,
            self.labels,
            malignant=MALIGNANT,
            decided=self.decided,
            groups=self.groups or None,
            rng=rng,
            n_boot=n_boot,
        )

    def subgroups(self, seed: int = 0, n_boot: int = N_BOOT) -> list[Subgroup]:
        """Return the figures by age, sex and site, and by skin tone where that has been estimated."""
        rng = np.random.default_rng(seed)
        return lesion_figures.subgroups(
            self.probabilities,
            self.truth,
            self.labels,
            self.facts,
            malignant=MALIGNANT,
            decided=self.decided,
            groups=self.groups or None,
            rng=rng,
            n_boot=n_boot,
        )

    def question(self, label: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return (n,) truth and (n,) probability of a label, or of "malignant" for all malignant labels together."""
        if label == "malignant" and label not in self.labels:
            columns = [at for at, name in enumerate(self.labels) if name in MALIGNANT]
            scores = lesion_figures.malignant_scores(self.probabilities, self.labels, MALIGNANT)
            return np.asarray(self.truth[:, columns].any(axis=1)), scores
        column = self.labels.index(label)
        return self.truth[:, column], self.probabilities[:, column].astype(np.float64)

    def curves(self, label: str) -> Curves:
        """Return the ROC and precision-recall curves of a label or of "malignant"."""
        return lesion_points.curves(*self.question(label))

    def operating_point(self, label: str, threshold: float, prevalence: float) -> OperatingPoint:
        """Return what deciding for a label at a threshold means for 1,000 patients at a prevalence (0-1)."""
        truth, scores = self.question(label)
        return lesion_points.operating_point(truth, scores, threshold, prevalence, self.groups or None)

    def threshold_for(self, label: str, specificity: float) -> float:
        """Return the threshold with the highest sensitivity of those that leave this share of the rest alone (0-1)."""
        return lesion_points.sensitivity_at(*self.question(label), specificity)[1]


def load(workspace: Workspace, model_id: str) -> JudgedLesions:
    """Return what a model of this workspace was judged on.

    Raises:
        MedbenchError: The model came without its judged pictures (as starters do), or its dataset has been deleted.
    """
    folder = workspace.model(model_id)
    path = folder / "judged.npz"
    if not path.exists():
        raise MedbenchError("the answers this model was judged by", "a model shipped without them", "Train it here.")
    card = read_json(folder / "model.json")
    examples = datasets.load(workspace, str(card["dataset"]["id"])).examples
    with undamaged(folder, "model"), np.load(path, allow_pickle=False) as stored:
        split = str(stored["split"])
        judged = next((examples(name) for name in SPLITS if name == split), None) or examples("train", "validation")
        if len(judged) != len(stored["truth"]):
            raise MedbenchError(f"{len(stored['truth']):,} judged pictures", f"{len(judged):,}", "Train it again.")
        found = JudgedLesions(
            tuple(card["labels"]),
            stored["probabilities"],
            stored["truth"],
            stored["decided"],
            [part_image(item)[1] for item in judged.items],
            judged.groups,
            judged.items,
        )
        return found.with_tones(stored["tones"].tolist()) if "tones" in stored.files else found


def tones(items: Sequence[str], tell: Callable[[float], None] | None = None) -> npt.NDArray[np.float32]:
    """Return (n,) float32: the individual typology angle of the skin in each picture, degrees; NaN without skin.

    Args:
        items: Pictures (`records.join_image`); one that cannot be read is NaN.
        tell: Told the share done, 0-1.
    """
    found = np.full(len(items), np.nan, dtype=np.float32)
    for at, item in enumerate(items):
        try:
            angle = lesion_photo.skin_tone(open_picture(part_image(item)[0]))
        except MedbenchError:  # deleted since it was judged; its tone is unknown
            continue
        found[at] = np.nan if angle is None else angle
        if tell is not None:
            tell((at + 1) / len(items))
    return found
