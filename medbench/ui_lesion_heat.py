"""The photograph, untouched and large; one slider away, where a model looked and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import heat_check, lesion_heat, lesion_overlay, lesion_photo, ui
from medbench.errors import MedbenchError
from medbench.heat_check import HeatCheck
from medbench.lesion_heat import Heat, HeatTrust
from medbench.lesion_reading import LesionReading, Picture
from medbench.pictures import open_picture
from medbench.predicting import Loaded
from medbench.ui_lesion import key_of
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 1200
"""Pixels of the longest side that travel to the browser."""
CHECKING = "Comparing this model's heat maps with those of random weights; this is done once."
_FOR_ALL = dict.fromkeys(("eigen-cam", "attention-rollout"), " (the same for every class)")
NOT_CHECKED = "Not compared with random weights: the pictures it would be measured on are not on this machine."


@dataclass(frozen=True, slots=True)
class Seen:
    """A heat map that was asked for: whose, of what, how, and how far it can be trusted."""

    loaded: Loaded
    label: str
    method: str
    heat: Heat
    trust: HeatTrust

    @property
    def check(self) -> HeatCheck | None:
        """Whether such maps depend on what the network learnt; None while that has not been measured."""
        return heat_check.told(self.loaded, self.method)

    @property
    def sentences(self) -> list[str]:
        """How far the map can be trusted: on this picture, and such maps of this model at all."""
        return [self.trust.sentence, *([self.check.sentence] if self.check else [])]

    def words(self) -> str:
        """Return what the map shows, in a few words."""
        return f"{lesion_heat.TITLES.get(self.method, self.method)} for {self.loaded.name_of(self.label)}"


def draw_picture(
    workspace: Workspace, models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading], key: str
) -> None:
    """Draw the picture and the slider that lays a heat map over it.

    Args:
        workspace: Where the pictures lie that heat maps are checked on.
        models: One or two.
        picture: What was read.
        readings: One for each model.
        key: Prefix of the widget keys.
    """
    place = st.container()
    opacity = st.slider(
        "Show where the model looked",
        0,
        100,
        0,
        5,
        format="%d %%",
        key=f"{key}_opacity",
        help="Lays a heat map over the picture. 0 % is the untouched picture.",
    )
    shown = open_shown(picture)
    if not opacity:
        place.image(shown, width="stretch", output_format="PNG")
        return
    maps, outlined = _asked(models, picture, readings, key)
    mask = lesion_photo.outline(shown) if outlined else None
    for seen in maps:
        drawn = lesion_overlay.overlaid(shown, seen.heat, opacity / 100, mask)
        place.image(drawn, _whose(seen) if len(maps) > 1 else None, width="stretch", output_format="PNG")
    _draw_bar()
    apart = _draw_apart(maps)
    for seen in maps:
        if len(maps) > 1:
            st.caption(ui.plain(_whose(seen)))
        st.markdown(ui.plain(seen.trust.sentence))
        _draw_check(workspace, seen)
    ui.download(
        "Picture with heat map (PNG)",
        lambda: lesion_overlay.png_bytes(
            lesion_overlay.sheet(shown, [seen.heat for seen in maps], opacity / 100, _lines(picture, maps, apart))
        ),
        "lesion-heat.png",
        f"{key}_png",
        "image/png",
        help="The untouched picture and what is shown above, side by side.",
    )


def _draw_bar() -> None:
    st.html(
        f'<div style="height: .7rem; border-radius: .2rem; background: {lesion_overlay.css_gradient()}"></div>'
        '<div class="mb-fact" style="display: flex; justify-content: space-between">'
        "<span>little for it</span><span>most for it</span></div>"
    )


def _lines(picture: Picture, maps: Sequence[Seen], apart: str) -> list[str]:
    """Return what is written under the exported pictures."""
    told = [apart] if apart else []
    for seen in maps:
        told += [f"{picture.name}: {seen.words()}, by {_whose(seen)}", *seen.sentences]
    return [line for sentence in (*told, ui.NOTICE) for line in _folded(sentence)]


def _whose(seen: Seen) -> str:
    return str(seen.loaded.card["name"])


def _draw_apart(maps: Sequence[Seen]) -> str:
    """Say how far two models look at the same place; "" for one, or where a map is empty."""
    if len(maps) < 2 or not all(seen.heat.max() > 0 for seen in maps):
        return ""
    sentence = lesion_heat.shared_sentence(lesion_heat.shared(maps[0].heat, maps[1].heat))
    st.markdown(ui.plain(sentence))
    return sentence


def _draw_check(workspace: Workspace, seen: Seen) -> None:
    """Say whether such maps depend on what the network learnt; measured now, under a bar, when it never was."""
    if seen.check is None:
        bar = st.progress(0.0, CHECKING)
        heat_check.ensure(workspace, seen.loaded, lambda share: _tell(bar, share))
        bar.empty()
    st.markdown(ui.plain(seen.check.sentence if seen.check else NOT_CHECKED))


def _tell(bar: st.delta_generator.DeltaGenerator, share: float) -> None:
    bar.progress(min(share, 1.0), CHECKING)


def open_shown(picture: Picture) -> Image.Image:
    """Return the picture as it is shown: RGB, upright, at most `SHOWN` pixels."""
    opened = open_picture(picture.path, picture.name)
    opened.thumbnail((SHOWN, SHOWN))
    return opened


def _asked(
    models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading], key: str
) -> tuple[list[Seen], bool]:
    """Draw the choices; returns the maps of what is chosen, and whether the outline is wanted."""
    chosen = list(range(len(models)))
    if len(models) > 1:
        names = [str(loaded.card["name"]) for loaded in models]
        which = st.segmented_control(
            "Whose",
            range(-1, len(models)),
            default=-1,
            required=True,
            format_func=lambda one: names[one] if one >= 0 else "Both",
            key=f"{key}_whose",
        )
        chosen = chosen if which < 0 else [which]
    asked = [models[at] for at in chosen]
    # Both can only be asked for what both know: the first one's order stands.
    labels = [score.label for score in readings[chosen[0]].prediction.labels]
    labels = [label for label in labels if all(label in loaded.labels for loaded in asked)]
    methods = [lesion_heat.picture_model(loaded).methods() for loaded in asked]
    if not labels:
        raise MedbenchError("two models with a label in common", "none", "Look at one of them alone.")
    left, right = st.columns(2)
    names_of = "_".join(loaded.id for loaded in asked)
    label = left.selectbox(
        "What speaks for",
        labels,
        format_func=asked[0].name_of,
        key=f"{key}_label_{names_of}",
        help="Any class of the model; the decided one stands first.",
    )
    method = right.selectbox(
        "Method",
        [name for name in methods[0] if all(name in others for others in methods)],
        format_func=lambda name: f"{lesion_heat.TITLES.get(name, name)}{_FOR_ALL.get(name, '')}",
        key=f"{key}_method_{names_of}",
        help="Those that fit this network. How far they agree is said below; where they do not, trust none of them.",
    )
    outlined = st.checkbox(
        "Outline of the lesion", key=f"{key}_outline", help="An estimate from colours; the heat inside it is counted."
    )
    return [Seen(loaded, label, method, *look(loaded, picture, label, method)) for loaded in asked], outlined


def look(loaded: Loaded, picture: Picture, label: str, method: str = "") -> tuple[Heat, HeatTrust]:
    """Return the heat map of a label and how far it can be trusted, kept by model and picture."""
    return _look(key_of(loaded, picture), label, method, loaded, picture.item)


@st.cache_data(max_entries=200, show_spinner="Looking where the model looked…")
def _look(key: tuple[str, ...], label: str, method: str, _loaded: Loaded, _item: str) -> tuple[Any, HeatTrust]:
    explanation = lesion_heat.show_heat(_loaded, _item, label, method)
    heat = lesion_heat.heat_of(explanation)
    return heat, lesion_heat.judge_heat(_loaded, _item, label, heat, explanation.method)


def maps_for_report(models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading]) -> list[Seen]:
    """Return each model's map of the label it decided for; none for a picture that could not be read."""
    found = []
    for loaded, reading in zip(models, readings, strict=True):
        if reading.prediction.problem:
            continue
        label = reading.prediction.labels[0].label
        method = lesion_heat.picture_model(loaded).methods()[0]
        try:
            found.append(Seen(loaded, label, method, *look(loaded, picture, label, method)))
        except MedbenchError:  # the picture went in the meantime; the report then has no map
            continue
    return found


def _folded(sentence: str, width: int = 120) -> list[str]:
    import textwrap

    return textwrap.wrap(sentence, width)
