"""How far the heat map of a picture can be trusted: where the heat lies, and what hiding it does to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from medbench import lesion_photo
from medbench.errors import MedbenchError
from medbench.pictures import open_picture
from medbench.predicting import Loaded
from medbench.records import Explanation, Scores, part_image

if TYPE_CHECKING:
    from PIL import Image

Heat = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
STEPS = 12
"""Steps in which a picture is hidden or shown."""
_DRAWS, _COARSE = 6, 2  # random orders, and the steps they are looked at in
_SIDE = 160  # pixels of the pictures that are hidden step by step
_BLUR = 0.08  # radius of the blur that hides, in sides
_CELLS = 8  # a random order hides patches of about the size of a map's cells
_GAINED, _CLEAR = 0.02, 0.10  # probability, mean over the steps
_HOTTEST = 0.2  # share of a picture's patches that two methods are compared on
TITLES = {
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "layer-cam": "Layer-CAM",
    "eigen-cam": "Eigen-CAM",
    "attention-rollout": "attention rollout",
}
"""Method -> what readers call it."""
_ON_TARGET = 1.2  # share of heat on the lesion over the lesion's share of the picture


@runtime_checkable
class PictureModel(Protocol):
    """What a model of pictures can do beside answering."""

    def heat(self, item: str, label: str, method: str = ...) -> Explanation:
        """Return a heat map stretched over the whole picture."""

    def methods(self) -> tuple[str, ...]:
        """Return the heat-map methods that fit."""

    def spread(self, items: Sequence[str], draws: int = ...) -> npt.NDArray[np.float32]:
        """Return (n, L) standard deviations of the scores over random dropout masks, or between members."""

    def scores_of(self, pixels: npt.NDArray[np.float32], item: str = ...) -> Scores:
        """Return (n, L) scores of (n, H, W, 3) pictures in [0, 1]."""


def picture_model(loaded: Loaded) -> PictureModel:
    """Return the model as one of pictures. Raises MedbenchError when it reads something else."""
    if not isinstance(loaded.model, PictureModel):
        raise MedbenchError("a model that reads pictures", f"{loaded.id!r}, which reads text", "Choose a lesion model.")
    return loaded.model


def show_heat(loaded: Loaded, item: str, label: str, method: str = "") -> Explanation:
    """Return the heat map of a label; `method` is one of the model's `methods`, the first of them when empty.

    Raises:
        MedbenchError: The label or the method is unknown, the picture cannot be read, or the model reads text.
    """
    model = picture_model(loaded)
    if label not in loaded.labels:
        raise MedbenchError("a label of this model", repr(label), f"Choose one of: {', '.join(loaded.labels)}.")
    with loaded.lock:
        return model.heat(item, label, method or model.methods()[0])


def heat_of(explanation: Explanation) -> Heat:
    """Return the heat map of an explanation. Raises ValueError when it has none, which is a fault of its family."""
    if explanation.heat is None:
        raise ValueError(f"{explanation.method} gave no heat map")
    return explanation.heat


@dataclass(frozen=True, slots=True)
class HeatTrust:
    """How far a heat map can be trusted on one picture.

    Attributes:
        inside: Share of the heat on the outlined lesion, 0-1; None when there is no heat or no outline.
        area: The lesion's share of the picture: what heat spread evenly would have inside.
        deletion: Mean probability of the label while the hottest parts are blurred first (lower is better).
        insertion: Mean probability while the hottest parts are shown first (higher is better).
        random: The same while parts are blurred in random order, mean over the orders.
        noise: Standard deviation of that over the random orders: what chance alone can gain or lose.
        gain: Mean of `random - deletion` and `insertion - random`; above 0 the map beats chance.
        agreement: Other method -> share of this map's hottest fifth that lies in the other's, 0-1; chance is a fifth.
        sentence: All of it in one plain sentence.
    """

    inside: float | None
    area: float
    deletion: float
    insertion: float
    random: float
    noise: float
    gain: float
    sentence: str
    agreement: Mapping[str, float] = field(default_factory=dict)


def judge_heat(loaded: Loaded, item: str, label: str, heat: Heat, method: str = "") -> HeatTrust:
    """Measure how far a heat map can be trusted: where it lies, and what hiding and showing its parts does.

    Deletion and insertion as Petsiuk et al. (2018), with a blurred picture as what hides (12 steps, calibrated
    probabilities), against six random orders of patches. Hiding in one random order is showing in its reverse, so
    one set of random pictures serves both.

    Args:
        loaded: A model of pictures.
        item: The picture (`records.join_image`).
        label: The label the heat speaks of.
        heat: (h, w) float32 in [0, 1], stretched over the whole picture.
        method: What made it; the model's other methods are then asked whether they agree. Empty: they are not.

    Raises:
        MedbenchError: The label is not one of the model's, or the picture cannot be read.
    """
    if label not in loaded.labels:
        raise MedbenchError("a label of this model", repr(label), f"Choose one of: {', '.join(loaded.labels)}.")
    picture = open_picture(part_image(item)[0])
    lies = lesion_photo.overlap(heat, lesion_photo.outline(picture))
    curves = _curves(loaded, item, label, picture, heat)
    deletion, insertion, drawn = curves[0], curves[1], np.array(curves[2:])
    chance, noise = float(drawn.mean()), float(drawn.std(ddof=1))
    gain = ((chance - deletion) + (insertion - chance)) / 2
    inside = lies.heat if lies.area > 0 else None
    warm = bool(heat.max() > 0)
    sentence = _trust_sentence(inside, lies.area, gain, noise, warm)
    agreement = _agreement(loaded, item, label, heat, method) if method and warm else {}
    if agreement:
        sentence += f" {_agreement_sentence(agreement)}"
    return HeatTrust(inside, lies.area, deletion, insertion, chance, noise, gain, sentence, agreement)


def _agreement(loaded: Loaded, item: str, label: str, heat: Heat, method: str) -> dict[str, float]:
    """Return other method -> share of the map's hottest fifth that lies in the other's hottest fifth."""
    found = {}
    for other in picture_model(loaded).methods():
        if other != method and (theirs := heat_of(show_heat(loaded, item, label, other))).max() > 0:
            found[other] = shared(heat, theirs)
    return found


def shared(first: Heat, second: Heat) -> float:
    """Return the share of a map's hottest fifth that lies in another's hottest fifth, 0-1; by chance a fifth."""
    mine = _hottest(first)
    return float((mine & _hottest(second)).sum() / mine.sum())


def shared_sentence(share: float) -> str:
    """Return that in one plain sentence about the maps of two models."""
    return f"Of the hottest fifth of each map {share:.0%} lies in the other's (chance: {_HOTTEST:.0%})."


def _hottest(heat: Heat) -> npt.NDArray[np.bool_]:
    """Return (_SIDE, _SIDE) bool: the hottest fifth of a map stretched over the picture."""
    wide = lesion_photo.stretched(heat, (_SIDE, _SIDE))
    flags = np.zeros(wide.size, dtype=bool)
    flags[np.argsort(-wide, axis=None, kind="stable")[: round(_HOTTEST * wide.size)]] = True
    return flags.reshape(wide.shape)


def _agreement_sentence(agreement: Mapping[str, float]) -> str:
    told = ", ".join(f"{TITLES.get(name, name)} {share:.0%}" for name, share in agreement.items())
    return f"Of its hottest fifth the other methods mark as well: {told} (chance: {_HOTTEST:.0%})."


def _curves(loaded: Loaded, item: str, label: str, picture: Image.Image, heat: Heat) -> list[float]:
    """Return the mean probability while deleting, while inserting, and in each random order."""
    plain, hidden = _plain_and_blurred(picture)
    rng = np.random.default_rng(0)
    hottest = _order(heat, rng)
    stages = [plain, hidden]
    stages += [_covered(plain, hidden, hottest, step) for step in range(1, STEPS)]
    stages += [_covered(hidden, plain, hottest, step) for step in range(1, STEPS)]
    for _ in range(_DRAWS):
        order = _order(_random_map(heat.shape, rng), rng)
        stages += [_covered(plain, hidden, order, step) for step in range(_COARSE, STEPS, _COARSE)]
    with loaded.lock:
        scores = picture_model(loaded).scores_of(np.stack(stages).astype(np.float32), item)
    said = loaded.trust.calibrate(scores)[:, loaded.labels.index(label)].astype(np.float64)
    ends, fine = said[:2], 2 * (STEPS - 1)
    curves = [*said[2 : 2 + fine].reshape(2, -1), *said[2 + fine :].reshape(_DRAWS, -1)]
    return [float((curve.sum() + ends.mean()) / (len(curve) + 1)) for curve in curves]


def _plain_and_blurred(picture: Image.Image) -> tuple[Floats, Floats]:
    """Return the picture and its blurred twin, both (_SIDE, _SIDE, 3) float64 in [0, 1]."""
    from PIL import Image as Pillow
    from PIL import ImageFilter

    square = picture.resize((_SIDE, _SIDE), Pillow.Resampling.BICUBIC, reducing_gap=2.0)
    blurred = square.filter(ImageFilter.GaussianBlur(_BLUR * _SIDE))
    return np.asarray(square) / 255.0, np.asarray(blurred) / 255.0


def _order(heat: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return (_SIDE, _SIDE) ranks, the hottest pixel last; patches of equal heat in random order."""
    wide = lesion_photo.stretched(heat, (_SIDE, _SIDE))
    ties = lesion_photo.stretched(_random_map((_CELLS, _CELLS), rng), (_SIDE, _SIDE))
    ranks = np.empty(wide.size, dtype=np.int64)
    ranks[np.lexsort((ties.ravel(), wide.ravel()))] = np.arange(wide.size)
    return ranks.reshape(wide.shape)


def _random_map(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return rng.random([min(side, _CELLS) for side in shape], dtype=np.float32)


def _covered(picture: Floats, over: Floats, order: npt.NDArray[np.int64], step: int) -> Floats:
    """Return the picture with its `step` / STEPS hottest pixels taken from `over`."""
    hot = order >= order.size * (STEPS - step) / STEPS
    return np.where(hot[..., None], over, picture)


def _trust_sentence(inside: float | None, area: float, gain: float, noise: float, warm: bool) -> str:
    if not warm:
        return "The map is empty: this method found nothing that speaks for this diagnosis."
    on_target = inside is not None and inside >= _ON_TARGET * area
    beaten = gain > max(_GAINED, noise)
    if not beaten:
        verdict = "Do not lean on this map"
    elif gain >= _CLEAR and on_target:
        verdict = "This map can be leaned on"
    else:
        verdict = "Take this map as a hint"
    if inside is None:
        where = "no lesion could be outlined"
    else:
        where = f"{inside:.0%} of the heat lies on the lesion, which covers {area:.0%} of the picture"
    than = "more than" if beaten else "no more than"
    return f"{verdict}: {where}, and hiding what it marks moves the answer {than} hiding random parts ({gain:+.2f})."
