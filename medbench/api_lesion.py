"""Photographs over HTTP: uploaded, read, answered with the same record as everywhere, and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO

from medbench import heat_check, lesion_history, predicting
from medbench.api_guard import RefusedError
from medbench.errors import MedbenchError
from medbench.lesion_heat import heat_of, judge_heat, show_heat
from medbench.lesion_reading import LesionReading, Picture, read_pictures
from medbench.lesion_uploads import receive_pictures
from medbench.picture_facts import clean_fact
from medbench.pictures import open_picture
from medbench.predicting import Loaded
from medbench.workspace import Workspace

PICTURES_LIMIT = 200
HEAT_LIMIT = 10  # pictures; a map with its trust costs some sixty answers


@dataclass(frozen=True, slots=True)
class AskedHeat:
    """Which heat map is asked for.

    Attributes:
        label: Of what; the decided label when empty.
        method: How; the model's first method when empty.
    """

    label: str = ""
    method: str = ""


def answered(
    workspace: Workspace,
    model_id: str,
    files: Sequence[tuple[str, BinaryIO]],
    facts: Mapping[str, str],
    heat: AskedHeat | None = None,
) -> dict[str, Any]:
    """Return {"model", "predictions", "refused"} for uploaded pictures; the answers are kept, the pictures are not.

    Args:
        workspace: Where the models lie.
        model_id: A model that reads pictures, or `@job`.
        files: (name, bytes) of pictures, zips of them, and a metadata table.
        facts: Age, sex and site for pictures of which no table tells them.
        heat: Also give this heat map, and how far it can be trusted.

    Raises:
        MedbenchError: The model is none for pictures or does not know the label or method, or nothing that was sent
            is a picture.
        RefusedError: Too many pictures, or none of them can be read.
    """
    predicting.load_for(workspace, model_id, "image")  # says what is wrong before anything is taken
    received = receive_pictures(workspace, files, most=PICTURES_LIMIT)
    try:
        if heat and len(received.pictures) > HEAT_LIMIT:
            asked, most = f"{len(received.pictures):,}", f"at most {HEAT_LIMIT} pictures with heat maps a call"
            raise RefusedError(413, most, asked, "Send fewer, or ask without heat maps.")
        known = {name: cleaned for name, value in facts.items() if (cleaned := clean_fact(name, value))}
        pictures = [replace(picture, facts={**known, **picture.facts}) for picture in received.pictures]
        turn = lesion_history.turn(workspace, model_id, pictures)
        loaded = predicting.load_for(workspace, turn.model, "image")
        readings = read_pictures(loaded, pictures)
        if readings and all(reading.prediction.problem for reading in readings):
            raise _unreadable(pictures[0])
        lesion_history.keep(workspace, turn, pictures, readings)
        told = [_told(loaded, *pair, heat) for pair in zip(pictures, readings, strict=True)]
        return {"model": loaded.id, "predictions": told, "refused": received.refused}
    finally:
        received.forget()


def _unreadable(picture: Picture) -> RefusedError:
    """Return why a picture cannot be read, as a refusal."""
    try:
        open_picture(picture.path, picture.name)
    except MedbenchError as error:
        return RefusedError(422, error.expected, error.found, error.todo)
    return RefusedError(422, "a picture that can be read", repr(picture.name), "Send a JPEG or PNG.")


def _told(loaded: Loaded, picture: Picture, reading: LesionReading, heat: AskedHeat | None) -> dict[str, Any]:
    record = reading.as_json()
    if heat and not reading.prediction.problem:
        label = heat.label or reading.prediction.labels[0].label
        explanation = show_heat(loaded, picture.item, label, heat.method)
        drawn = heat_of(explanation)
        trust = asdict(judge_heat(loaded, picture.item, label, drawn, explanation.method))
        check = heat_check.told(loaded, explanation.method)
        randomised = check.as_json() if check else None
        about = {"label": label, "method": explanation.method, "trust": trust, "randomised": randomised}
        record["heat"] = {**about, "map": drawn.tolist()}
    return record
