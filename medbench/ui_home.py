"""Home: one next step, what there is, and the newest runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from medbench import runs, ui
from medbench.datasets import list_datasets
from medbench.runs import Run
from medbench.workspace import Workspace, read_json

STATES = {
    "queued": ("🕓", "waiting"),
    "running": ("🔵", "running"),
    "finished": ("✅", "finished"),
    "failed": ("❌", "failed"),
    "cancelled": ("⏹️", "cancelled"),
    "lost": ("⚠️", "lost"),
}
RECENT = 6
_STYLE = "<style>[data-testid='stPageLink'] p {white-space: normal; overflow: visible;}</style>"


@dataclass(frozen=True)
class Stock:
    """What a workspace holds, as far as Home needs it.

    Attributes:
        datasets: Dataset cards, newest first.
        runs: All runs, newest first.
        own: Ids of the models that runs left here, newest first.
        starters: Ids of the models that were shipped.
    """

    datasets: list[dict[str, Any]]
    runs: list[Run]
    own: list[str]
    starters: list[str]

    @property
    def for_abstracts(self) -> str:
        """The shipped model that an abstract is best tried on, "" without one."""
        return next((name for name in self.starters if "literature" in name), next(iter(self.starters), ""))

    def page_of(self, model: str) -> str:
        """Return the page where a model of this workspace answers."""
        task = next((run.spec.get("task") for run in self.runs if model in (run.id, run.model)), "")
        return ui.page_of(str(task))

    @property
    def alive(self) -> list[Run]:
        """Runs that work or wait."""
        return [run for run in self.runs if run.alive]


@dataclass(frozen=True)
class Step:
    """The next thing to do: why, what the button says, and where it leads."""

    sentence: str
    label: str
    path: str
    query: Mapping[str, str]


def take_stock(workspace: Workspace) -> Stock:
    """Look at the workspace; reads no rows and no weights."""
    models = [path.parent.name for path in workspace.model_cards()]
    return Stock(
        list_datasets(workspace),
        runs.list_runs(workspace),
        [name for name in models if not name.startswith("starter-")],
        [name for name in models if name.startswith("starter-")],
    )


def next_step(stock: Stock) -> Step:
    """Return the one step that helps most now."""
    if stock.alive:
        run = stock.alive[0]
        return Step(
            f"{ui.count_of(len(stock.alive), 'run')} at work: {run_name(run, stock)}.",
            "Watch it",
            "pages/train.py",
            {"run": run.id},
        )
    if stock.own:
        return Step(
            "Your newest model is ready.", "Classify with it", stock.page_of(stock.own[0]), {"model": stock.own[0]}
        )
    trainable = [card for card in stock.datasets if card["n_labelled"]]
    if trainable:
        card = trainable[0]
        return Step(
            f"“{card['name']}” has labels to learn from.",
            "Train a model",
            "pages/train.py",
            {"dataset": str(card["id"])},
        )
    if stock.starters:
        return Step(
            "A starter model is here. Paste an abstract, get its labels; nothing to train.",
            "Classify an abstract now",
            "pages/classify.py",
            {"model": stock.for_abstracts},
        )
    return Step(
        "Nothing here yet. Begin with a file: a PubMed export, a table, a PDF, or the sample.",
        "Add a dataset",
        "pages/datasets.py",
        {"add": "1"},
    )


def draw(workspace: Workspace) -> None:
    """Draw Home."""
    stock = take_stock(workspace)
    step = next_step(stock)
    with st.container(border=True):
        st.markdown(f"#### {ui.plain(step.sentence)}")
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(step.label, key="home_next", type="primary", help="The next step."):
                st.switch_page(step.path, query_params=dict(step.query))
            if stock.starters and step.path != "pages/classify.py":
                ui.link("Classify an abstract now", "pages/classify.py", {"model": stock.for_abstracts})
            if step.path != "pages/datasets.py":
                ui.link("Add a dataset", "pages/datasets.py", {"add": "1"})
    if not (stock.datasets or stock.runs or stock.own or stock.starters):
        return
    ended = len(stock.runs) - len(stock.alive)
    ui.facts(
        {
            "Datasets": f"{len(stock.datasets):,}",
            "Rows in them": ui.number(sum(int(card["n_rows"]) for card in stock.datasets)),
            "Runs at work": f"{len(stock.alive):,}",
            "Runs ended": f"{ended:,}",
            "Your models": f"{len(stock.own):,}",
            "Starter models": f"{len(stock.starters):,}",
        }
    )
    st.html(_STYLE)
    left, right = st.columns(2, gap="large")
    with left:
        _recent_runs(stock)
    with right:
        _models(workspace, stock)
        _recent_datasets(stock)


def run_name(run: Run, stock: Stock) -> str:
    """Return the name a user gave a run, else its family and the name of its dataset."""
    if run.spec.get("name"):
        return str(run.spec["name"])
    dataset = str(run.spec.get("dataset", "?"))
    name = next((card["name"] for card in stock.datasets if card["id"] == dataset), dataset)
    return f"{run.spec.get('family', '?')} on {name}"


def _entry(page: str, name: str, icon: str, query: Mapping[str, str], told: str) -> None:
    """Draw a link and, below it, what is told of it: beside each other they would not fit a narrow window."""
    with st.container(gap=None):
        st.page_link(page, label=ui.plain(name), icon=icon, query_params=dict(query), width="stretch")
        st.html(f'<div class="mb-fact" style="padding-left: 2.2rem">{ui.escape(told)}</div>')


def _recent_runs(stock: Stock) -> None:
    st.subheader("Newest runs", anchor=False)
    if not stock.runs:
        ui.empty("No run yet. A run learns from a dataset and leaves a model.", "Go to Train", "pages/train.py")
    for run in stock.runs[:RECENT]:
        icon, word = STATES[run.state]
        _entry("pages/train.py", run_name(run, stock), icon, {"run": run.id}, f"{word} · {ui.when(run.created)}")
    if len(stock.runs) > RECENT:
        ui.link(f"All {len(stock.runs):,} runs", "pages/train.py")
    if len(stock.own) > 1:
        ui.link("Compare your models", "pages/compare.py")


def _models(workspace: Workspace, stock: Stock) -> None:
    st.subheader("Models", anchor=False)
    names = [*stock.own[:3], *stock.starters]
    if not names:
        ui.empty("No model yet. Runs leave models here.", "Go to Train", "pages/train.py")
    for name in names:
        card = read_json(workspace.model(name) / "model.json")
        page = ui.page_of(str(card.get("task")))
        _entry(page, str(card.get("name") or name), "🏷️", {"model": name}, _headline(card))


def _headline(card: Mapping[str, Any]) -> str:
    metrics = card.get("metrics", {})
    usual = next(iter(metrics), "")
    name = "balanced_accuracy" if card.get("item") == "image" and "balanced_accuracy" in metrics else usual
    told = f"{name.replace('_f1', '-F1').replace('_', ' ')} {ui.with_interval(metrics[name])} · " if name else ""
    return f"{told}{ui.count_of(len(card.get('labels', ())), 'label')}"


def _recent_datasets(stock: Stock) -> None:
    st.subheader("Datasets", anchor=False)
    if not stock.datasets:
        ui.empty("No dataset yet.", "Add a dataset", "pages/datasets.py", {"add": "1"})
    for card in stock.datasets[:RECENT]:
        labels = ui.count_of(len(card["labels"]), "label") if card["labels"] else "no labels"
        told = f"{ui.count_of(int(card['n_rows']), 'row')} · {labels}"
        _entry("pages/datasets.py", str(card["name"]), "🗂️", {"dataset": str(card["id"])}, told)
    if len(stock.datasets) > RECENT:
        ui.link(f"All {len(stock.datasets):,} datasets", "pages/datasets.py")
