"""Answers about photographs go into the history: name, size and hash of each picture, never the picture."""

from __future__ import annotations

from collections.abc import Sequence

from medbench import history, job_answers
from medbench.job_answers import Turn
from medbench.lesion_reading import LesionReading, Picture
from medbench.pictures import stored_size
from medbench.records import Item
from medbench.workspace import Workspace


def turn(workspace: Workspace, asked: str, pictures: Sequence[Picture]) -> Turn:
    """Return who answers for pictures that came together.

    Args:
        workspace: Where models and jobs lie.
        asked: `@job` or a model's id.
        pictures: They lie under the hash of their bytes.

    Raises:
        MedbenchError: No such job, or its champion has been deleted.
    """
    return job_answers.turn(workspace, asked, (picture.path.stem for picture in pictures))


def keep(workspace: Workspace, told: Turn, pictures: Sequence[Picture], readings: Sequence[LesionReading]) -> list[str]:
    """Keep what was said of pictures; where a job was asked, its challenger in the shadow answers afterwards.

    Args:
        workspace: Where the history lies.
        told: Who answered.
        pictures: n pictures that still lie where they were read.
        readings: Their n readings.

    Returns:
        n ids, for `history.correct` and `history.undo`; "" for a picture that could not be read.

    Raises:
        MedbenchError: The folder cannot be written.
    """
    good = [at for at, reading in enumerate(readings) if not reading.prediction.problem]
    items, marks = [], []
    for at in good:
        content = pictures[at].path.read_bytes()
        items.append(Item(pictures[at].name, "", pictures[at].item))
        marks.append(history.picture_mark(content, stored_size(content)))
    ids = job_answers.keep(workspace, told, items, [readings[at].prediction for at in good], marks)
    found = dict(zip(good, ids, strict=True))
    return [found.get(at, "") for at in range(len(readings))]
