"""What the parts of the Lesions page share: choosing models, facts about the patient, reading, drawing an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from medbench import aliases, lesion_reading, predicting, ui
from medbench.lesion_reading import LesionReading, Picture
from medbench.lesion_similar import Similar
from medbench.predicting import Loaded
from medbench.records import LabelScore
from medbench.tasks.lesion import MALIGNANT
from medbench.workspace import Workspace

SEXES = ("female", "male")
SITES = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
)
STYLE = """<style>
.mb-ddx {display: flex; flex-wrap: wrap; gap: .15rem .7rem; align-items: end; font-size: .95rem;}
.mb-ddx > div:first-child, .mb-ddx > .mb-prob + div {flex: 1 1 8rem;}
.mb-ddx .mb-yes {font-weight: 600;}
.mb-ddx .mb-no {opacity: .78;}
.mb-prob {flex: 0 0 100%; position: relative; height: .6rem; margin-bottom: .5rem;
  background: rgba(128, 128, 128, .18); border-radius: .2rem;}
.mb-prob span {position: absolute; inset: 0 auto 0 0; border-radius: .2rem; background: rgba(128, 128, 128, .6);}
.mb-prob.mb-full span {background: #0b7a86;}
.mb-prob i {position: absolute; top: 50%; height: 2px; margin-top: -1px; background: currentColor;}
.mb-num {font-variant-numeric: tabular-nums; white-space: nowrap;}
.mb-red {color: #b3261e; font-weight: 600;}
@media (prefers-color-scheme: dark) {.mb-red {color: #f2a19b;}}
</style>"""


def choose_models(workspace: Workspace) -> list[str]:
    """Let the user choose a model for pictures, and a second one beside it. Empty when there is none; loads nothing."""
    models = {str(card["id"]): card for card in predicting.list_models(workspace) if card.get("item") == "image"}
    cards = aliases.offered(workspace, models)
    if not cards:
        ui.empty(
            "There is no lesion model yet. Import pictures with their diagnoses, then train one.",
            "Import pictures",
            "pages/datasets.py",
            {"add": "1"},
        )
        return []
    asked = st.query_params.get("model")
    if asked in cards:
        st.session_state["lesion_model"] = asked
        del st.query_params["model"]
    for key in ("lesion_model", "lesion_second"):
        if st.session_state.get(key) not in cards:
            st.session_state.pop(key, None)
    first, second = st.columns(2)
    chosen = first.selectbox(
        "Model",
        list(cards),
        format_func=lambda name: _model_words(cards[name]),
        key="lesion_model",
        help="Who answers: first the champions of jobs, then all models, newest first, shipped ones last.",
        persist_state="session",
    )
    beside = second.selectbox(
        "Beside it",
        [name for name in models if name != cards[chosen]["id"]],
        index=None,
        placeholder="a second model, to compare",
        format_func=lambda name: _model_words(cards[name]),
        key="lesion_second",
        help="A second opinion on the same picture.",
        disabled=len(models) < 2,
        persist_state="session",
    )
    return [chosen] if beside is None else [chosen, beside]


def _model_words(card: Mapping[str, Any]) -> str:
    figure = (card["metrics"].get("balanced_accuracy") or {}).get("value")
    return f"{card['name']} · balanced accuracy {ui.score(figure)}"


def draw_origin(loaded: Loaded) -> None:
    """Say in small print what a model learnt from and how well it did."""
    dataset, figure = loaded.card.get("dataset", {}), loaded.card["metrics"].get("balanced_accuracy")
    st.caption(
        f"Learnt from {ui.plain(str(dataset.get('name', '?')))}, {dataset.get('n_rows', 0):,} pictures. "
        f"Balanced accuracy {ui.with_interval(figure)}, measured on {ui.plain(str(loaded.card.get('judged_on', '?')))}."
    )


def ask_facts(known: Mapping[str, str], key: str) -> dict[str, str]:
    """Draw the boxes for age, sex and site, filled with what is known; returns what stands in them."""
    years = st.number_input(
        "Age",
        min_value=0,
        max_value=120,
        value=int(float(known["age"])) if known.get("age") else None,
        key=f"lesion_age_{key}",
        help="Of the patient, years. May stay empty.",
        placeholder="years",
    )
    man = st.selectbox(
        "Sex",
        SEXES,
        index=_at(SEXES, known.get("sex")),
        placeholder="unknown",
        key=f"lesion_sex_{key}",
        help="May stay empty.",
    )
    sites = SITES if known.get("site", "") in ("", *SITES) else (*SITES, known["site"])
    place = st.selectbox(
        "Site",
        sites,
        index=_at(sites, known.get("site")),
        placeholder="unknown",
        key=f"lesion_site_{key}",
        help="Where on the body. May stay empty.",
    )
    told = {"age": "" if years is None else str(years), "sex": man or "", "site": place or ""}
    return {name: value for name, value in told.items() if value}


def _at(options: Sequence[str], value: str | None) -> int | None:
    return options.index(value) if value in options else None


def key_of(loaded: Loaded, picture: Picture) -> tuple[str, str, str, str]:
    """Return what an answer depends on: the model, the picture's bytes (its path is their hash), its name and facts."""
    changed = (loaded.folder / "model.json").stat().st_mtime_ns
    return f"{loaded.folder}@{changed}", picture.path.name, picture.name, str(sorted(picture.facts.items()))


def read(workspace: Workspace, loaded: Loaded, picture: Picture) -> LesionReading:
    """Return the reading of one picture, kept by model and picture."""
    return _read(key_of(loaded, picture), workspace, loaded, picture)


@st.cache_data(max_entries=500, show_spinner="Looking at the picture…")
def _read(key: tuple[str, ...], _workspace: Workspace, _loaded: Loaded, _picture: Picture) -> LesionReading:
    return lesion_reading.read_picture(_workspace, _loaded, _picture.path, _picture.facts, _picture.name)


# --- one answer ------------------------------------------------------------------------------------------------


def draw_answer(loaded: Loaded, reading: LesionReading, heading: str = "") -> None:
    """Draw what a model says of a picture: what to mind first, then the ranked differential.

    Args:
        loaded: The model that answered.
        reading: What it said.
        heading: Stands above, to tell two models apart.
    """
    if heading:
        st.markdown(f"**{ui.plain(heading)}**")
    if reading.prediction.problem:
        st.warning(ui.plain(reading.prediction.problem))
        return
    minded = lesion_reading.to_mind(loaded, reading)
    if minded:
        with st.container(border=True):
            st.markdown("  \n".join(f"⚠️ {ui.plain(sentence)}" for sentence in minded))
    st.html(differential(reading))
    st.caption("  \n".join(ui.plain(sentence) for sentence in lesion_reading.of_this(loaded, reading)))
    ui.behind(lesion_reading.of_all(loaded))
    draw_origin(loaded)


def differential(reading: LesionReading) -> str:
    """Return the classes as HTML bars, most probable first, the spread as a line across the bar's end."""
    rows = []
    for score in sorted(reading.prediction.labels, key=lambda score: -score.probability):
        kind, spread = ("mb-yes" if score.chosen else "mb-no"), reading.spread.get(score.label, 0.0)
        low, high = max(score.probability - spread, 0.0), min(score.probability + spread, 1.0)
        rows.append(
            f'<div class="{kind}">{"✓ " if score.chosen else ""}{ui.escape(score.name)}{_mark(score)}</div>'
            f'<div class="mb-num {kind}">{score.probability:.2f} ± {spread:.2f}</div>'
            f'<div class="mb-prob {"mb-full" if score.chosen else ""}">'
            f'<span style="width: {score.probability * 100:.1f}%"></span>'
            f'<i style="left: {low * 100:.1f}%; width: {(high - low) * 100:.1f}%"></i></div>'
        )
    return f'{STYLE}<div class="mb-ddx">{"".join(rows)}</div>'


def _mark(score: LabelScore) -> str:
    return ' <span class="mb-red" title="cancer or its precursor">malignant</span>' if score.label in MALIGNANT else ""


def draw_similar(loaded: Loaded, similar: Sequence[Similar], note: str) -> None:
    """Draw the training lesions that look most alike to the model, as pictures or in words, and what is missing."""
    if not similar:
        st.info(ui.plain(note))
        return
    for place, one in zip(st.columns(max(len(similar), 5)), similar, strict=False):
        names = ", ".join(loaded.name_of(label) for label in one.labels) or "no diagnosis"
        with place:
            if one.path is not None:
                st.image(str(one.path), width="stretch")
            st.markdown(f"**{ui.plain(names)}**")
            how = f"confirmed by {one.confirmed}  \n" if one.confirmed else ""
            st.caption(f"{how}{ui.plain(one.id)}  \n{one.words} · similarity {one.similarity:.2f}")
    if note:
        st.caption(ui.plain(note))
