"""Why a label: the marked text by the method of choice, how faithful it is, and methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from medbench import evidence_sheet, explaining, ui
from medbench.evidence_sheet import AGAINST, FOR, Told, faithful_words, marked
from medbench.explaining import METHODS, Compared
from medbench.explaining_jobs import Asked, Work
from medbench.predicting import Loaded
from medbench.records import Explanation, Item

if TYPE_CHECKING:
    import pandas as pd

_KEPT = 50
_PATIENCE = 2.0  # seconds before a progress bar is shown instead of waiting
_EVERY = 0.7
ResultT = TypeVar("ResultT")
_MEASURES = {
    "faithfulness": (
        "gain",
        "How much more the score falls without the marks than without random words; high is good.",
    ),
    "comprehensiveness": ("fall without", "How far the score falls without the marked words; high is good."),
    "sufficiency": ("fall with only", "How far the score falls when only the marked words are kept; low is good."),
    "deletion": ("deletion", "Mean score while the words go, strongest first; low is good."),
    "insertion": ("insertion", "Mean score while the words come back, strongest first; high is good."),
    "chance": ("by chance", "Mean score while words go in random order: the one to beat."),
}


def draw(loaded: Loaded, item: Item, names: Mapping[str, str], key: str) -> None:
    """Draw the evidence for one of the labels.

    Args:
        loaded: The model that answered.
        item: What was asked.
        names: Labels with what a user reads for them, the first one shown.
        key: Prefix of the widget keys.
    """
    label = st.pills(
        "Why this label?",
        list(names),
        default=next(iter(names)),
        required=True,
        format_func=names.__getitem__,
        key=f"{key}_why",
        help="Marks what spoke for and against this label in the text.",
    )
    fitting = {method.name: method for method in explaining.methods_for(loaded)}
    quick = explaining.quick_for(loaded)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    method = left.selectbox(
        "How to explain",
        list(fitting),
        format_func=lambda name: fitting[name].title + ("" if name in quick else " (slow)"),
        key=f"{key}_method",
        help="The first one fits this model best.  \n"
        + "  \n".join(f"**{ui.plain(one.title)}**: {ui.plain(one.sentence)}" for one in fitting.values()),
    )
    both = right.toggle("Compare methods", key=f"{key}_compare", help="All side by side, and how far they agree.")
    told = _worked_out(
        (loaded.id, item, label, method),
        lambda tell, stop: explaining.explain(loaded, item, label, method, tell, stop),
        "Looking for the words that drove it…",
        f"{key}_one",
    )
    if told is not None:
        _marks(loaded, item, told, key)
    if both:
        _compare(loaded, item, label, key)


def _worked_out(asked: tuple[Any, ...], work: Work[ResultT], sentence: str, key: str) -> ResultT | None:
    """Return what the work gives, kept in the session; a progress bar with a way to stop, and None, until then."""
    kept: dict[tuple[Any, ...], Asked[Any]] = st.session_state.setdefault("classify_reasons", {})
    before = st.session_state.get(f"{key}_asked")
    if before != asked and before in kept and kept[before].running:
        kept.pop(before).stop()  # nobody waits for it any more, and it would slow down what is asked now
    st.session_state[f"{key}_asked"] = asked
    if asked not in kept:
        while len(kept) > _KEPT:
            kept.pop(next(iter(kept))).stop()
        kept[asked] = Asked(work)
        with st.spinner(sentence):
            kept[asked].wait(_PATIENCE)
    job = kept[asked]
    if job.running and not job.stopped:
        st.fragment(_progress, run_every=_EVERY)(job, sentence, key)
        return None
    if job.problem is not None:
        kept.pop(asked)
        ui.show_error(job.problem)
        return None
    found: ResultT | None = job.result
    if found is None:
        st.caption("Stopped.")
        if st.button("Try again", key=f"{key}_again", help="Begins anew."):
            kept.pop(asked)
            st.rerun()
    return found


def _progress(job: Asked[Any], sentence: str, key: str) -> None:
    if not job.running:
        st.rerun()
    st.progress(job.share, text=sentence)
    if st.button("Stop", key=f"{key}_stop", help="Ends after the texts in hand."):
        job.stop()
        st.rerun()


def _marks(loaded: Loaded, item: Item, told: Explanation, key: str) -> None:
    st.html(f'<div class="mb-text">{marked(item.joined, told.spans)}</div>')
    st.html(
        f'<div class="mb-text mb-fact"><mark class="mb-for" style="background: rgba({FOR}, .25)">speaks for it</mark> '
        f'<mark class="mb-against" style="background: rgba({AGAINST}, .22)">speaks against it</mark> · '
        f"{ui.escape(faithful_words(told))}</div>"
    )
    row = Told(item, loaded.name_of(told.label), told)
    known = {name: value for name, value in row.measures().items() if name in _MEASURES and value is not None}
    if known:
        with st.expander("How far the marks can be trusted, in figures"):
            ui.facts({_MEASURES[name][0].capitalize(): f"{value:+.2f}" for name, value in known.items()})
            st.caption("  \n".join(f"{_MEASURES[name][0].capitalize()}: {_MEASURES[name][1]}" for name in known))
    downloads(lambda: [row], f"evidence-{item.id}", f"{key}_evidence", f"Why {row.name}: {loaded.card['name']}")


def downloads(rows: Callable[[], list[Told]], stem: str, key: str, heading: str) -> None:
    """Draw the buttons that export explanations."""
    with st.container(horizontal=True):
        ui.download("Evidence as CSV", lambda: evidence_sheet.as_csv(rows()), f"{stem}.csv", f"{key}_csv", "text/csv")
        ui.download("JSON", lambda: evidence_sheet.as_json(rows()), f"{stem}.json", f"{key}_json", "application/json")
        page = "A page with the marked texts, for a browser."
        ui.download(
            "HTML", lambda: evidence_sheet.as_html(rows(), heading), f"{stem}.html", f"{key}_html", "text/html", page
        )


def _compare(loaded: Loaded, item: Item, label: str, key: str) -> None:
    fitting = explaining.methods_for(loaded)
    chosen = st.multiselect(
        "Methods to compare",
        [method.name for method in fitting],
        default=explaining.quick_for(loaded),
        format_func=lambda name: METHODS[name].title,
        key=f"{key}_methods",
        help="SHAP reads the text some 400 times: seconds for a linear model, up to minutes for a network.",
    )
    if len(chosen) < 2:
        st.info("Choose two methods or more.")
        return
    found = _worked_out(
        (loaded.id, item, label, tuple(chosen)),
        lambda tell, stop: explaining.compare(loaded, item, label, chosen, tell, stop),
        "Comparing methods…",
        f"{key}_several",
    )
    if found is None:
        return
    frame = methods_table(item, found)
    settings = {"strongest": st.column_config.TextColumn("strongest", width="large", help="The words it names first.")}
    settings |= {
        words: st.column_config.NumberColumn(words, format="%.2f", help=told) for words, told in _MEASURES.values()
    }
    st.dataframe(frame, hide_index=True, key=f"{key}_methods_table", column_config=settings)
    ui.export(frame, "methods", f"{key}_methods_export")
    st.markdown("**How far they agree**")
    agreed = agreement_table(found)
    st.dataframe(agreed, hide_index=True, key=f"{key}_agreement")
    st.caption(
        "Rank correlation of the weights (1: the same order, 0: none) and, behind it, the share of the strongest words "
        "that both name. A method that marks whole sentences is compared in sentences."
    )
    with st.container(horizontal=True):
        ui.export(agreed, "agreement", f"{key}_agreement_export")
        rows = [Told(item, loaded.name_of(label), one) for one in found.told]
        ui.download(
            "All explanations as JSON",
            lambda: evidence_sheet.as_json(rows, {"agreement": found.as_json()["agreement"]}),
            "methods.json",
            f"{key}_methods_json",
            "application/json",
        )


def methods_table(item: Item, found: Compared) -> pd.DataFrame:
    """Return one row per method: its strongest words, what they are worth, what it took."""
    import pandas as pd

    rows = []
    for told, seconds in zip(found.told, found.seconds, strict=True):
        best = sorted((span for span in told.spans if span.weight > 0), key=lambda span: -span.weight)
        named = dict.fromkeys(" ".join(item.joined[span.start : span.end].split())[:60] for span in best)
        words = " · ".join(list(named)[:3])
        measures = Told(item, "", told).measures()
        figures = {words: measures[name] for name, (words, _) in _MEASURES.items()}
        rows.append({"method": told.method, "strongest": words, **figures, "seconds": round(seconds, 1)})
    return pd.DataFrame(rows)


def agreement_table(found: Compared) -> pd.DataFrame:
    """Return methods by methods: rank correlation and share of the strongest words that both name."""
    import pandas as pd

    titles = [told.method for told in found.told]
    rows = []
    for title, cells in zip(titles, found.agreement, strict=True):
        said = [
            f"{'–' if cell.correlation is None else f'{cell.correlation:.2f}'}"
            f" · {'–' if cell.overlap is None else f'{cell.overlap:.0%}'}"
            for cell in cells
        ]
        rows.append({"": title, **dict(zip(titles, said, strict=True))})
    return pd.DataFrame(rows)
