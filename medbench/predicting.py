"""A model card becomes answers, trust and reasons. The app, the command line and the API all ask here."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import aliases, group_answers, trust, trust_figures
from medbench.cleaning import clean_text
from medbench.errors import MedbenchError, MissingError
from medbench.families import Model, get_family
from medbench.group_answers import GroupAnswers
from medbench.pictures import open_picture, perceptual_hash
from medbench.records import Device, Explanation, Item, ItemKind, LabelScore, Prediction, Scores, Truth, part_image
from medbench.trust import Trust
from medbench.workspace import Workspace, read_cards, read_json, undamaged

SLICE = 2_000
"""Items that are answered at once, of many."""

KEPT_LOADED = 3
TOLD = 32
"""Of so many texts at once it is told in words why they are unlike the training data; more are only flagged."""
# Hashes of 44 photographs at two sizes differ by at most 4 of 64 bits; those of other lesions hardly ever by so few.
SAME_PICTURE_BITS = 4
EMPTY = "There is no text to classify."
UNANSWERED = "The model gave no answer that can be read."


@dataclass
class Loaded:
    """A model in memory. Its lock is held while it works: pages, API requests and batches share it."""

    id: str
    folder: Path
    card: dict[str, Any]
    model: Model
    trust: Trust
    groups: GroupAnswers | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _known: npt.NDArray[np.uint64] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the score columns."""
        return self.model.labels

    def name_of(self, label: str) -> str:
        """Return what a user reads for a label."""
        return str(self.card.get("label_names", {}).get(label, label))

    def known(self) -> npt.NDArray[np.uint64]:
        """Return (m,) uint64, the sorted fingerprints of all texts the model learnt from."""
        if self._known is None:
            path = self.folder / "known.npz"
            with undamaged(self.folder, "model"):
                stored = np.load(path, allow_pickle=False)["fingerprints"] if path.exists() else np.zeros(0, np.uint64)
            self._known = stored
        return self._known

    @cached_property
    def promise(self) -> str:
        """What is promised, and what was measured, of answers that no person is asked about."""
        return trust_figures.promise(self.trust.band, self.card)

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """What stands behind all its answers beside the promise: see `trust_figures.behind`."""
        return trust_figures.behind(self.trust, self.card)

    def row_words(self, alone: bool, unlike: bool) -> str:
        """Return what stands behind one row of a table of answers, in a few words."""
        return trust_figures.beside_a_row(self.trust.band, self.card, alone, unlike)

    def seen(self) -> dict[str, int]:
        """Return how many items with each label the model learnt from; empty for models that did not keep it."""
        path = self.folder / "known.npz"
        with undamaged(self.folder, "model"):
            stored = np.load(path, allow_pickle=False) if path.exists() else {}
            counts = stored.get("counts", ())
        return dict(zip(self.labels, (int(count) for count in counts), strict=False))


@dataclass
class Answers:
    """Answers for n items as arrays, so that hundreds of thousands fit; `prediction` makes the record of one.

    Attributes:
        ids: n item ids.
        probabilities: (n, n_labels) calibrated.
        decided: (n, n_labels) bool.
        conformal: (n, n_labels) bool, the conformal sets.
        unlikeness: (n,) 0-1.
        unlike: (n,) bool.
        cut: (n,) share of each text not read.
        empty: (n,) bool, nothing to classify.
        doubt: (n,) 0-1.
        needs_human: (n,) bool.
        unanswered: (n,) bool, the model had no answer; None for answers kept before there was such a thing.
        strange: By position, in words, why a text is unlike the training data; of at most `TOLD` items at once.
        alone: (n, n_labels), what each label gets by itself; None where labels do not move each other, and for more
            than `TOLD` items at once.
    """

    loaded: Loaded
    ids: list[str]
    probabilities: Scores
    decided: Truth
    conformal: Truth
    unlikeness: npt.NDArray[np.float32]
    unlike: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.float32]
    empty: npt.NDArray[np.bool_]
    doubt: npt.NDArray[np.float32]
    needs_human: npt.NDArray[np.bool_]
    unanswered: npt.NDArray[np.bool_] | None = None
    strange: Mapping[int, str] = field(default_factory=dict)
    alone: Scores | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def problem(self, row: int) -> str:
        """Return why one item has no answer, one sentence; "" when it has one."""
        if self.empty[row]:
            return EMPTY
        return UNANSWERED if self.unanswered is not None and self.unanswered[row] else ""

    def prediction(self, row: int) -> Prediction:
        """Return everything medbench says about one item."""
        loaded = self.loaded
        if problem := self.problem(row):
            return Prediction(self.ids[row], loaded.id, (), needs_human=True, doubt=1.0, problem=problem)
        probabilities, thresholds = self.probabilities[row], loaded.trust.thresholds
        order = np.lexsort((-probabilities, ~self.decided[row]))
        labels = tuple(
            LabelScore(
                loaded.labels[column],
                loaded.name_of(loaded.labels[column]),
                round(float(probabilities[column]), 4),
                round(float(thresholds[column]), 4),
                bool(self.decided[row, column]),
                None if self.alone is None else round(float(self.alone[row, column]), 4),
            )
            for column in order
        )
        members = tuple(score.label for score in labels if self.conformal[row, loaded.labels.index(score.label)])
        return Prediction(
            self.ids[row],
            loaded.id,
            labels,
            conformal=members,
            coverage=loaded.trust.coverage,
            needs_human=bool(self.needs_human[row]),
            doubt=round(float(self.doubt[row]), 4),
            unlike=bool(self.unlike[row]),
            unlikeness=round(float(self.unlikeness[row]), 4),
            cut=round(float(self.cut[row]), 4),
            groups=loaded.groups.of_one(probabilities, self.decided[row]) if loaded.groups else (),
            promise=loaded.promise,
            strange=self.strange.get(row, ""),
            why=trust_figures.why_a_person(loaded.trust.band, bool(self.unlike[row])) if self.needs_human[row] else "",
            behind=loaded.behind,
        )


_loaded: OrderedDict[tuple[str, int], Loaded] = OrderedDict()
_listing = threading.Lock()
_loading = threading.Lock()


def load(workspace: Workspace, model_id: str, device: str = "cpu") -> Loaded:
    """Load a model, or return it from memory; for `@job`, its champion.

    Raises:
        MissingError: There is no such model, or no such job.
        MedbenchError: The model is damaged.
    """
    model_id = aliases.resolve(workspace, model_id)
    folder = workspace.model(model_id)
    card_path = folder / "model.json"
    if not card_path.exists():
        names = ", ".join(path.parent.name for path in workspace.model_cards()[:8]) or "none yet"
        raise MissingError("the id of a model", repr(model_id), f"Models here: {names}.")
    key = (str(folder), card_path.stat().st_mtime_ns)
    if (known := _in_memory(key)) is not None:  # does not wait for another one to be read
        return known
    with _loading:
        if (known := _in_memory(key)) is not None:
            return known
        with undamaged(folder, "model"):
            card = read_json(card_path)
            model = get_family(str(card["family"])).load(folder, Device(device))
            loaded = Loaded(model_id, folder, card, model, trust.load(folder), group_answers.load(folder))
        with _listing:
            _loaded[key] = loaded
            while len(_loaded) > KEPT_LOADED:
                _loaded.popitem(last=False)
        return loaded


def _in_memory(key: tuple[str, int]) -> Loaded | None:
    with _listing:
        if key in _loaded:
            _loaded.move_to_end(key)
        return _loaded.get(key)


def others_at_work(loaded: Loaded) -> bool:
    """Return whether a model in memory other than this one is answering now."""
    with _listing:
        return any(one.lock.locked() for one in _loaded.values() if one is not loaded)


def load_for(workspace: Workspace, model_id: str, item: ItemKind, device: str = "cpu") -> Loaded:
    """Load a model that reads texts, or one that reads pictures.

    A text is never handed to a picture model: it would be taken for the path of a file on this machine.

    Raises:
        MedbenchError: The model is missing, damaged, or reads the other kind.
    """
    folder, kind = workspace.model(aliases.resolve(workspace, model_id)), item
    if (folder / "model.json").exists():
        with undamaged(folder, "model"):
            kind = read_json(folder / "model.json").get("item", "text")
    if kind != item:  # told by the card, since a network takes seconds to load
        reads = {"text": "texts", "image": "pictures"}
        fitting = [str(card["id"]) for card in list_models(workspace) if card.get("item", "text") == item][:5]
        todo = f"Choose one of these: {', '.join(fitting)}." if fitting else "Train one first."
        raise MedbenchError(f"a model that reads {reads[item]}", f"{model_id!r}, which reads {reads[kind]}", todo)
    return load(workspace, model_id, device)


def answer(loaded: Loaded, items: Sequence[Item]) -> Answers:
    """Answer for items, in their order."""
    texts = [item.joined for item in items]
    empty = np.array([not text for text in texts], dtype=bool)
    confidence = loaded.trust
    if not texts:
        return _no_answers(loaded)
    with loaded.lock:
        scores = loaded.model.scores(texts)
        vectors = loaded.model.embed(texts)
        cut = loaded.model.cut(texts)
        unanswered = loaded.model.unanswered(texts)
    probabilities = confidence.calibrate(scores)
    there = ~(empty | unanswered)
    sight = confidence.look(vectors, texts)
    return Answers(
        loaded,
        [item.id for item in items],
        probabilities,
        confidence.decide(probabilities) & there[:, None],
        confidence.conformal_sets(probabilities) & there[:, None],
        sight.unlikeness.astype(np.float32),
        sight.unlike & ~empty,
        cut,
        empty,
        confidence.doubt(probabilities).astype(np.float32),
        sight.unlike | confidence.unsure(probabilities) | ~there,
        unanswered,
        _strange(loaded, texts, vectors, sight.unlike & ~empty),
        confidence.alone(scores) if len(texts) <= TOLD else None,
    )


def _strange(
    loaded: Loaded, texts: Sequence[str], vectors: npt.NDArray[np.float32], unlike: npt.NDArray[np.bool_]
) -> dict[int, str]:
    """Return why texts are unlike the training data, by position; nothing for pictures, or of many texts."""
    stranger = loaded.trust.stranger
    if stranger is None or stranger.manner is None or len(texts) > TOLD:
        return {}
    return {row: stranger.why(vectors[[row]], texts[row]) for row in np.flatnonzero(unlike).tolist()}


def tables(
    loaded: Loaded, items: Sequence[Item], part: int = SLICE, tell: Callable[[float], None] | None = None
) -> tuple[Scores, Truth]:
    """Return (n, L) calibrated probabilities and decisions for many items, at least one.

    Args:
        loaded: The model.
        items: The items, answered `part` at a time so that little lies in memory beside the tables.
        part: Items answered at once.
        tell: Told the share done after each part, 0-1.
    """
    parts = []
    for at in range(0, len(items), part):
        parts.append(answer(loaded, items[at : at + part]))
        if tell is not None:
            tell(min(at + part, len(items)) / len(items))
    return np.concatenate([one.probabilities for one in parts]), np.concatenate([one.decided for one in parts])


def _no_answers(loaded: Loaded) -> Answers:
    table, row, flag = np.zeros((0, len(loaded.labels))), np.zeros(0, np.float32), np.zeros(0, dtype=bool)
    none = table.astype(bool)
    return Answers(loaded, [], table.astype(np.float32), none, none, row, flag, row, flag, row, flag, flag)


def predict(loaded: Loaded, items: Sequence[Item]) -> list[Prediction]:
    """Answer for items as records; for large batches use `answer`."""
    answers = answer(loaded, items)
    return [answers.prediction(row) for row in range(len(answers))]


def explain(loaded: Loaded, item: Item, label: str) -> Explanation:
    """Mark the words or sentences of `item.joined` that drove `label`. Raises MedbenchError for an unknown label."""
    if label not in loaded.labels:
        raise MedbenchError(f"one of the labels {', '.join(loaded.labels)}", repr(label), "Choose one of these.")
    with loaded.lock:
        return loaded.model.reasons(item.joined, label)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training item and its cosine similarity to the item asked about; `text` is a picture's path for pictures.

    `group` is what the dataset keeps together (patient, lesion, article), or "".
    """

    id: str
    title: str
    text: str
    labels: tuple[str, ...]
    similarity: float
    group: str = ""


def neighbours(workspace: Workspace, loaded: Loaded, item: Item, count: int = 5) -> tuple[list[Neighbour], str]:
    """Return the most similar training items, or none and the reason why in one sentence."""
    from medbench import datasets

    path = loaded.folder / "neighbours.npz"
    if not path.exists():
        return [], "This model was shipped without its training texts, so there are none to show."
    try:
        dataset = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
    except MedbenchError:
        return [], "The dataset this model learnt from has been deleted, so there are no training texts to show."
    with undamaged(loaded.folder, "model"), np.load(path, allow_pickle=False) as stored:
        vectors, positions = stored["vectors"].astype(np.float32), stored["positions"]
    with loaded.lock:
        vector = loaded.model.embed([item.joined])[0]
    similarity = vectors @ vector
    best = np.argsort(-similarity)[:count]
    rows = dataset.rows([int(positions[index]) for index in best])
    shown = [str(dataset.folder / row["image"]) if dataset.item == "image" else str(row["text"]) for row in rows]
    return [
        Neighbour(
            str(row["id"]),
            str(row["title"]),
            text,
            tuple(row["labels"]),
            float(similarity[index]),
            str(row["group"] or ""),
        )
        for index, row, text in zip(best, rows, shown, strict=True)
    ], ""


def fingerprint(item: str, kind: str = "text") -> int:
    """Return 64 bits that say "the same item".

    Equal for texts that differ only in case, white space, mark-up or Unicode form, and for pictures that differ only in
    size or compression (their perceptual hash).
    """
    if kind == "image":
        return perceptual_hash(open_picture(part_image(item)[0]))
    plain = " ".join(unicodedata.normalize("NFKC", clean_text(item)).casefold().split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")


def seen_in_training(loaded: Loaded, items: Sequence[Item]) -> npt.NDArray[np.bool_]:
    """Return (n_items,) bool: True where the model learnt from that very text or picture."""
    kind = str(loaded.card.get("item", "text"))
    marks = np.array([fingerprint(item.joined, kind) for item in items], dtype=np.uint64)
    if kind == "text":
        return np.isin(marks, loaded.known())
    known = loaded.known()
    near = [len(known) > 0 and np.bitwise_count(known ^ mark).min() <= SAME_PICTURE_BITS for mark in marks]
    return np.array(near, dtype=bool)


def list_models(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the cards of all complete models, newest first, shipped starters last."""
    return read_cards(workspace.model_cards(), ("id", "name", "family", "metrics"))
