"""A comparison to take away: one record for machines, and the same as a table for a paper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench import comparing, comparing_areas, comparing_judged, comparing_verdict, fold_figures, table_formats
from medbench.comparing import Comparison
from medbench.comparing_judged import Answered
from medbench.errors import MedbenchError
from medbench.tasks import get_task
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".json", ".csv", ".md", ".tex")


def compared(workspace: Workspace, ids: Sequence[str], metric: str = "", *, seed: int = 0) -> dict[str, Any]:
    """Compare models by their ids; return everything that is said about them, JSON-ready.

    Args:
        workspace: Where the models lie.
        ids: Two or more models.
        metric: What decides; the headline of the task when empty.
        seed: Seed of resamples and exchanges.

    Returns:
        "task", "metric", "items", "groups"; "sentences" and "footnote"; "models" (best first: id, name, family,
        differs, cost, every metric with value, low, high, and "folds" when cross-validated); "baselines": name -> such
        metrics; "pairs" as in `comparing_verdict.Pair`; for "auc", "areas": label -> n, area of each model, its pairs
        (`comparing_areas.LabelAreas`); "fenced": id -> why a model was left out.

    Raises:
        MedbenchError: Fewer than two models were judged on the same items, or the metric is unknown.
    """
    unique = list(dict.fromkeys(ids))
    known = {str(card["id"]): card for card in comparing_judged.cards(workspace)}
    for name in unique:
        if name not in known:
            raise MedbenchError("the id of a model", repr(name), "See: medbench models.")
    kept, fenced = comparing_judged.fence(workspace, [known[name] for name in unique])
    if len(kept) < 2:
        why = "; ".join(f"{name} {reason}" for name, reason in fenced.items()) or f"{len(kept)} model"
        raise MedbenchError("two models judged on the same items", why, "Train both on one dataset.")
    models = [comparing_judged.answered(workspace, name) for name in kept]
    items = comparing_judged.items_of(workspace, models[0])
    found = comparing.compare(models, items.groups, rng=np.random.default_rng(seed), tree=items.tree)
    metric = metric or comparing_judged.headline(models[0].card)
    if metric not in found.point:
        raise MedbenchError("a metric", repr(metric), f"Choose one of {', '.join(sorted(found.point))}.")
    return {
        "task": models[0].card["task"],
        "metric": metric,
        "items": len(models[0].truth),
        "groups": found.n_groups,
        "sentences": found.sentences(metric),
        "footnote": found.footnote(metric),
        "models": _models(found, metric),
        "baselines": comparing_judged.baselines([model.card for model in models]),
        "pairs": [{**asdict(pair), "told": pair.told} for pair in found.pairs(metric)],
        **({"areas": _areas(models)} if metric == "auc" else {}),
        "fenced": fenced,
    }


def _areas(models: Sequence[Answered]) -> list[dict[str, Any]]:
    found = (comparing_areas.label_areas(models, label) for label in models[0].labels)
    return [asdict(one) for one in found if one is not None]


def areas_table(sheet: dict[str, Any]) -> pd.DataFrame | None:
    """Return the areas of each label with their intervals, and who is told apart; None unless AUC was compared."""
    import pandas as pd

    if not sheet.get("areas"):
        return None
    names = {one["id"]: one["name"] for one in sheet["models"]}
    rows = []
    for one in sheet["areas"]:
        areas = {names[name]: f"{one['areas'][name][0]:.3f} ({_ends(one['areas'][name])})" for name in names}
        ways = [pair for pair in one["pairs"] if pair["p_holm"] < comparing_verdict.LEVEL]
        apart = "; ".join(
            f"{names[pair['second' if pair['value'] > 0 else 'first']]} over "
            f"{names[pair['first' if pair['value'] > 0 else 'second']]}, {comparing_verdict.p_words(pair['p_holm'])}"
            for pair in ways
        )
        rows.append({"label": one["label"], "n": one["n"], **areas, "told apart (DeLong, Holm)": apart})
    return pd.DataFrame(rows)


def _ends(area: Sequence[float]) -> str:
    return f"{area[1]:.3f}–{area[2]:.3f}"


def _models(found: Comparison, metric: str) -> list[dict[str, Any]]:
    cards = {model.id: model.card for model in found.models}
    differ = comparing_judged.differences(list(cards.values()))
    return [
        {
            "id": name,
            "name": found.names[name],
            "family": cards[name]["family"],
            "differs": differ[name],
            "cost": cards[name].get("cost", {}),
            "metrics": found.figures(name),
            **({"folds": cards[name]["folds"]} if "folds" in cards[name] else {}),
        }
        for name in found.order(metric)
    ]


def table(sheet: dict[str, Any]) -> pd.DataFrame:
    """Return the models, then the baselines, with the metrics of the task and their 95 % intervals as text."""
    import pandas as pd

    metrics = [sheet["metric"], *(name for name in _shown(sheet) if name != sheet["metric"])]
    rows = [
        {
            "run": one["name"],
            "method": one["family"],
            "what differs": one["differs"],
            **_over_folds(one, sheet),
            **_figures(one["metrics"], metrics),
        }
        for one in sheet["models"]
    ]
    rows += [
        {"run": name, "method": "baseline", "what differs": "", **_over_folds({}, sheet), **_figures(figures, metrics)}
        for name, figures in sheet["baselines"].items()
    ]
    return pd.DataFrame(rows)


def _over_folds(one: dict[str, Any], sheet: dict[str, Any]) -> dict[str, str]:
    """Return the cell of a model's mean ± sd over folds, where any of the models has one."""
    if not any("folds" in other for other in sheet["models"]):
        return {}
    return {fold_figures.column(sheet["metric"]): fold_figures.mean_words(one, sheet["metric"])}


def _shown(sheet: dict[str, Any]) -> list[str]:
    wanted = (*get_task(sheet["task"]).metrics, *comparing_verdict.HIERARCHICAL)
    return [name for name in wanted if name in sheet["models"][0]["metrics"]]


def _figures(figures: dict[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    return {comparing_verdict.title_of(name): _with_interval(figures.get(name)) for name in metrics}


def _with_interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure.get("value") is None:
        return ""
    interval = "" if figure.get("low") is None else f" ({figure['low']:.3f}–{figure['high']:.3f})"
    return f"{figure['value']:.3f}{interval}"


def write(sheet: dict[str, Any], path: Path) -> None:
    """Write a comparison as its ending asks: JSON, CSV, Markdown (with the sentences) or LaTeX.

    Raises:
        MedbenchError: Another ending.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        text = json.dumps(sheet, ensure_ascii=False, indent=1) + "\n"
    elif kind == ".csv":
        text = table(sheet).to_csv(index=False)
    elif kind == ".md":
        said = "\n\n".join(sheet["sentences"])
        text = f"{said}\n\n{table_formats.markdown(table(sheet))}\n{sheet['footnote']}\n"
    elif kind == ".tex":
        text = table_formats.latex(table(sheet), sheet["footnote"])
    else:
        raise MedbenchError(f"a file that ends in {', '.join(FORMATS)}", repr(path.name), "Name it comparison.md.")
    path.write_text(text, encoding="utf-8")
