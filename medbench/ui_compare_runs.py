"""The head of the Compare page: which dataset, which runs, what the comparison says, and the table of all figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import comparing, comparing_judged, comparing_verdict, energy, fold_figures, ui, ui_grid
from medbench.comparing_records import Kind, Selection
from medbench.families import get_family
from medbench.tasks import get_task
from medbench.ui_compare import Compared
from medbench.ui_compare_records import draw_cells
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

MOST = 5
_UNMEASURED = "–"
_FENCED_NAMED = 8  # models that one reason keeps out; more are counted
ONLY_BETTER, ONLY_OTHER = "only the better right", "only the other right"


@dataclass(frozen=True)
class Choice:
    """What a user compares: the ids of the runs, and the metric that decides."""

    ids: list[str]
    metric: str


def choose(workspace: Workspace) -> Choice | None:
    """Draw the choice of dataset, runs and metric; None, with the next step, where there is nothing to compare."""
    found = comparing_judged.cards(workspace)
    local = {name: held for name, held in comparing_judged.by_dataset(found).items() if _answered(workspace, held)}
    if not local:
        ui.empty(
            "Nothing to compare yet. Runs that judge their models on the same test items meet here.",
            "Train a model",
            "pages/train.py",
        )
        return None
    left, right = st.columns([2, 1])
    with left:
        dataset = _dataset(local)
    comparable, fenced = comparing_judged.fence(workspace, local[dataset])
    names = comparing_judged.names_of(local[dataset])
    headline = comparing_judged.headline(local[dataset][0])
    with right:
        metric = _metric(
            local[dataset][0], headline, any(comparing_judged.tree_mark(workspace, one) for one in comparable[:1])
        )
    ids = st.multiselect(
        "Runs",
        comparable,
        default=_best(local[dataset], comparable, headline),
        format_func=names.__getitem__,
        key=f"compare_runs_{dataset}",
        help=f"Runs judged on the same items. At first the best {MOST} are chosen.",
    )
    others = {name: why for name, why in _elsewhere(found, dataset).items() if name not in names}
    _fenced({**fenced, **others}, {**{str(card["id"]): str(card["name"]) for card in found}, **names})
    if not ids:
        st.info("Choose at least one run.")
        return None
    return Choice(ids, metric)


def _answered(workspace: Workspace, held: Sequence[Mapping[str, Any]]) -> bool:
    return any((workspace.model(str(card["id"])) / "judged.npz").exists() for card in held)


def _dataset(local: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    asked = st.query_params.get("dataset", "")
    words = {
        name: f"{held[0]['dataset'].get('name') or name} · {ui.count_of(len(held), 'run')}"
        for name, held in local.items()
    }
    ids = list(local)
    at = ids.index(asked) if asked in local else 0
    picked: str = st.selectbox(
        "Dataset",
        ids,
        index=at,
        format_func=words.__getitem__,
        key="compare_dataset",
        help="The one with most runs first.",
    )
    return picked


def _best(held: Sequence[Mapping[str, Any]], comparable: Sequence[str], metric: str) -> list[str]:
    sign = -1 if metric in comparing_verdict.LOWER_IS_BETTER else 1
    scored = [
        (sign * float(card["metrics"].get(metric, {}).get("value", 0)), str(card["id"]))
        for card in held
        if str(card["id"]) in comparable
    ]
    return [name for _, name in sorted(scored, key=lambda pair: -pair[0])[:MOST]]


def _metric(card: Mapping[str, Any], headline: str, tree: bool) -> str:
    """Draw the choice of the metric; hierarchical ones need a tree of labels."""
    cells = int(card["metrics"].get("auc", {}).get("n") or 0) * len(card["labels"])
    left_out = _NOT_FROM_CARDS if comparing.areas_fit(cells) else ("auc", *_NOT_FROM_CARDS)
    known = [name for name in comparing_verdict.TITLES if name in card["metrics"] and name not in left_out]
    known += comparing_verdict.HIERARCHICAL if tree else ()
    order = [headline, *(name for name in known if name != headline)]
    picked: str = st.selectbox(
        "Judged by",
        order,
        format_func=comparing_verdict.title_of,
        key=f"compare_metric_{card['task']}",
        help="The metric that decides who is better. AUC of each label: under Curves.",
    )
    return picked


_NOT_FROM_CARDS = ("auc_micro", "average_precision", *comparing_verdict.HIERARCHICAL)


def _elsewhere(found: Sequence[Mapping[str, Any]], dataset: str) -> dict[str, str]:
    """Return why models of other datasets do not stand here: of the same task only."""
    task = next(str(card["task"]) for card in found if str(card["dataset"]["id"]) == dataset)
    return {
        str(card["id"]): f"judged on another dataset, “{card['dataset'].get('name') or card['dataset']['id']}”"
        for card in found
        if str(card["dataset"]["id"]) != dataset and str(card["task"]) == task
    }


def _fenced(fenced: Mapping[str, str], names: Mapping[str, str]) -> None:
    if not fenced:
        return
    with st.expander(f"Not comparable here: {ui.count_of(len(fenced), 'model')}", key="compare_fenced"):
        st.caption("Figures on other items cannot be set side by side: a higher one may only mean easier items.")
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for name, why in fenced.items():
            alike[why].append(names.get(name, name))
        lines = [
            f"- **{ui.plain(', '.join(held[:_FENCED_NAMED]))}**"
            f"{f' and {len(held) - _FENCED_NAMED:,} more' if len(held) > _FENCED_NAMED else ''}: {ui.plain(why)}."
            for why, held in alike.items()
        ]
        st.markdown("\n".join(lines))


# --- what it says ----------------------------------------------------------------------------------------------


def draw_verdict(compared: Compared, metric: str) -> None:
    """Draw the sentences of the comparison, and the warnings that belong to them."""
    found = compared.comparison
    told = found.sentences(metric)
    with st.container(border=True):
        if not told:
            st.markdown("One run alone: choose a second to compare it with.")
        for at, sentence in enumerate(told):
            st.markdown(f"**{ui.plain(sentence)}**" if at == 0 else ui.plain(sentence))
        for warning in (*_not_better(compared), *_tuned_for_nothing(compared, metric)):
            st.markdown(f"⚠️ {ui.plain(warning)}")
        for line in _seeds(compared, metric):
            st.markdown(f"🌱 {ui.plain(line)}")
        if told:
            st.caption(found.footnote(metric))


def _not_better(compared: Compared) -> list[str]:
    """Return a sentence for each model that does not beat the majority rule in macro-F1."""
    metric = "macro_f1"
    base = compared.models[0].card.get("baselines", {}).get("majority", {}).get(metric, {}).get("value")
    if base is None:
        return []
    values = compared.comparison.point[metric].tolist()
    return [
        f"{compared.names[model.id]} is NOT better than giving everything the most frequent label: "
        f"macro-F1 {value:.3f} against {base:.3f}."
        for model, value in zip(compared.models, values, strict=True)
        if value <= base
    ]


def _tuned_for_nothing(compared: Compared, metric: str) -> list[str]:
    """Return a sentence for each model that is not above what it started from, in the metric that decides."""
    told, sign = [], -1 if metric in comparing_verdict.LOWER_IS_BETTER else 1
    for model, value in zip(compared.models, compared.comparison.point[metric].tolist(), strict=True):
        before = model.card.get("baselines", {}).get(comparing_judged.BEFORE_TUNING, {}).get(metric, {}).get("value")
        if before is not None and sign * value <= sign * before:
            told.append(
                f"{compared.names[model.id]} is NOT better than its base before tuning: "
                f"{comparing_verdict.title_of(metric)} {value:.3f} against {before:.3f}."
            )
    return told


def _seeds(compared: Compared, metric: str) -> list[str]:
    seeds = [
        f"{one.name}: {one.mean:.3f} ± {one.sd:.3f} {comparing_verdict.title_of(metric)} over {len(one.ids)} seeds "
        "(mean ± sample standard deviation)."
        for one in comparing_judged.repeated([model.card for model in compared.models], metric)
    ]
    folds = [(compared.names[model.id], fold_figures.short(model.card, metric)) for model in compared.models]
    return [*seeds, *(f"{name}: {told}" for name, told in folds if told)]


# --- the table -------------------------------------------------------------------------------------------------


def draw_table(workspace: Workspace, compared: Compared, metric: str) -> Callable[[], None]:
    """Draw what belongs to the table of runs, and return what draws the grid itself in the place kept for it.

    The grid brings its own page with 4.7 MB of program, which a browser runs anew on every visit: called last,
    it keeps nothing else of the page waiting.

    Args:
        workspace: Where the runs lie.
        compared: What the page has loaded.
        metric: What decides.
    """
    every = st.toggle("All metrics", key="compare_all_metrics", help="Off: the metrics of the task alone.")
    frame = runs_table(compared, metric, every)
    widths = dict.fromkeys(frame.columns, 180)
    widths |= {"Run": 240, "What differs": 190, "Took": 110, "Memory": 110, "Size": 110, "Items/s": 110, "Method": 165}
    kept = st.container(height=ui_grid.fitted_height(min(len(frame), 12)) + 20, border=False)
    st.caption(
        "95 % intervals in brackets. Lower rows: what any model has to beat. The records behind a difference: a cell "
        "under Pairs."
    )
    with st.container(horizontal=True):
        ui.export(frame, "runs", "compare_table_export")
        _reports(workspace, compared)

    def fill() -> None:
        with kept:
            ui_grid.grid(frame, f"compare_table_{every}", widths=widths)

    return fill


def _reports(workspace: Workspace, compared: Compared) -> None:
    """Draw the way from a run to its report."""
    from medbench import run_report

    with st.popover("📄 Report", help="The whole report of one run as PDF."):
        for model in compared.models:
            ui.download(
                compared.names[model.id],
                partial(run_report.as_pdf, workspace, model.id),
                f"{model.id}.pdf",
                f"compare_report_{model.id}",
                "application/pdf",
            )


def runs_table(compared: Compared, metric: str, every: bool = False) -> pd.DataFrame:
    """Return the table of runs and baselines, best run first, figures as text with their intervals."""
    import pandas as pd

    models = {model.id: model for model in compared.models}
    order = [models[name] for name in compared.comparison.order(metric)]
    differ = comparing_judged.differences([model.card for model in order])
    task = get_task(str(order[0].card["task"]))
    known = compared.comparison.figures(order[0].id)
    few = (*task.metrics, comparing_verdict.HIERARCHICAL[0])
    wanted = [metric, *(name for name in (known if every else few) if name != metric and name in known)]
    folded, folds = any("folds" in model.card for model in order), fold_figures.column(metric)
    rows = []
    for model in order:
        card, figures = model.card, compared.comparison.figures(model.id)
        rows.append(
            {
                "Run": compared.names[model.id],
                "Method": get_family(str(card["family"])).title,
                "What differs": differ[model.id] or _UNMEASURED,
                **({folds: fold_figures.mean_words(card, metric) or _UNMEASURED} if folded else {}),
                **{comparing_verdict.title_of(name): ui.with_interval(figures.get(name)) for name in wanted},
                **_cost(model.id, card),
            }
        )
    for name, values in comparing_judged.baselines([model.card for model in order]).items():
        shown = {comparing_verdict.title_of(one): ui.with_interval(values.get(one)) for one in wanted}
        over = {folds: _UNMEASURED} if folded else {}
        nothing = {"Method": "baseline", "What differs": _UNMEASURED, **over}
        rows.append({"Run": name, **nothing, **shown, **_cost("", {})})
    return pd.DataFrame(rows)


def _cost(model_id: str, card: Mapping[str, Any]) -> dict[str, str]:
    cost = card.get("cost", {})
    speeds: Mapping[str, float] = st.session_state.get("compare_speeds", {})
    return {
        "Took": ui.duration(cost.get("seconds")),
        "Energy": _UNMEASURED if (joules := energy.joules_of(cost)) is None else energy.watt_hours(joules),
        "Memory": ui.size(cost.get("peak_memory")),
        "Size": ui.size(cost.get("size")),
        "Items/s": ui.number(speeds.get(model_id)),
    }


def draw_pairs(workspace: Workspace, compared: Compared, metric: str) -> None:
    """Draw every pair of runs with its difference, interval, p-values and McNemar's counts, and the records behind."""
    import pandas as pd

    pairs = compared.comparison.pairs(metric)
    if not pairs:
        st.caption("Two runs make a pair.")
        return
    names = compared.names
    better = [pair if pair.value >= 0 else pair.turned() for pair in pairs]
    frame = pd.DataFrame(
        [
            {
                "better": names[pair.second],
                "than": names[pair.first],
                f"by, {comparing_verdict.title_of(metric)}": pair.value,
                "from": pair.low,
                "to": pair.high,
                "p": pair.p,
                "p, Holm": pair.p_holm,
                "told apart": "yes" if pair.told else "no",
                ONLY_BETTER: pair.only_second,
                ONLY_OTHER: pair.only_first,
                "McNemar mid-p": pair.mcnemar_p,
            }
            for pair in better
        ]
    )
    kinds: dict[str, Kind] = {ONLY_BETTER: "only_first", ONLY_OTHER: "only_second"}

    def opens(row: int, column: str) -> Selection:
        return Selection(better[row].second, better[row].first, kinds.get(column, "differ"))

    st.caption(
        "from, to: 95 % interval of the difference (paired bootstrap). p: paired permutation test; p, Holm: corrected "
        "for the number of pairs. McNemar's test looks at whole items, right in every label, as if independent."
    )
    draw_cells(workspace, compared, frame, "pairs", "compare_pairs", opens, of=metric, decimals=4)
