"""What a cross-validation says: its figures as a table and as a sentence, read from a model's card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench import table_formats
from medbench.comparing_tests import mean_sd
from medbench.comparing_verdict import title_of
from medbench.errors import MedbenchError
from medbench.workspace import undamaged

if TYPE_CHECKING:
    import pandas as pd

FILE = "folds.npz"
MAJORITY = "Most frequent label"
CAUTION = (
    "Folds share most of their training rows, so the spread between them says how much a figure depends on the rows, "
    "and is no standard error. The interval rests on the pooled rows, resampled by group."
)
_WORTH_TELLING = 0.01
_SHOWN = ("micro_f1", "macro_f1", "balanced_accuracy", "auc", "ece")


def spread(each: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return metric -> its mean over folds and its sample standard deviation ("sd"); metrics that all folds have.

    Args:
        each: The folds, each with "metrics": metric -> value.
    """
    names = [name for name in each[0]["metrics"] if all(name in one["metrics"] for one in each)]
    found = {name: mean_sd([float(one["metrics"][name]) for one in each]) for name in names}
    return {name: {"mean": round(mean, 5), "sd": round(sd, 5)} for name, (mean, sd) in found.items()}


def mean_words(card: Mapping[str, Any], metric: str) -> str:
    """Return "0.712 ± 0.010" of a metric over the folds of a model's run; empty without folds."""
    found = card.get("folds", {}).get("mean", {}).get(metric)
    return f"{found['mean']:.3f} ± {found['sd']:.3f}" if found else ""


def column(metric: str) -> str:
    """Return the heading under which `mean_words` stands in a table of models."""
    return f"{title_of(metric)} over folds"


def sentence(card: Mapping[str, Any], metric: str = "") -> str:
    """Say what the cross-validation found in one metric, the headline when none is named; empty without folds."""
    folds = card.get("folds")
    if not folds:
        return ""
    metric = metric or str(folds["headline"])
    if metric not in folds["pooled"]:
        return ""
    return (
        f"In {folds['k']}-fold cross-validation over {folds['rows']:,} train and validation rows, {title_of(metric)} "
        f"was {mean_words(card, metric)} (mean ± sd over folds); pooled, {_pooled(card, metric)}."
    )


def short(card: Mapping[str, Any], metric: str) -> str:
    """Say the same in short, to stand behind a model's name; empty without folds."""
    if not mean_words(card, metric):
        return ""
    return (
        f"{mean_words(card, metric)} {title_of(metric)} over {card['folds']['k']} folds of the train and validation "
        f"rows (mean ± sample standard deviation); pooled {_pooled(card, metric)}."
    )


def _pooled(card: Mapping[str, Any], metric: str) -> str:
    entry = card["folds"]["pooled"].get(metric)
    return f"{_value(entry)} ({_interval(entry)})"


def table(card: Mapping[str, Any], metrics: Iterable[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a run's folds as text: each fold, mean ± sd, pooled, its interval, majority.

    Args:
        card: A card with "folds".
        metrics: What to show; the headline and the usual ones when none is named.
    """
    folds = card["folds"]
    wanted = tuple(metrics) or dict.fromkeys((str(folds["headline"]), *_SHOWN))
    names = [name for name in wanted if name in folds["mean"]]
    rows = [
        [f"Fold {one['fold']}", f"{one['rows']:,}", *(f"{one['metrics'][name]:.3f}" for name in names)]
        for one in folds["each"]
    ]
    rows.append(["Mean ± sd", "", *(mean_words(card, name) for name in names)])
    pooled, majority, count = folds["pooled"], folds["majority"], f"{folds['rows']:,}"
    rows.append(["Pooled", count, *(_value(pooled.get(name)) for name in names)])
    rows.append(["95 % interval", "", *(_interval(pooled.get(name)) for name in names)])
    rows.append([MAJORITY, count, *(_value(majority.get(name)) for name in names)])
    return ["", "rows", *(title_of(name) for name in names)], rows


def frame(card: Mapping[str, Any]) -> pd.DataFrame:
    """Return the same table as a frame. Raises MedbenchError when the run was not cross-validated."""
    import pandas as pd

    if "folds" not in card:
        raise _without(str(card.get("id", "")))
    head, rows = table(card)
    return pd.DataFrame(rows, columns=[name or "part" for name in head])


def write(card: Mapping[str, Any], path: Path) -> None:
    """Write the table as its ending asks: CSV, Markdown, LaTeX, or with every metric JSON.

    Raises:
        MedbenchError: Another ending, or the run was not cross-validated.
    """
    found, kind = frame(card), path.suffix.lower()
    makers = {
        ".csv": lambda: found.to_csv(index=False),
        ".md": lambda: f"{sentence(card)}\n\n{table_formats.markdown(found)}\n{CAUTION}\n",
        ".tex": lambda: table_formats.latex(found, f"{sentence(card)} {CAUTION}"),
        ".json": lambda: json.dumps(card["folds"], ensure_ascii=False, indent=1) + "\n",
    }
    if kind not in makers:
        raise MedbenchError(f"a file that ends in {', '.join(makers)}", repr(path.name), "Name it folds.csv.")
    path.write_text(makers[kind](), encoding="utf-8")


def _without(model_id: str) -> MedbenchError:
    return MedbenchError("a model that was cross-validated", repr(model_id), "Train it with --folds 5, then ask again.")


def _value(entry: Mapping[str, Any] | None) -> str:
    return f"{entry['value']:.3f}" if entry else "–"


def _interval(entry: Mapping[str, Any] | None) -> str:
    if not entry or entry.get("low") is None or entry.get("high") is None:
        return "–"
    return f"{entry['low']:.3f}–{entry['high']:.3f}"


def answers(folder: Path, labels: Sequence[str]) -> pd.DataFrame:
    """Return the answers of every fold, one line per row and label that is true, decided or has a chance of 1 %.

    Args:
        folder: A model's folder.
        labels: The model's labels.

    Raises:
        MedbenchError: The model was not cross-validated, or its answers are damaged.
    """
    import pandas as pd

    if not (folder / FILE).exists():
        raise _without(folder.name)
    with undamaged(folder, "model"), np.load(folder / FILE, allow_pickle=False) as kept:
        names = ("positions", "fold", "probabilities", "decided", "truth")
        positions, fold, prob, decided, truth = (kept[name] for name in names)
    rows, columns = np.nonzero(truth | decided | (prob >= _WORTH_TELLING))
    return pd.DataFrame(
        {
            "row": positions[rows] + 1,
            "fold": fold[rows],
            "label": np.asarray(labels, dtype=object)[columns],
            "probability": prob[rows, columns].round(4),
            "decided": decided[rows, columns].astype(int),
            "true": truth[rows, columns].astype(int),
        }
    )
