"""Which model is in use: promote one for a job, roll back, try a challenger, and see how the two fare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import streamlit as st

from medbench import aliases, appointing, contest, predicting, promoting, ui, ui_accepted
from medbench.aliases import CROWN, Job
from medbench.errors import MedbenchError
from medbench.promoting import Check
from medbench.workspace import Workspace

_FEW = 5
_KEPT_CHECKS = 32
_ACTS = {
    "promote": "promoted",
    "roll back": "brought back",
    "challenge": "tried as challenger",
    "withdraw": "trial ended",
}


def draw_in_use(workspace: Workspace, cards: Mapping[str, Mapping[str, Any]], key: str = "deploy") -> None:
    """Draw the promotion of one of these models, and the jobs that models of their tasks answer for.

    Args:
        workspace: Where models and jobs lie.
        cards: Model id -> card, those that may be promoted here.
        key: Prefix of the widget keys.
    """
    st.caption(
        "A **job** is a standing question. Its **champion** answers wherever you choose the job, or write @ and its "
        "name in place of a model's id."
    )
    if cards:
        draw_promotion(workspace, cards, key)
    tasks = {str(card.get("task")) for card in cards.values()}
    shown = [job for job in aliases.jobs(workspace) if not cards or job.task in tasks]
    st.subheader("Jobs", anchor=False)
    if not shown:
        ui.empty("No model is in use under a name yet. Promote one above.")
    for job in _chosen(shown, key):
        with st.container(border=True), ui.guarded():
            _draw_job(workspace, job, f"{key}_{job.name}")


def _chosen(jobs: list[Job], key: str) -> list[Job]:
    """Return the jobs to draw: all of a few, one chosen of many; the one that changed last comes first."""
    if len(jobs) <= _FEW:
        return jobs
    known = {job.name: job for job in sorted(jobs, key=lambda job: -(job.moves[-1].at if job.moves else 0))}
    name = st.selectbox(
        f"One of {len(jobs):,} jobs",
        list(known),
        key=_shown_key(key),
        help="The one that changed last comes first. Type to search.",
    )
    return [known[name or next(iter(known))]]


def _shown_key(key: str) -> str:
    return f"{key}_shown_job"


# --- promoting -------------------------------------------------------------------------------------------------


def draw_promotion(workspace: Workspace, cards: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """Draw the choice of a model and a job, what the check says, and the button."""
    first, second = st.columns(2)
    ids = list(cards)
    model = first.selectbox(
        "Model",
        ids,
        format_func=lambda name: str(cards[name]["name"]),
        key=f"{key}_model",
        help="Who is to answer.",
        disabled=len(ids) < 2,
    )
    default = aliases.default_name(cards[model])
    name = second.text_input(
        "Job",
        placeholder=default,
        key=f"{key}_job",
        help=f"Lower-case letters, digits and dashes; empty means {default}. A new name makes a new job.",
    )
    with ui.guarded():
        job = next((one for one in aliases.jobs(workspace) if one.name == (name or default)), None)
        if job is not None and job.champion == model:
            st.info(f"{CROWN} It is the champion of {ui.plain(job.alias)} already.")
            return
        found = _check(workspace, model, name or default)
        _draw_check(workspace, found)
        anyway = found.warns and st.checkbox(
            "Promote it all the same", key=f"{key}_anyway", help="The reason you give is kept with the change."
        )
        who, why = _asked_for(key)
        if st.button(
            f"{CROWN} Promote",
            key=f"{key}_promote",
            type="primary",
            disabled=found.warns and not anyway,
            help="From now on it answers for the job. You can roll back at any time.",
        ):
            with _asking() as tell:
                promoting.promote(workspace, model, found.job, who=who, why=why, anyway=bool(anyway), tell=tell)
            st.session_state[_shown_key(key)] = found.job  # drawn further below: it may be set here
            st.rerun()


def _check(workspace: Workspace, model: str, name: str) -> Check:
    path = aliases.path_of(workspace)
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    kept, key = _checks(), (str(workspace.models), model, name, stamp)
    if key not in kept:
        with _asking() as tell:
            found = promoting.check(workspace, model, name, tell)
        while len(kept) >= _KEPT_CHECKS:
            kept.pop(next(iter(kept)))
        kept[key] = found
    return kept[key]


@contextmanager
def _asking() -> Iterator[promoting.Tell]:
    """Yield what moves a bar by the test items that models have answered, of all that they are asked."""
    bar = st.progress(0.0, "Comparing both on the same test items…")
    draw = ui.teller(bar)
    try:
        yield lambda done, asked: draw(done / asked, f"{done:,} of {asked:,} answers to items that neither had seen…")
    finally:
        bar.empty()


@st.cache_resource
def _checks() -> dict[tuple[str, str, str, int], Check]:
    """Return the checks made so far; kept here and not by Streamlit, which replays what is drawn while it computes."""
    return {}


def _draw_check(workspace: Workspace, found: Check) -> None:
    champion = _name(workspace, found.champion)
    words = found.sentence.replace(found.champion, champion) if found.champion else found.sentence
    draw = st.warning if found.warns else st.success if found.verdict == "better" else st.info
    draw(ui.plain(words))


def _asked_for(key: str) -> tuple[str, str]:
    """Draw who does it and why; return both."""
    first, second = st.columns([1, 3])
    who = first.text_input(
        "Your name", key=f"{key}_who", help="Kept with the change; may stay empty.", persist_state="session"
    )
    why = second.text_input("Reason", key=f"{key}_why", help="Kept with the change; may stay empty.")
    return who or "", why or ""


# --- one job ---------------------------------------------------------------------------------------------------


def _draw_job(workspace: Workspace, job: Job, key: str) -> None:
    st.markdown(f"**{ui.plain(job.alias)}** · {CROWN} champion **{ui.plain(_name(workspace, job.champion))}**")
    if job.challenger is not None:
        how = (
            f"for {ui.share(job.challenger.share)} of what is asked"
            if job.challenger.share
            else "unseen, on all that is asked"
        )
        st.markdown(f"🥊 challenger **{ui.plain(_name(workspace, job.challenger.model))}**, {how}")
    fared = contest.fared(workspace, job)
    if fared is not None:
        for sentence in fared.sentences(lambda model: _name(workspace, model)):
            st.markdown(f"- {ui.plain(sentence)}")
    with st.container(horizontal=True):
        _draw_acts(workspace, job, key)
    ui_accepted.draw_folded(workspace, job.champion, key)
    with st.expander(f"History: {ui.count_of(len(job.moves), 'change')}", key=f"{key}_history"):
        _draw_moves(workspace, job, key)


def _draw_acts(workspace: Workspace, job: Job, key: str) -> None:
    with st.popover(
        "↩️ Roll back",
        disabled=not job.earlier,
        help="Bring back the champion before this one." if job.earlier else "It has had no other champion.",
    ):
        if job.earlier:
            st.markdown(f"**{ui.plain(_name(workspace, job.earlier[-1]))}** would answer again.")
            who, why = _asked_for(f"{key}_back")
            _button("Roll back", f"{key}_back_go", partial(appointing.roll_back, workspace, job.name, who=who, why=why))
    if job.challenger is not None:
        end = partial(appointing.withdraw, workspace, job.name)
        _button("End the trial", f"{key}_withdraw", end, "The challenger answers no more; its answers stay.")
        return
    rivals = {
        str(card["id"]): str(card["name"])
        for card in predicting.list_models(workspace)
        if aliases.vocabulary(card) == job.vocabulary and card["id"] != job.champion
    }
    with st.popover(
        "🥊 Try a challenger",
        disabled=not rivals,
        help="Let another model answer beside the champion." if rivals else "No other model here has the same labels.",
    ):
        if rivals:
            _draw_trial(workspace, job, rivals, key)


def _draw_trial(workspace: Workspace, job: Job, rivals: Mapping[str, str], key: str) -> None:
    rival = st.selectbox(
        "Challenger",
        list(rivals),
        format_func=rivals.__getitem__,
        key=f"{key}_rival",
        help="A model with the same labels.",
    )
    seen = st.radio(
        "How",
        ["shadow", "share"],
        format_func={"shadow": "Unseen, beside the champion", "share": "For a share of what is asked"}.__getitem__,
        key=f"{key}_mode",
        help="Unseen: both answer, the champion's answer is shown and waits for nobody. Share: the same text, note, "
        "file or drop of pictures always goes to the same model.",
    )
    share = 0.0
    if seen == "share":
        share = (
            st.slider(
                "Share, percent", 1, 99, 20, key=f"{key}_share", help="Of texts, notes, files and drops of pictures."
            )
            or 0
        ) / 100
    _button("Begin", f"{key}_begin", partial(appointing.challenge, workspace, rival, job.name, share=share))


def _button(label: str, key: str, act: Callable[[], object], help: str = "") -> None:
    if st.button(label, key=key, help=help or None):
        with ui.guarded():
            act()
            st.rerun()


def _draw_moves(workspace: Workspace, job: Job, key: str) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "when": [ui.when(move.at) for move in job.moves],
            "model": [_name(workspace, move.model) for move in job.moves],
            "what": [_ACTS[move.act] for move in job.moves],
            "who": [move.who for move in job.moves],
            "why": [move.why for move in job.moves],
            "known then": [_figures(move.figures) for move in job.moves],
            "model id": [move.model for move in job.moves],
        }
    ).iloc[::-1]
    st.dataframe(frame, hide_index=True, key=f"{key}_moves")
    ui.download("CSV", lambda: ui.csv_bytes(frame), f"{job.name}.csv", f"{key}_csv", "text/csv")


def _figures(figures: Mapping[str, Any]) -> str:
    if "sentence" in figures:
        return str(figures["sentence"])
    return f"share {figures['share']:.0%}" if figures.get("share") else ""


def _name(workspace: Workspace, model: str) -> str:
    """Return what the user reads of a model; its id when it has been deleted."""
    try:
        return str(aliases.card_of(workspace, model)["name"])
    except (MedbenchError, KeyError):  # deleted or damaged: the id says which model was meant
        return model
