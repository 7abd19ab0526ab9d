"""The few pieces that pages share: the frame around a page, errors in words, numbers people read, tables, chips."""

from __future__ import annotations

import html
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import table_formats
from medbench.errors import MedbenchError, full_disk
from medbench.records import Finding
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

log = logging.getLogger("medbench.ui")

NOTICE = "Research use. Not a medical device."
SEVERITY = {"stop": ("⛔", "serious"), "warn": ("⚠️", "to look at"), "info": ("ℹ️", "good to know")}
_PACE_SECONDS, _PATIENCE = 20.0, 5.0
STYLE = """<style>
.block-container {max-width: 80rem; padding: 3.2rem 2.5rem 4rem;}
h1 {font-size: 2.1rem !important;} h2 {font-size: 1.55rem !important;} h3 {font-size: 1.2rem !important;}
h4 {font-size: 1.15rem !important;} [class*=st-key-beside] > * {flex: 1 1 24rem !important; min-width: 0;}
.mb-chip {display: inline-block; padding: .06rem .5rem; margin: 0 .3rem .25rem 0; border-radius: .8rem;
  border: 1px solid rgba(11, 106, 117, .45); background: rgba(11, 106, 117, .12); font-size: .86rem;}
.mb-chip-quiet {border-color: rgba(128, 128, 128, .45); background: transparent;}
.mb-facts {display: flex; flex-wrap: wrap; gap: .7rem 2.6rem;}
.mb-fact {font-size: .84rem; opacity: .78;}
.mb-value {font-size: 1.35rem; font-weight: 600; line-height: 1.3;}
</style>"""


def workspace() -> Workspace:
    """Return the workspace that the server was started in (MEDBENCH_HOME, else the current folder)."""
    return Workspace.here()


@contextmanager
def page(title: str, intro: str = "") -> Iterator[Workspace]:
    """Draw a page's head, then its body inside `guarded`; yields the workspace.

    Args:
        title: The page's heading.
        intro: One short sentence under it.
    """
    st.title(title, anchor=False)
    if intro:
        st.caption(intro)
    with guarded():
        yield workspace()


@contextmanager
def guarded() -> Iterator[None]:
    """Show a MedbenchError as its sentence; log anything else and show one sentence. For page bodies and fragments."""
    try:
        yield
    except MedbenchError as error:
        show_error(error)
    except Exception as error:  # the last wall before the user: logged whole and told in one sentence
        log.exception("A page could not be drawn.")
        if (full := full_disk(error)) is not None:
            show_error(full)
            return
        st.error("Something went wrong on this page. The details are in the log. Reload the page to go on.")


def show_error(error: MedbenchError) -> None:
    """Show what was found, what was expected, and what to do."""
    st.error(f"Expected {plain(error.expected)}, found {plain(error.found)}.  \n**{plain(error.todo)}**")


def plain(text: str) -> str:
    """Return text that Markdown shows as it stands: no formatting, no math, no HTML, no emoji codes."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~:<>])", r"\\\1", text)


def escape(text: str) -> str:
    """Return text that is safe inside HTML."""
    return html.escape(text, quote=True)


def empty(sentence: str, label: str = "", path: str = "", query: Mapping[str, str] | None = None) -> None:
    """Say that there is nothing yet, and link to the page where the next step is."""
    with st.container(border=True):
        st.markdown(sentence)
        if path:
            link(label, path, query)


def link(label: str, path: str, query: Mapping[str, str] | None = None) -> None:
    """Draw a link to another page of the app, e.g. "pages/train.py" with the query {"dataset": id}."""
    st.page_link(path, label=f"**{label}** →", query_params=dict(query) if query else None)


# --- numbers people read ---------------------------------------------------------------------------------------


def behind(sentences: Iterable[str]) -> None:
    """Fold away what stands behind every answer of a model: none of it is news, all of it must be within reach."""
    if told := [plain(sentence) for sentence in sentences if sentence]:
        with st.expander("How far such an answer can be trusted, in figures"):
            st.markdown("\n".join(f"- {sentence}" for sentence in told))


def number(value: float | None) -> str:
    """Return 1,234 for whole numbers, three significant digits for others, – for None."""
    if value is None:
        return "–"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def score(value: float | None) -> str:
    """Return a score in 0-1 with three decimals: 0.687."""
    return "–" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """Return a share in 0-1 as a percentage: 47.5 %, 90 %, < 0.1 %."""
    if value is None:
        return "–"
    if 0 < value < 0.001:
        return "< 0.1 %"
    return f"{value * 100:.1f}".removesuffix(".0") + " %"


def size(count: float | None) -> str:
    """Return bytes as 512 B, 3.2 MB, 1.4 GB."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float | None) -> str:
    """Return seconds as 0.4 s, 12 s, 2 min 10 s, 3 h 5 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def when(moment: float | str | None) -> str:
    """Return a Unix time or an ISO time as local "22 Nov 2026, 22:17"; the year is left out within this year."""
    if moment is None or moment == "":
        return "–"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    local = datetime.fromtimestamp(moment).astimezone()
    year = "" if local.year == time.localtime().tm_year else f" {local.year}"
    return f"{local.day} {local:%b}{year}, {local:%H:%M}"


def count_of(count: int, one: str, many: str = "") -> str:
    """Return "1 row", "1,234 rows"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def page_of(task: str) -> str:
    """Return the page where models of a task answer."""
    return {"lesion": "pages/lesion.py", "icd": "pages/icd.py"}.get(task, "pages/classify.py")


# --- small displays --------------------------------------------------------------------------------------------


def chips(labels: Iterable[str], quiet: bool = False) -> str:
    """Return labels as HTML chips (escaped), for `st.html`."""
    kind = "mb-chip mb-chip-quiet" if quiet else "mb-chip"
    return "".join(f'<span class="{kind}">{escape(label)}</span>' for label in labels)


def facts(pairs: Mapping[str, str]) -> None:
    """Show short facts side by side: a small name over a value."""
    boxes = (
        f'<div><div class="mb-fact">{escape(name)}</div><div class="mb-value">{escape(value)}</div></div>'
        for name, value in pairs.items()
    )
    st.html(f'<div class="mb-facts">{"".join(boxes)}</div>')


def with_interval(entry: Mapping[str, Any] | None) -> str:
    """Return a metric {value, low, high} as "0.687 (0.67-0.70)"; – when there is none."""
    if not entry or entry.get("value") is None:
        return "–"
    low, high = entry.get("low"), entry.get("high")
    interval = f" ({low:.2f}–{high:.2f})" if low is not None and high is not None else ""
    return f"{entry['value']:.3f}{interval}"


def teller(bar: DeltaGenerator, clock: Callable[[], float] = time.monotonic) -> Callable[[float, str], None]:
    """Return what moves a progress bar, at most five times a second; work of over five seconds is told what is left."""
    began = moved = clock()
    seen = [(began, 0.0)]  # when which share was done, for the pace of late: stages differ

    def tell(share: float, sentence: str) -> None:
        nonlocal moved
        now, share = clock(), min(max(share, 0.0), 1.0)
        if share > seen[-1][1]:
            seen.append((now, share))
        while len(seen) > 2 and now - seen[1][0] > _PACE_SECONDS:
            del seen[0]
        if now - moved > 0.2:
            moved = now
            then, before = seen[0]
            if now - began > _PATIENCE and before < share < 1:
                sentence += f" About {duration((1 - share) * (now - then) / (share - before))} left."
            bar.progress(share, sentence)

    return tell


def finding_line(finding: Finding) -> str:
    """Return a finding as one Markdown line, its sentence escaped."""
    return f"{SEVERITY[finding.severity][0]} {plain(finding.sentence)}"


def download(
    label: str,
    data: bytes | str | Callable[[], bytes],
    file_name: str,
    key: str,
    mime: str = "text/plain",
    help: str = "",
) -> None:
    """Draw a download button; a callable is only asked for its bytes when the button is pressed."""
    st.download_button(
        label, data, file_name=file_name, mime=mime, key=key, help=help or None, on_click="ignore", icon="⬇️"
    )


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as CSV for spreadsheets: UTF-8 with mark, formulas in text neutralised by an apostrophe."""
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype.kind not in "biufM":
            safe[name] = [_neutral(cell(value)) for value in safe[name]]
    data: bytes = safe.to_csv(index=False).encode("utf-8-sig")
    return data


def export(frame: pd.DataFrame, name: str, key: str) -> None:
    """Draw the ways a table leaves a page: CSV, Markdown and LaTeX."""
    with st.popover("⬇️ Export", help="This table as CSV, Markdown or LaTeX."):
        download("CSV", lambda: csv_bytes(frame), f"{name}.csv", f"{key}_csv", "text/csv")
        download("Markdown", lambda: table_formats.markdown(frame).encode(), f"{name}.md", f"{key}_md")
        download("LaTeX", lambda: table_formats.latex(frame).encode(), f"{name}.tex", f"{key}_tex")


def _neutral(value: Any) -> Any:
    return (
        f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") and not _NUMBER.match(value) else value
    )


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?$")


def cell(value: Any) -> Any:
    """Return what a table shows of a value: lists joined by semicolons, True as yes, nothing for what is missing."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return "; ".join(str(part) for part in value)
    return str(value)
