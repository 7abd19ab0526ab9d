"""How well "unlike the training data" tells items from elsewhere: measured once a model, before it may learn more.

Items from elsewhere are what lies on every computer that medbench runs on: the Python manual, titles of ICD-10-CM
codes, three photographs that come with scikit-learn and Matplotlib, and what can be made of the model's own held-out
items. None of them stands for everything foreign; each is named beside its figure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.comparing_tests import delong
from medbench.events import Say
from medbench.families import Model
from medbench.pictures import open_picture
from medbench.records import ItemKind, join_image, part_image
from medbench.strangeness import Sight, Stranger
from medbench.trust_figures import share

if TYPE_CHECKING:
    from PIL import Image

SECONDS = 60.0
"""How long measuring may take, about: so many items are read as fit."""
MOST, LEAST = 200, 30
"""Items of each kind, a count; with fewer than the least nothing is measured."""
_AT_HAND = 4  # materials that are made here, of texts and of pictures
_TRIED = 8  # items that tell how long one takes
_WIDE, _HIGH = 300, 225  # size of the pictures that are made, in pixels
_log = logging.getLogger("medbench.foreign")


@dataclass(frozen=True, slots=True)
class Material:
    """Items from elsewhere.

    Attributes:
        what: What they are, as a reader is told.
        items: As a model reads them.
    """

    what: str
    items: Sequence[str]


def measured(
    model: Model,
    stranger: Stranger | None,
    own: Sequence[str],
    item: ItemKind,
    others: Sequence[Material] = (),
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Return how well foreign items are told from a model's own, JSON-ready; empty where it cannot be measured.

    Args:
        model: The model whose vectors are compared; asked for at most 200 items of each kind.
        stranger: Its "unlike the training data" detector.
        own: Items of its own dataset that it has not learnt from.
        item: What the items are.
        others: Items from elsewhere beside those that are at hand everywhere.
        seconds: About how long it may take.

    Returns:
        "own": the share of own items that are flagged; "foreign": for each material what it is ("what"), the area under
        the ROC curve of their strangeness with DeLong's interval ("auroc") and the share that is flagged ("flagged").
    """
    if stranger is None or len(own) < LEAST:
        return {}
    rng = np.random.default_rng(0)
    own = [own[row] for row in rng.permutation(len(own))[:MOST]]
    most = _affordable(model, own, seconds / (_AT_HAND + len(others) + 1))
    if most < LEAST:
        return {}
    own = own[:most]
    read = partial(_look, model, stranger, item)
    near = read(own)
    found = []
    with TemporaryDirectory() as folder:
        at_hand = _texts(own, rng) if item == "text" else _pictures(own, Path(folder), rng)
        for material in (*others, *at_hand):
            items = [material.items[row] for row in rng.permutation(len(material.items))[:most]]
            if len(items) > 1:
                found.append({"what": material.what, **_told_apart(near, read(items))})
    return {"own": share(float(near.unlike.sum()), len(own)).numbers(), "foreign": found}


def _look(model: Model, stranger: Stranger, item: ItemKind, items: Sequence[str]) -> Sight:
    return stranger.look(model.embed(items), items if item == "text" else ())


def _told_apart(near: Sight, far: Sight) -> dict[str, Any]:
    found = np.concatenate([near.strangeness, far.strangeness])
    n = len(far.unlike)
    areas = delong(np.repeat([False, True], [len(near.unlike), n]), found[None])
    low, high = areas.interval(0)
    auroc = {"value": round(float(areas.auc[0]), 5), "low": round(low, 5), "high": round(high, 5), "n": n}
    return {"auroc": auroc, "flagged": share(float(far.unlike.sum()), n).numbers()}


def _affordable(model: Model, own: Sequence[str], seconds: float) -> int:
    """Return how many of the items fit into so many seconds."""
    model.embed(own[:1])  # what is loaded or compiled once does not count
    began = time.perf_counter()
    model.embed(own[:_TRIED])
    each = (time.perf_counter() - began) / _TRIED
    return min(len(own), int(seconds / max(each, 1e-9)))


class Look:
    """Measures how well foreign items are told apart when it is shown a model that is being judged."""

    def __init__(self, say: Say, item: ItemKind) -> None:
        """Take where progress goes and a stop is heard, and what the items are."""
        self.say, self.item = say, item

    def __call__(self, model: Model, stranger: Stranger | None, own: Sequence[str]) -> dict[str, Any]:
        """Return what `measured` does; nothing where readings are dear, or when it fails: that is logged."""
        if self.say.stopping or model.dear or stranger is None or len(own) < LEAST:
            return {}
        self.say("stage", name="foreign", sentence="Measuring how well items from elsewhere are told apart.")
        try:
            return measured(model, stranger, own, self.item)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("How well foreign items are told apart could not be measured.")
            return {}


# --- texts -------------------------------------------------------------------------------------------------------


def _texts(own: Sequence[str], rng: np.random.Generator) -> Iterator[Material]:
    """Make foreign texts, one for each own text and as long as it."""
    lengths = [max(len(text.split()), 1) for text in own]
    manual = _manual()
    if manual:
        yield Material("passages of the Python manual", [_passage(manual, length, rng) for length in lengths])
    titles = _titles()
    if titles:
        yield Material("titles of ICD-10-CM codes in a row", [_listed(titles, length, rng) for length in lengths])
    shuffled = [" ".join(rng.permutation(np.array(text.split(), dtype=object))) for text in own]
    yield Material("its own texts with their words in random order", shuffled)
    yield Material("random letters", [_letters(length, rng) for length in lengths])


def _manual() -> list[str]:
    """Return the words of the Python manual that comes with the interpreter; none where it was left out."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return []
    lines = (line for text in topics.values() for line in text.splitlines())
    # Indented lines are code and grammar, lines of one sign are rules.
    return [word for line in lines if not line.startswith(("   ", "*", "=", "-")) for word in line.split()]


def _titles() -> list[str]:
    from medbench.codes_store import open_store

    try:
        return list(open_store().texts[:])
    except Exception:  # noqa: BLE001 - the code tables are one material of several; the figures name what was used
        _log.exception("The code tables could not be read.")
        return []


def _passage(words: Sequence[str], length: int, rng: np.random.Generator) -> str:
    begin = int(rng.integers(0, max(len(words) - length, 1)))
    return " ".join(words[begin : begin + length])


def _listed(titles: Sequence[str], length: int, rng: np.random.Generator) -> str:
    words: list[str] = []
    while len(words) < length:
        words += str(titles[int(rng.integers(0, len(titles)))]).split()
    return " ".join(words[:length])


def _letters(length: int, rng: np.random.Generator) -> str:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return " ".join("".join(rng.choice(letters, int(rng.integers(2, 11)))) for _ in range(length))


# --- pictures ----------------------------------------------------------------------------------------------------


def _pictures(own: Sequence[str], folder: Path, rng: np.random.Generator) -> Iterator[Material]:
    """Make foreign pictures, one for each own picture and with what is known of its patient."""
    facts = [part_image(item)[1] for item in own]

    def made(name: str, draw: Callable[[int], Image.Image]) -> list[str]:
        items = []
        for row, known in enumerate(facts):
            path = folder / f"{name}-{row}.png"
            draw(row).save(path)
            items.append(join_image(str(path), known))
        return items

    photographs = _photographs()
    if photographs:
        what = f"crops of {len(photographs)} photographs (a temple, a flower, a portrait)"
        yield Material(what, made("crop", lambda row: _crop(photographs[row % len(photographs)], rng)))
    words = _manual() or ["words"]
    yield Material("pictures of text", made("text", lambda _: _written(words, rng)))
    yield Material("random colours, blurred", made("noise", lambda _: _noise(rng)))
    wrong = made("wrong", lambda row: _swapped(open_picture(part_image(own[row])[0])))
    yield Material("its own pictures with red and blue swapped", wrong)


def _photographs() -> list[Image.Image]:
    """Return the photographs that come with scikit-learn and Matplotlib."""
    from importlib.resources import files

    places = (
        ("sklearn.datasets", "images/china.jpg"),
        ("sklearn.datasets", "images/flower.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    )
    found = [files(package) / name for package, name in places]
    return [open_picture(path.read_bytes(), path.name) for path in found if path.is_file()]


def _crop(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a part of it, between a third and all of its height and width, at random."""
    wide, high = (int(side * rng.uniform(1 / 3, 1)) for side in photograph.size)
    left, top = int(rng.integers(0, photograph.width - wide + 1)), int(rng.integers(0, photograph.height - high + 1))
    return photograph.crop((left, top, left + wide, top + high)).resize((_WIDE, _HIGH))


def _written(words: Sequence[str], rng: np.random.Generator) -> Image.Image:
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (_WIDE, _HIGH), "white")
    draw = ImageDraw.Draw(page)
    for line in range(0, _HIGH, 14):
        draw.text((6, line), _passage(words, 9, rng).encode("ascii", "ignore").decode(), fill="black")
    return page


def _noise(rng: np.random.Generator) -> Image.Image:
    from PIL import Image

    coarse = rng.integers(0, 256, (*rng.integers(4, 64, 2), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((_WIDE, _HIGH), Image.Resampling.BICUBIC)


def _swapped(picture: Image.Image) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(np.asarray(picture)[..., ::-1]))
