"""The training lesions that look most alike to a model: what they turned out to be, and how that was confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medbench import datasets, predicting, shipped_lesions
from medbench.picture_facts import confirmation
from medbench.predicting import Loaded
from medbench.records import Item
from medbench.workspace import Workspace

SIMILAR = 5
NOT_HERE = "The pictures this model learnt from are not on this machine, so similar ones cannot be shown."
_PER_LESION = 8  # a lesion of HAM10000 was photographed at most six times
_TWIN, _CLOSE, _LIKE = 0.95, 0.85, 0.7  # cosine similarities, see `Similar.words`


@dataclass(frozen=True, slots=True)
class Similar:
    """A training picture, its diagnosis and its cosine similarity to the picture asked about.

    Attributes:
        id: The picture's id in its collection.
        path: Where it lies; None when it is not on this machine.
        labels: Its diagnoses.
        similarity: -1 to 1.
        lesion: The lesion's id in its collection, or "".
        confirmed: How its diagnosis was confirmed (`picture_facts.confirmation`), "" where its collection does not say.
    """

    id: str
    path: Path | None
    labels: tuple[str, ...]
    similarity: float
    lesion: str = ""
    confirmed: str = ""

    @property
    def words(self) -> str:
        """How much it resembles the picture asked about, in words."""
        named = ((_TWIN, "looks almost the same"), (_CLOSE, "looks very much alike"), (_LIKE, "looks alike"))
        return next((words for limit, words in named if self.similarity >= limit), "looks roughly alike")

    @property
    def how(self) -> str:
        """What follows the diagnosis in a sentence: ", confirmed by ...", or nothing."""
        return f", confirmed by {self.confirmed}" if self.confirmed else ""


def similar_pictures(
    workspace: Workspace, loaded: Loaded, item: Item, count: int = SIMILAR
) -> tuple[list[Similar], str]:
    """Return the most similar training pictures, one of each lesion, and in one sentence what is missing, or ""."""
    found, reason = predicting.neighbours(workspace, loaded, item, count * _PER_LESION)
    here = [Similar(one.id, Path(one.text), one.labels, one.similarity, one.group) for one in found]
    if not reason and all(one.path is not None and one.path.is_file() for one in here):
        first = {one.lesion or one.id: one for one in reversed(here)}
        kept = [one for one in here if first[one.lesion or one.id] is one][:count]
        return _confirmed(workspace, loaded, kept), ""
    return _shipped(workspace, loaded, item, count)


def _confirmed(workspace: Workspace, loaded: Loaded, similar: Sequence[Similar]) -> list[Similar]:
    """Return them with how their diagnoses were confirmed, from the dataset that the model learnt from."""
    dataset = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
    told = {str(row["id"]): confirmation(row) for row in dataset.with_ids([one.id for one in similar])}
    return [replace(one, confirmed=told.get(one.id, "")) for one in similar]


def _shipped(workspace: Workspace, loaded: Loaded, item: Item, count: int) -> tuple[list[Similar], str]:
    """Return the nearest of the lesions a starter tells of, with their pictures where a dataset here holds them."""
    known = shipped_lesions.load(loaded.folder)
    if known is None:
        return [], NOT_HERE
    with loaded.lock:
        vector = loaded.model.embed([item.joined])[0]
    nearest = known.nearest(vector, count)
    places = shipped_lesions.pictures_here(workspace, {known.ids[at]: known.labels[at] for at, _ in nearest})
    similar = [
        Similar(
            known.ids[at],
            places.get(known.ids[at]),
            tuple(known.labels[at].split("; ")),
            value,
            known.lesions[at],
            known.confirmed[at] if known.confirmed else "",
        )
        for at, value in nearest
    ]
    if all(one.path for one in similar):
        return similar, ""
    source = "HAM10000" if similar[0].lesion.startswith("HAM_") else f"“{loaded.card['dataset']['name']}”"
    return (
        similar,
        f"Their pictures may not be passed on with the model. Import {source} on the Datasets page to see them.",
    )
