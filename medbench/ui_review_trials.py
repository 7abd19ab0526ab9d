"""Simulating a review on the Review page: what would the ranking have saved on a dataset whose labels are known?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import review_trials, ui
from medbench.datasets import list_datasets
from medbench.families import get_family
from medbench.review_choosing import STRATEGIES
from medbench.review_learning import FAMILIES
from medbench.review_simulation import Asked, Replays
from medbench.review_trials import Trial
from medbench.ui_review import STRATEGY_NAMES
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import altair
    import pandas as pd

_EVERY = 1.0  # seconds between two looks at a living one
_SHARE_TOLD = 0.05  # before that, the time left is a guess
_USUAL_SHARE = 0.05  # of the records of a systematic review that are relevant, roughly
_CHOSEN = "trial_chosen"
_WANTED = "trial_wanted"


def draw(workspace: Workspace) -> None:
    """Draw what is to be simulated, and what came out of those begun before."""
    st.caption(
        "A dataset whose labels are known is read again as a reader would who follows the ranking. It shows what the "
        "ranking is worth on such records before anybody reads."
    )
    cards = {
        str(card["id"]): card for card in list_datasets(workspace) if card["item"] == "text" and card.get("labels")
    }
    if not cards:
        ui.empty("No labelled dataset of texts yet.", "Add a dataset", "pages/datasets.py", {"add": "1"})
    else:
        _ask(workspace, cards)
    trials = review_trials.list_trials(workspace)
    if trials:
        _draw_chosen(workspace, trials, cards)


def _ask(workspace: Workspace, cards: dict[str, dict[str, Any]]) -> None:
    left, right = st.columns(2)
    dataset = left.selectbox(
        "Dataset", list(cards), key="trial_dataset", help="Its labelled rows are replayed.",
        format_func=lambda one: f"{cards[one]['name']} · {ui.count_of(int(cards[one]['n_labelled']), 'row')}",
    )  # fmt: skip
    label = right.selectbox(
        "Relevant is", cards[dataset]["labels"], key=f"trial_label_{dataset}", index=_typical(cards[dataset]),
        format_func=lambda one: _label_words(cards[dataset], one),
        help="All other rows are irrelevant. First comes the label that is about as rare as what reviews look for.",
    )  # fmt: skip
    left, right = st.columns(2)
    strategy = left.selectbox(
        "Order", STRATEGIES, index=STRATEGIES.index("certainty"), format_func=STRATEGY_NAMES.__getitem__,
        key="trial_strategy", help="How the next record is chosen.",
    )  # fmt: skip
    family = right.selectbox(
        "Who ranks", FAMILIES, format_func=lambda one: get_family(one).title, key="trial_family",
        help="Linear is done in a minute or two for some thousand records; sentence vectors take far longer.",
    )  # fmt: skip
    with st.expander("More options"):
        starts = st.number_input(
            "Starts", 1, 20, 3, key="trial_starts",
            help="Each begins with one relevant and one irrelevant record, drawn anew. More show what luck does.",
        )  # fmt: skip
        every = st.number_input(
            "Learn again after (records)", 1, 500, 10, key="trial_every", help="1 is a real review, and slowest."
        )
    if st.button("Simulate", key="trial_go", type="primary", help="In the background; you may close this page."):
        with ui.guarded():
            asked = Asked(dataset, str(label), strategy, family, int(every), int(starts))
            st.session_state[_WANTED] = review_trials.start(workspace, asked)
            st.rerun()


def _typical(card: dict[str, Any]) -> int:
    """Return which of a dataset's labels is nearest to the share that a usual review is after."""
    classes, n = _classes(card), max(int(card["n_labelled"]), 1)
    apart = [abs(classes.get(label, 0) / n - _USUAL_SHARE) for label in card["labels"]]
    return apart.index(min(apart))


def _label_words(card: dict[str, Any], label: str) -> str:
    name, count = str((card.get("label_names") or {}).get(label, label)), _classes(card).get(label)
    return name if count is None else f"{name} · {ui.count_of(count, 'row')}"


def _classes(card: dict[str, Any]) -> dict[str, int]:
    return dict(card.get("profile", {}).get("classes", {}))


def _draw_chosen(workspace: Workspace, trials: list[Trial], cards: dict[str, dict[str, Any]]) -> None:
    st.divider()
    names = {trial.id: _name(trial, cards) for trial in trials}
    wanted = st.session_state.pop(_WANTED, None)
    if wanted in names or st.session_state.get(_CHOSEN) not in names:
        st.session_state[_CHOSEN] = wanted if wanted in names else trials[0].id
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Simulation", list(names), format_func=names.__getitem__, key=_CHOSEN, help="Newest first.")
    trial = next(one for one in trials if one.id == chosen)
    if trial.alive:
        st.fragment(_draw_living, run_every=_EVERY)(workspace, trial.id)
        return
    with right.popover("🗑️ Delete", help="Asks before it deletes."):
        st.markdown("This simulation and its result are removed. It can be begun again.")
        if st.button("Yes, delete", key="trial_delete", type="primary", help="There is no way back."):
            review_trials.delete(workspace, trial.id)
            st.rerun()
    if trial.state == "finished":
        _draw_found(review_trials.result(workspace, trial.id), trial, _label(trial, cards))
    elif trial.state == "cancelled":
        st.info("Stopped before there was a result.")
    elif trial.state == "failed":
        st.error(ui.plain(str(trial.last.get("sentence", "The simulation failed."))))
    else:
        st.error("Its process died without a word: the machine was restarted, or ran out of memory. Begin it again.")


def _label(trial: Trial, cards: dict[str, dict[str, Any]]) -> str:
    names = cards.get(trial.asked.dataset, {}).get("label_names") or {}
    return str(names.get(trial.asked.label, trial.asked.label))


def _name(trial: Trial, cards: dict[str, dict[str, Any]]) -> str:
    dataset = str(cards.get(trial.asked.dataset, {}).get("name", trial.asked.dataset))
    order, who = STRATEGY_NAMES[trial.asked.strategy], get_family(trial.asked.family).title
    return f"{dataset} · {_label(trial, cards)} · {order} · {who} · {ui.when(trial.created)}"


def _draw_living(workspace: Workspace, trial_id: str) -> None:
    with ui.guarded():
        trial = review_trials.get(workspace, trial_id)
        if not trial.alive:
            st.rerun()
        share, took = float(trial.last.get("share", 0.0)), time.time() - trial.created
        told = str(trial.last.get("sentence", "")) or "Starting."
        if share > _SHARE_TOLD:
            told += f" About {ui.duration(took / share - took)} left."
        st.progress(min(share, 1.0), ui.plain(told))
        if trial.last["kind"] == "stopping":
            st.caption("Stopping.")
        elif st.button("Stop", key="trial_stop", help="Nothing is kept of a simulation that was stopped."):
            review_trials.stop(workspace, trial_id)
            st.rerun(scope="fragment")


def _draw_found(found: Replays, trial: Trial, label: str) -> None:
    import pandas as pd

    told = review_trials.sentence(found, label)
    st.markdown(f"**{ui.plain(told)}**")
    st.altair_chart(_chart(_long(found)), key="trial_chart", height=300)
    st.caption(
        "Work saved over sampling at 95 % recall (Cohen et al. 2006): the share that need not be read, less 5 points."
    )
    frame = pd.DataFrame(
        {
            "start": int(one["seed"] or 0) + 1,
            "read for 95 %": one["read_for_95"],
            "work saved": ui.share(one["saved_at_95"]),
            "found after a tenth": ui.share(one["recall_at_10_percent"]),
            "stop advice after": ui.number(one["stop_at"]) if one["stop_at"] else "never",
            "found by then": ui.share(one["recall_at_stop"]),
        }
        for one in found.replays
    )
    st.dataframe(frame, hide_index=True, key="trial_table")
    with st.container(horizontal=True):
        ui.download("Curve (CSV)", lambda: ui.csv_bytes(_wide(found)), f"simulation-{trial.id}.csv", "trial_csv")
        ui.export(frame, f"simulation-{trial.id}-starts", "trial_starts_table")


def _wide(found: Replays) -> pd.DataFrame:
    """Return the curve as a table: shares read, and found from each start."""
    import pandas as pd

    points = review_trials.curve(found)
    return pd.DataFrame(points, columns=["read", *(f"start {at}" for at in range(1, points.shape[1]))]).round(4)


def _long(found: Replays) -> pd.DataFrame:
    wide = _wide(found).assign(**{"at random": lambda table: table["read"]})
    return wide.melt("read", var_name="order", value_name="found")


def _chart(points: pd.DataFrame) -> altair.LayerChart:
    import altair
    import pandas as pd

    shares = altair.Axis(format="%")
    order = altair.Color(
        "order:N", title=None, sort=None, legend=altair.Legend(orient="right"),
        scale=altair.Scale(scheme="tableau10"),
    )  # fmt: skip
    lines = (
        altair.Chart(points)
        .mark_line()
        .encode(
            x=altair.X("read:Q", title="records read", axis=shares),
            y=altair.Y("found:Q", title="relevant ones found", axis=shares),
            color=order,
            tooltip=["order", altair.Tooltip("read:Q", format=".1%"), altair.Tooltip("found:Q", format=".1%")],
        )
    )
    target = altair.Chart(pd.DataFrame({"found": [review_trials.TARGET]})).mark_rule(strokeDash=[4, 4], opacity=0.6)
    chart: altair.LayerChart = lines + target.encode(y="found:Q")
    return chart
