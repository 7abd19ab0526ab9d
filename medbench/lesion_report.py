"""One photograph's reading on paper: the picture, where the models looked, what they say, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from medbench import lesion_overlay
from medbench.errors import MedbenchError
from medbench.heat_check import HeatCheck
from medbench.lesion_heat import Heat, HeatTrust
from medbench.lesion_reading import LesionReading, Picture, to_know, to_mind
from medbench.pictures import open_picture
from medbench.predicting import Loaded
from medbench.reports import NOTICE

if TYPE_CHECKING:
    from PIL import Image

    from medbench.report_sheet import Sheet

_OPACITY = 0.45
_SIDE = 900  # pixels of the printed pictures
_SMALL = 300


@dataclass(frozen=True, slots=True)
class Told:
    """What one model says of the picture.

    Attributes:
        loaded: The model.
        reading: Its answer.
        method: Title of the heat-map method, "" without a map.
        label: What the map speaks for.
        heat: The map, or None.
        trust: How far the map can be trusted, or None.
        check: Whether such maps depend on what the network learnt, or None.
    """

    loaded: Loaded
    reading: LesionReading
    method: str = ""
    label: str = ""
    heat: Heat | None = None
    trust: HeatTrust | None = None
    check: HeatCheck | None = None


def lesion_pdf(picture: Picture, told: Sequence[Told]) -> bytes:
    """Return a PDF report of one picture, read by one model or more.

    Args:
        picture: What was read.
        told: What each model says.

    Raises:
        MedbenchError: The picture cannot be read any more.
    """
    from medbench.report_sheet import Sheet

    opened = open_picture(picture.path, picture.name)
    opened.thumbnail((_SIDE, _SIDE))
    sheet = Sheet(NOTICE)
    sheet.title("A skin lesion, read by " + ("one model" if len(told) == 1 else f"{len(told)} models"))
    sheet.text(f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by medbench.")
    sheet.notice(NOTICE)
    sheet.facts([("Picture", picture.name), *_patient(picture.facts)])
    maps = [one for one in told if one.heat is not None]
    shown = [(opened, "As it was taken")]
    for one in maps:
        name = f", {one.loaded.card['name']}" if len(told) > 1 else ""
        words = f"{one.method} for {one.loaded.name_of(one.label)}{name}"
        shown.append((lesion_overlay.overlaid(opened, _heat(one), _OPACITY), words))
    sheet.pictures(shown)
    if maps:
        sheet.text("Heat maps: violet little, yellow most.")
    for one in told:
        _draw(sheet, one)
    return sheet.done()


def _heat(told: Told) -> Heat:
    if told.heat is None:
        raise ValueError("no heat map to draw")
    return told.heat


def _patient(facts: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name.capitalize(), value) for name, value in facts.items()]


def _draw(sheet: Sheet, told: Told) -> None:
    loaded, reading = told.loaded, told.reading
    sheet.heading(str(loaded.card["name"]))
    if reading.prediction.problem:
        sheet.text(reading.prediction.problem, bold=True)
        return
    for sentence in to_mind(loaded, reading):
        sheet.text(sentence, bold=True)
    for score in sorted(reading.prediction.labels, key=lambda score: -score.probability):
        sheet.bar(score.name, score.probability, None, score.chosen, reading.spread.get(score.label))
    for sentence in to_know(loaded, reading):
        sheet.point(sentence)
    if told.trust is not None:
        sheet.point(f"The heat map of {loaded.name_of(told.label)}. {told.trust.sentence}")
    if told.check is not None:
        sheet.point(told.check.sentence)
    figure = loaded.card.get("metrics", {}).get("balanced_accuracy")
    if figure is not None:
        around = f" (95 % interval {figure['low']:.3f}–{figure['high']:.3f})" if figure.get("low") is not None else ""
        measured_on = loaded.card.get("judged_on", "unknown rows")
        sheet.point(f"Balanced accuracy {figure['value']:.3f}{around}, measured on {measured_on}.")
    if reading.similar_note:
        sheet.point(reading.similar_note)
    for one in reading.similar:
        if one.path is None:
            names = ", ".join(loaded.name_of(label) for label in one.labels)
            sheet.point(f"{one.id}: {names}{one.how}, {one.words} (similarity {one.similarity:.2f}).")
    similar = list(_similar(told))
    if similar:
        sheet.pictures(similar, columns=5, title="The most similar lesions it learnt from:")


def _similar(told: Told) -> list[tuple[Image.Image, str]]:
    found = []
    for one in told.reading.similar:
        if one.path is None:
            continue
        try:
            opened = open_picture(one.path)
        except MedbenchError:  # deleted since; the others are still worth showing
            continue
        opened.thumbnail((_SMALL, _SMALL))
        names = ", ".join(told.loaded.name_of(label) for label in one.labels)
        found.append((opened, f"{names}{one.how}, similarity {one.similarity:.2f}"))
    return found
