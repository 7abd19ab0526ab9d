"""Answers about photographs go into the history: name, size and hash of each picture, never the picture."""

from __future__ import annotations

from collections.abc import Sequence

from medbench import history
from medbench.lesion_reading import LesionReading, Picture
from medbench.pictures import stored_size
from medbench.records import Item
from medbench.workspace import Workspace


def keep(workspace: Workspace, pictures: Sequence[Picture], readings: Sequence[LesionReading]) -> list[str]:
    """Keep what was said of pictures.

    Args:
        workspace: Where the history lies.
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
        items.append(Item(pictures[at].name, "", ""))
        marks.append(history.picture_mark(content, stored_size(content)))
    ids = history.record(workspace, [readings[at].prediction for at in good], items, marks)
    found = dict(zip(good, ids, strict=True))
    return [found.get(at, "") for at in range(len(readings))]
