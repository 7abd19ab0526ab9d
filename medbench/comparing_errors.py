"""Where models go wrong: what errors go with, the worst answers, and labels that may be wrong themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench import datasets, lesion_figures, lesion_photo
from medbench.calibration import EPSILON
from medbench.comparing_judged import Answered
from medbench.comparing_tests import rank_correlation
from medbench.errors import MedbenchError
from medbench.picture_facts import fact_columns, facts_of
from medbench.workspace import Workspace, undamaged

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# --- what errors go with ---------------------------------------------------------------------------------------

LENGTHS = (100, 200, 400, 800)
"""Words at which the bands of text length begin."""
LABELS_FOR_ERRORS = 200
_VALUES_MOST = 30  # of a fact beside a text
_YEAR = re.compile(r"(?:19|20)\d\d")
_YEAR_COLUMN = re.compile(r"(x_)?((pub|publication)?[ _]?(year|date)|py|dp)")


def item_errors(model: Answered) -> Floats:
    """Return (n,) how wrong each item's labels are, 0-1: labels missed or wrongly given, as a share of all involved.

    One minus the Jaccard index; for one label per item it is 0 or 1. An item without true and decided labels is right.
    """
    either = (model.truth | model.decided).sum(axis=1)
    both = (model.truth & model.decided).sum(axis=1)
    return np.asarray(1 - np.divide(both, either, out=np.ones(len(either)), where=either > 0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation with its 95 % interval; NaN where one side does not vary."""

    r: float
    low: float
    high: float
    n: int


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Return Spearman's rank correlation of two sides."""
    return Correlation(*rank_correlation(x, y), len(x))


def worst(model: Answered, most: int = 50) -> Ints:
    """Return the judged items with the highest log loss: those where the model was surest and wrong."""
    kept = np.clip(model.probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    nats = -np.log(np.where(model.truth, kept, 1 - kept if model.answer == "many" else 1.0)).sum(axis=1)
    return np.argsort(-nats, kind="stable")[:most]


def confusions(model: Answered, most: int = 20) -> list[tuple[str, str, int]]:
    """Return (true label that was missed, label that was wrongly decided, items), most frequent first.

    With several labels per item every missed one is paired with every wrong one of the same item.
    """
    missed, wrong = model.truth & ~model.decided, model.decided & ~model.truth
    counts: Counter[tuple[str, str]] = Counter()
    for row in np.flatnonzero(missed.any(axis=1) & wrong.any(axis=1)):
        for true in np.flatnonzero(missed[row]):
            counts.update((model.labels[true], model.labels[said]) for said in np.flatnonzero(wrong[row]))
    return [(true, said, count) for (true, said), count in counts.most_common(most)]


def likely_label_errors(model: Answered) -> Ints:
    """Return the judged items whose given labels are probably wrong, likeliest first.

    Confident learning (Northcutt et al. 2021) as cleanlab does it; the probabilities are of items the model never saw.

    Raises:
        MedbenchError: There are too many labels for it.
    """
    from cleanlab import filter as of_one
    from cleanlab.multilabel_classification import filter as of_many

    if len(model.labels) > LABELS_FOR_ERRORS:
        raise MedbenchError(f"at most {LABELS_FOR_ERRORS} labels", f"{len(model.labels):,}", "Fold rare labels first.")
    live = np.flatnonzero(model.truth.any(axis=0) & ~model.truth.all(axis=0))
    prob = model.probabilities[:, live].astype(np.float64)
    if len(live) < 2:
        return np.zeros(0, dtype=np.int64)
    asked = {"return_indices_ranked_by": "self_confidence", "n_jobs": 1, "verbose": False}
    if model.answer == "many":
        given = [np.flatnonzero(row).tolist() for row in model.truth[:, live]]
        ranked = of_many.find_label_issues(given, prob, **asked)
    else:
        prob /= prob.sum(axis=1, keepdims=True).clip(EPSILON)
        ranked = of_one.find_label_issues(model.truth[:, live].argmax(axis=1), prob, **asked)
    return np.asarray(ranked, dtype=np.int64)


# --- what is known of the judged items -------------------------------------------------------------------------


def lengths(workspace: Workspace, model: Answered) -> Ints:
    """Return (n,) words of each judged text, title and text together."""
    frame = _frame(workspace, model)
    words = [len(f"{title} {text}".split()) for title, text in zip(frame["title"], frame["text"], strict=True)]
    return np.array(words, dtype=np.int64)


def item_facts(workspace: Workspace, model: Answered) -> dict[str, list[str]]:
    """Return fact -> the value of each judged item: length and year of texts, age, sex, site, skin tone of pictures.

    Age, sex and site of the patients of texts are told where the file has such columns.
    """
    frame, picture = _frame(workspace, model), model.card.get("item") == "image"
    found = {} if picture else _text_facts(workspace, model, frame)
    columns = fact_columns(map(str, frame.columns))
    rows = frame[list(columns.values())].to_dict("records")
    known = [facts_of({str(name): cell for name, cell in row.items()}, columns) for row in rows]
    told = {fact: [one.get(fact, lesion_figures.UNKNOWN) for one in known] for fact in columns}
    if "age" in told:
        told["age"] = [lesion_figures.age_band(years) for years in told["age"]]
    # A column of a file of texts that is only called like a fact, such as "location", may hold anything.
    found |= {fact: values for fact, values in told.items() if picture or _parts(values)}
    tones = _tones(workspace, model)
    return {**found, "skin tone": tones} if tones else found


def _parts(values: Sequence[str]) -> bool:
    """Return whether values part items into groups: some of them, that mostly repeat."""
    return 1 < len(set(values)) <= min(_VALUES_MOST, len(values) // 2)


def _text_facts(workspace: Workspace, model: Answered, frame: pd.DataFrame) -> dict[str, list[str]]:
    found = {"length": [length_band(int(words)) for words in lengths(workspace, model)]}
    column = next((name for name in frame.columns if _YEAR_COLUMN.fullmatch(name.lower())), None)
    return found if column is None else {**found, "year": [_period(str(cell)) for cell in frame[column]]}


def length_band(words: int) -> str:
    """Return the band of a text's length, "100 to 199 words"."""
    at = int(np.searchsorted(LENGTHS, words, side="right"))
    if at == 0:
        return f"under {LENGTHS[0]} words"
    return f"{LENGTHS[-1]} words and more" if at == len(LENGTHS) else f"{LENGTHS[at - 1]} to {LENGTHS[at] - 1} words"


def _period(cell: str) -> str:
    year = _YEAR.search(cell)
    if year is None:
        return lesion_figures.UNKNOWN
    start = int(year.group()) // 5 * 5
    return f"{start} to {start + 4}"


def _tones(workspace: Workspace, model: Answered) -> list[str]:
    folder = workspace.model(model.id)
    with undamaged(folder, "model"), np.load(folder / "judged.npz", allow_pickle=False) as stored:
        angles = stored["tones"].tolist() if "tones" in stored.files else []
    return [lesion_photo.tone_class(None if angle != angle else angle) or lesion_figures.UNKNOWN for angle in angles]


def _frame(workspace: Workspace, model: Answered) -> pd.DataFrame:
    return datasets.load(workspace, str(model.card["dataset"]["id"])).frame().iloc[model.positions]
