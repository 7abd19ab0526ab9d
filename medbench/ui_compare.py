"""What the parts of the Compare page share: the loaded comparison, names, colours, tables and plots that can leave."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medbench import comparing, comparing_judged, ui
from medbench.comparing import Comparison
from medbench.comparing_judged import Answered, JudgedItems
from medbench.squares import COLOURS
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

SEED = 7
GREY = "#8a8f98"
HEIGHT = 420
CAMERAS = ("SVG", "PNG")


@dataclass(frozen=True)
class Compared:
    """What the page has loaded.

    Attributes:
        comparison: The chosen models, resampled together.
        items: Groups of the judged items, and the label shares of the train split.
        majority: The dullest rule on the same items.
        label_names: Label -> what the user reads.
    """

    comparison: Comparison
    items: JudgedItems
    majority: Answered
    label_names: Mapping[str, str]

    @property
    def models(self) -> tuple[Answered, ...]:
        """The chosen models."""
        return self.comparison.models

    @property
    def names(self) -> dict[str, str]:
        """Model id -> what the user reads."""
        return self.comparison.names

    def colour(self, model_id: str) -> str:
        """Return the colour a model has in every plot."""
        place = [model.id for model in self.models].index(model_id)
        return COLOURS[place % len(COLOURS)]

    def name_of(self, label: str) -> str:
        """Return what the user reads for a label: "C04 Neoplasms" when its name is another word."""
        name, short = self.label_names.get(label, label), self.short(label)
        return short if name == label else f"{short} {name}"

    def short(self, label: str) -> str:
        """Return a label without its code system, unless two systems have that code: "R52" for "icd10cm:R52"."""
        code = label.partition(":")[2]
        return code if self._codes[code] == 1 else label

    @cached_property
    def _codes(self) -> Counter[str]:
        return Counter(code for label in self.models[0].labels if (code := label.partition(":")[2]))


def load(workspace: Workspace, ids: Sequence[str]) -> Compared:
    """Return the models resampled together; models never change, so this is computed once for a tree of labels."""
    with st.spinner("Resampling the test items…", show_time=False):
        return _loaded(str(workspace.models), tuple(ids), comparing_judged.tree_mark(workspace, ids[0]), workspace)


@st.cache_resource(max_entries=8, show_spinner=False)
def _loaded(folder: str, ids: tuple[str, ...], tree: str, _workspace: Workspace) -> Compared:
    models = [comparing_judged.answered(_workspace, name) for name in ids]
    items = comparing_judged.items_of(_workspace, models[0])
    rng = np.random.default_rng(SEED)
    found = comparing.compare(models, items.groups, rng=rng, tree=items.tree)
    names = {str(label): str(name) for label, name in models[0].card.get("label_names", {}).items()}
    return Compared(found, items, comparing_judged.majority(models[0], items), names)


def choose_model(compared: Compared, label: str, key: str, at: int = 0) -> Answered:
    """Draw the choice of one of the chosen models."""
    models = {model.id: model for model in compared.models}
    ids = list(models)
    picked = st.selectbox(
        label,
        ids,
        index=min(at, len(ids) - 1),
        format_func=compared.names.__getitem__,
        key=key,
        help="One of the runs.",
    )
    return models[picked or ids[0]]


def choose_label(
    compared: Compared, key: str, help: str, labels: Sequence[str] | None = None, title: str = "Label"
) -> str | None:
    """Draw the choice of one label; the most frequent ones of the judged items come first. None when there is none."""
    truth = compared.models[0].truth
    order = np.argsort(-truth.sum(axis=0), kind="stable")
    known = [compared.models[0].labels[at] for at in order]
    offered = [label for label in known if labels is None or label in labels]
    picked: str | None = st.selectbox(title, offered, format_func=compared.name_of, key=key, help=help)
    return picked


def no_plots_yet() -> None:
    """Say that the page is drawn anew: the camera's choice is offered only behind plots."""
    st.session_state["compare_plots"] = 0


def log_axis(figure: Figure, values: Iterable[float], words: Callable[[float], str] = ui.number) -> None:
    """Give a figure a logarithmic x axis with ticks at 1, 2 and 5 of each power of ten around these values (> 0).

    Args:
        figure: What gets the axis.
        values: What is drawn along it.
        words: How a tick is written.
    """
    held = [value for value in values if value > 0]
    figure.update_xaxes(type="log")
    if not held:
        return
    powers = range(math.floor(math.log10(min(held))), math.ceil(math.log10(max(held))) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    shown = [tick for tick in ticks if min(held) / 2.5 <= tick <= max(held) * 2.5]
    figure.update_xaxes(tickmode="array", tickvals=shown, ticktext=[words(tick) for tick in shown])


def signed(value: float) -> str:
    """Return a difference with three decimals, a true minus sign, and no minus before zero."""
    return f"{value:z.3f}".replace("-", "−")


def beside(key: str) -> DeltaGenerator:
    """Return a row whose containers stand side by side, and one below the other where the page is narrow.

    Args:
        key: Tells it from other rows; `ui.STYLE` knows keys that begin with "beside".
    """
    return st.container(horizontal=True, key=f"beside_{key}")


def plot(figure: Figure, name: str, key: str, height: int = HEIGHT, sides: int = 10) -> None:
    """Draw a plot; its camera button saves it as a picture, the button below as a page that works alone."""
    margin = {"l": sides, "r": sides, "t": 40, "b": max(10, sides // 2)}
    # The legend lies on the plot's lower edge whatever its height: measured in heights it would leave a tall one.
    legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
    figure.update_layout(height=height, margin=margin, legend=legend)
    figure.update_xaxes(automargin=True).update_yaxes(
        automargin=True
    )  # the theme of the app does, a page alone does not
    kind = str(st.session_state.get("compare_camera") or CAMERAS[0]).lower()
    camera = {"format": kind, "filename": name, "scale": 2 if kind == "png" else 1}
    st.session_state["compare_plots"] = st.session_state.get("compare_plots", 0) + 1
    st.plotly_chart(figure, key=key, config={"displaylogo": False, "toImageButtonOptions": camera})
    ui.download("Plot as HTML", lambda: page_of(figure), f"{name}.html", f"{key}_html", "text/html")


def draw_camera() -> None:
    """Draw the choice of what a plot's camera button saves, where there are plots."""
    if st.session_state.get("compare_plots"):
        st.segmented_control(
            "The camera above each plot saves",
            CAMERAS,
            default=CAMERAS[0],
            required=True,
            key="compare_camera",
            help="SVG for print; as you see it, so switch to the light theme first.",
            persist_state="session",
        )


def page_of(figure: Figure) -> bytes:
    """Return a plot as one HTML page that needs no network."""
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page.encode()
