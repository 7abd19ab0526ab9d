"""Planning a run: dataset, the number to beat, method, pre-flight, start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from medbench import datasets, preflight, runs, ui
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.families import Family, families_for, get_family
from medbench.preflight import Preflight
from medbench.records import RunSpec
from medbench.ui_train import draw_scores, open_run
from medbench.workspace import Workspace

_CUT_A_LOT = 0.1  # share of texts that are cut, from which on it is said in words


def choose_dataset(workspace: Workspace) -> Dataset | None:
    """Let the user choose a dataset; say what to do when there is none to train on."""
    cards = datasets.list_datasets(workspace)
    if not cards:
        ui.empty("There is no dataset yet. Add labelled texts first.", "Add a dataset", "pages/datasets.py")
        return None
    ids = [str(card["id"]) for card in cards]
    _choose_asked(cards, ids)
    names = {str(card["id"]): _dataset_words(card) for card in cards}
    chosen = st.selectbox(
        "Dataset",
        ids,
        format_func=names.__getitem__,
        key="train_dataset",
        help="What to learn from.",
        persist_state="session",
    )
    dataset = datasets.load(workspace, chosen)
    if dataset.labels:
        return dataset
    words = f"**{ui.plain(dataset.name)}** has no labels. It can be classified, not trained on."
    ui.empty(words, "Classify it", "pages/classify.py")
    return None


def _choose_asked(cards: list[dict[str, Any]], ids: list[str]) -> None:
    """Take the dataset named in the address or by a YAML, by id or by name."""
    asked = st.query_params.get("dataset") or st.session_state.get("train_dataset")
    if "dataset" in st.query_params:
        del st.query_params["dataset"]
    if asked is None:
        return
    found = asked if asked in ids else next((str(card["id"]) for card in cards if card["name"] == asked), None)
    if found is None:
        st.warning(f"There is no dataset {ui.plain(repr(asked))} here. Choose another one.")
        st.session_state.pop("train_dataset", None)
    else:
        st.session_state["train_dataset"] = found


def _dataset_words(card: dict[str, Any]) -> str:
    labels = ui.count_of(len(card["labels"]), "label")
    return f"{card['name']} · {ui.count_of(card['n_rows'], 'row')} · {labels} · {card['id']}"


def draw_baseline(workspace: Workspace, dataset: Dataset) -> None:
    """Show what majority and keywords reach, and offer a linear model at one click."""
    with st.container(border=True):
        st.markdown("**The number to beat**")
        with st.spinner("Scoring the two trivial answers…"):
            try:
                found = preflight.baseline(dataset)
            except MedbenchError as error:
                ui.show_error(error)
                return
        draw_scores(
            {"Always the most frequent label": found["majority"], "Keywords learnt from the rows": found["keywords"]}
        )
        line, button = st.columns([3, 1], vertical_alignment="center")
        line.caption(f"Measured on {found['judged_on']}. The test split stays closed until a run is judged.")
        if button.button(
            "Run linear now", key="train_quick", help="Start a TF-IDF + linear model with its default options. Seconds."
        ):
            spec = RunSpec(
                task=dataset.task, family="linear", dataset=dataset.id, name=f"linear on {dataset.name}"[:60]
            )
            open_run(runs.start(workspace, spec))


def choose_family(dataset: Dataset) -> Family[Any]:
    """Let the user choose among the methods that suit the dataset, simplest first."""
    suited = families_for(dataset.item, dataset.answer)
    if dataset.task != "icd":
        suited = [family for family in suited if not family.for_codes]
    names = [family.name for family in suited]
    asked = st.session_state.get("train_family")
    if asked not in names:
        st.session_state.pop("train_family", None)
        if asked is not None:
            st.info(f"{get_family(asked).title} does not suit this dataset: choose another method.")
    if "train_family" not in st.session_state:
        st.session_state["train_family"] = "linear" if "linear" in names else names[0]
    chosen = st.radio(
        "Method",
        names,
        format_func=lambda name: get_family(name).title,
        captions=[family.summary for family in suited],
        key="train_family",
        help="Simplest first. Start with a simple one: it is the number the others must beat.",
    )
    return get_family(chosen)


def draw_start(workspace: Workspace, spec: RunSpec) -> None:
    """Show the pre-flight check, the start button, and the run as command and YAML."""
    found = _checked(str(workspace.data), workspace, runs.to_yaml(spec))
    _draw_preflight(found)
    if st.button(
        "Start the run",
        key="train_start",
        type="primary",
        disabled=not found.ready,
        shortcut="ctrl+shift+enter",  # Ctrl + Enter alone applies what is typed into a text area of the form
        help="The run works on its own: you may close this page.",
    ):
        open_run(runs.start(workspace, spec))
    with st.expander("The same run as a command or as YAML", key="train_repeat"):
        st.caption("In a terminal:")
        st.code(runs.command_line(spec), language="bash", wrap_lines=True)
        st.caption("As a file, for `medbench train run.yaml`:")
        st.code(runs.to_yaml(spec), language="yaml")


@st.cache_data(ttl=60, max_entries=64, show_spinner="Checking…")
def _checked(place: str, _workspace: Workspace, yaml: str) -> Preflight:
    return preflight.check(_workspace, runs.parse_spec(yaml))


def _draw_preflight(found: Preflight) -> None:
    with st.container(border=True):
        st.markdown("**Before the start**")
        about = "about " if found.seconds is not None else ""
        ui.facts(
            {
                "Time": about + ui.duration(found.seconds),
                "Memory": ui.size(found.memory),
                "Disk": ui.size(found.disk),
                "Texts cut": ui.share(found.cut),
                "Device": found.device,
            }
        )
        if found.cut >= _CUT_A_LOT:
            st.caption(
                f"✂️ {ui.share(found.cut)} of the texts are longer than what is read of them. "
                "With a higher limit of tokens or words more is read, and it takes longer."
            )
        for problem in found.problems:
            st.error(ui.plain(problem))
        for note in found.notes:
            st.caption(f"ℹ️ {ui.plain(note)}")
        if found.ready:
            st.caption("✅ Nothing stands against it.")
