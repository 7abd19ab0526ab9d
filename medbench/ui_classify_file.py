"""A whole file: mapping, progress, results with doubtful ones first, corrections, downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import batch_jobs, datasets, trust_figures, ui, ui_batch_evidence, ui_entities, ui_grid
from medbench.batch_jobs import Job
from medbench.datasets import Preview
from medbench.errors import MedbenchError
from medbench.predicting import Loaded
from medbench.records import ColumnMap
from medbench.ui_classify import as_pdf, draw_answer, draw_correction
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

Corrections = dict[int, tuple[list[str], str]]  # position -> labels and note
_ROWS_SHOWN = 2_000
_PDF_ROWS = 2_000
_EVERY = 1.0
_SAMPLE = Path(__file__).resolve().parent.parent / "data" / "samples" / "pubmed-sample.nbib"


def draw_file(workspace: Workspace, loaded: Loaded, asked: str = "") -> None:
    """Draw the file tab: what is at work or done, else the box to drop a file into.

    Args:
        workspace: Where models and batches lie.
        loaded: The model.
        asked: `@job` when its champion was chosen: its challenger may then answer instead, or beside it unseen.
    """
    asked = asked or loaded.id
    opened = st.session_state.get("classify_batch") or st.query_params.get("batch")
    if opened is not None:
        try:
            with st.spinner("Opening the file…"):  # its model may have to be loaded
                job = batch_jobs.reopen(workspace, opened)
        except MedbenchError as error:
            _close()
            ui.show_error(error)
        else:
            st.session_state["classify_batch"] = st.query_params["batch"] = job.id
            _draw_job(job)
            return
    file = st.file_uploader(
        "A file of titles and abstracts",
        key="classify_file",
        help="RIS, PubMed .nbib or XML, EndNote, BibTeX, CSV, TSV, Excel, JSON, PDF. It stays on this machine.",
        max_upload_size=1000,
    )
    if file is not None:
        _planned(workspace, asked, _kept(workspace, file), file.name)
        return
    if _SAMPLE.exists() and st.button(
        "Use the sample file", key="classify_sample", help="Invented PubMed records that come with medbench."
    ):
        with _SAMPLE.open("rb") as data:
            path = batch_jobs.keep(workspace, data)
        _start(workspace, asked, path, _SAMPLE.name, None)
    _earlier(workspace)


def _close() -> None:
    """Forget which file is open, here and in the page's address."""
    st.session_state.pop("classify_batch", None)
    st.query_params.pop("batch", None)


def _kept(workspace: Workspace, file: st.runtime.uploaded_file_manager.UploadedFile) -> Path:
    """Write the dropped file to disk, once per session."""
    kept: dict[str, Path] = st.session_state.setdefault("classify_kept", {})
    if file.file_id not in kept or not kept[file.file_id].exists():
        with st.spinner("Keeping the file…"):
            kept[file.file_id] = batch_jobs.keep(workspace, file)
    return kept[file.file_id]


def _planned(workspace: Workspace, asked: str, path: Path, name: str) -> None:
    """Show what was understood of a file, let the user change it, and start."""
    look = _looked_at(path, name)
    st.markdown(f"**{ui.plain(name)}** · {look.format}")
    guessed = look.mapping
    columns = st.columns(3)
    boxes = {
        "title": ("Title", guessed.title, "The column with the title."),
        "text": ("Abstract or text", guessed.text, "The column that is read and classified."),
        "id": ("Id", guessed.id, "Each item's own id, for example the PMID."),
    }
    chosen = {}
    for place, (role, (label, guess, told)) in zip(columns, boxes.items(), strict=True):
        chosen[role] = place.selectbox(
            label,
            look.columns,
            index=look.columns.index(guess) if guess in look.columns else None,
            placeholder="none",
            key=f"classify_map_{role}_{path.name[:12]}",
            help=told,
        )
    used = [column for column in chosen.values() if column]
    rows = [{column: row.get(column, "")[:300] for column in used or look.columns} for row in look.rows[:5]]
    readable = chosen["title"] is not None or chosen["text"] is not None
    if not readable:
        st.info("No column looks like a title or a text. Choose one above; these are the columns:")
    else:
        st.caption("The first records:")
    st.dataframe(rows, hide_index=True, key="classify_first_rows")
    if st.button(
        "Classify the file",
        key="classify_file_go",
        type="primary",
        disabled=not readable,
        shortcut="ctrl+enter",
        help="Works in the background; you may look at other pages.",
    ):
        _start(
            workspace, asked, path, name, replace(guessed, title=chosen["title"], text=chosen["text"], id=chosen["id"])
        )


@st.cache_data(max_entries=8, show_spinner="Looking at the file…")
def _looked_at(path: Path, name: str) -> Preview:
    return datasets.preview(path, name)


def _start(workspace: Workspace, asked: str, path: Path, name: str, mapping: ColumnMap | None) -> None:
    job = batch_jobs.open_job(workspace, asked, path, name, mapping)
    job.go()
    st.session_state["classify_batch"] = job.id
    st.rerun()


def _earlier(workspace: Workspace) -> None:
    entries = {entry["id"]: entry for entry in batch_jobs.past(workspace)[:200]}
    if not entries:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Or an earlier file",
            list(entries),
            index=None,
            format_func=lambda one: _entry_words(workspace, entries[one]),
            key="classify_earlier",
            help="Its answers are kept; one that was stopped can go on.",
            placeholder="choose",
        )
        if st.button("Open", key="classify_earlier_open", disabled=chosen is None, help="Open its results."):
            job = batch_jobs.reopen(workspace, str(chosen))
            if not job.stopped:  # else it waits for “Go on”
                job.go()
            st.session_state["classify_batch"] = chosen
            st.rerun()


def _entry_words(workspace: Workspace, entry: Mapping[str, Any]) -> str:
    working = " · at work" if batch_jobs.at_work(workspace, entry["id"]) else ""
    return f"{entry['name']} · {entry['model']} · {ui.when(entry['at'])}{working}"


def _draw_job(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        model = ui.plain(str(job.batch.loaded.card["name"]))
        st.markdown(f"**{ui.plain(job.name)}** · {job.batch.reader.title} · answered by {model}", width="stretch")
        if st.button(
            "← Another file", key="classify_another", help="What runs goes on; open it again under earlier files."
        ):
            _close()
            st.rerun()
    if job.running:
        st.fragment(_progress, run_every=_EVERY)(job)
        return
    if job.problem is not None:
        if isinstance(job.problem, MedbenchError):
            ui.show_error(job.problem)
        else:
            st.error(job.problem)
    elif job.total is None and not job.stopped:
        job.go()  # opened after a restart: reads the file again, answers only what is missing
        st.rerun()
    if not job.complete and (job.total is not None or job.stopped):
        left = "" if job.total is None else f", {ui.count_of(job.total - job.done, 'record')} left"
        st.info(f"Stopped: {ui.count_of(job.done, 'record')} answered and kept{left}.")
        if st.button("Go on", key="classify_go_on", type="primary", help="Answers what is left."):
            job.go()
            st.rerun()
    if job.done:
        _results(job)


def _progress(job: Job) -> None:
    with ui.guarded():
        if not job.running:
            st.rerun()
        at, of, left = job.at, job.of, job.left
        so_far = f"{at:,} records so far." if of is None else f"{at:,} of {of:,} records."
        st.progress(min(at / of, 1.0) if of else 0.0, text=f"{job.sentence} {so_far}")
        until = f"About {ui.duration(left)} until this step is done. " if left is not None else ""
        st.caption(f"{until}You may close this page; what is done is kept.")
        if st.button(
            "Stop",
            key="classify_stop",
            help="Ends after the records in hand; what is done is kept.",
            disabled=job.stopping,
        ):
            job.stop()


def _results(job: Job) -> None:
    frame, corrections = job.table(), job.corrections()
    _summary(job, frame, len(corrections))
    shown = _filtered(job, frame, corrections)
    if len(shown) > _ROWS_SHOWN:
        st.caption(f"The {_ROWS_SHOWN:,} most doubtful of {len(shown):,} are listed. Filter to see others.")
        shown = shown.head(_ROWS_SHOWN)
    picked = ui_grid.grid(
        shown,
        f"classify_grid_{job.id}",
        selection="one",
        hide=("position", "top", "needs_human", "unlike", "cut", "problem", "seen", "corrected"),
        names={"labels": "labels decided"},
        widths={"id": 96, "labels": 190, "probability": 105, "doubt": 76, "flags": 105},
        decimals={"probability": 2, "doubt": 2},
        page_size=15,
    )
    _downloads(job, frame, corrections)
    with ui.guarded():
        ui_batch_evidence.draw(job)
    if not picked:
        st.caption("Most doubtful first. Click a row to see why, and to correct it.")
        return
    _one(job, int(shown["position"].iloc[picked[0]]), corrections)


def _summary(job: Job, frame: pd.DataFrame, corrected: int) -> None:
    seen = int(frame["seen"].sum())
    always = {
        "Answered": len(frame),
        "For a person": int(frame["needs_human"].sum()),
        "Unlike the training data": int(frame["unlike"].sum()),
    }
    if job.total is not None:  # counted: the whole file has been read
        always["Refused"] = job.batch.account.refused
    if_any = {
        "Cut": int((frame["cut"] > 0).sum()),
        "Seen in training": seen,
        "Without an answer": int((frame["problem"] != "").sum()),
        "Corrected": corrected,
    }
    counts = {**always, **{name: count for name, count in if_any.items() if count}}
    ui.facts({name: f"{count:,}" for name, count in counts.items()})
    loaded, alone = job.batch.loaded, int((~frame["needs_human"]).sum())
    stands = [*trust_figures.beside_a_file(loaded.trust.band, loaded.card, alone, len(frame)), *loaded.behind]
    st.caption("  \n".join(map(ui.plain, stands)))
    if seen:
        st.warning(" ".join(trust_figures.learnt_from(seen, len(frame), len(frame), "texts")))
    told = [f"Line {line}: {status}, {reason}" for line, status, reason in job.batch.account.entries]
    if told:
        with st.expander(f"Records mended or refused ({len(told):,})", key="classify_account"):
            st.code("\n".join(told[:200]), language=None, height=200)
            ui.download("The whole list", "\n".join(told), "account.txt", "classify_account_all")


def _filtered(job: Job, frame: pd.DataFrame, corrections: Corrections) -> pd.DataFrame:
    """Draw the filters; return the rows they leave, most doubtful first, corrections put in."""
    shown = frame.copy()
    names = {at: "; ".join(map(job.batch.loaded.name_of, labels)) for at, (labels, _) in corrections.items()}
    shown["corrected"] = [names.get(at) is not None for at in shown["position"]]
    shown["flags"] = _flags(shown)
    shown["labels"] = [names.get(at, said) for at, said in zip(shown["position"], shown["labels"], strict=True)]
    which, label, words = st.columns([1, 1, 2])
    kind = which.selectbox(
        "Show",
        ["All", "For a person", "Unlike the training data", "Without a label", "Corrected"],
        key="classify_show",
        help="Which records to list.",
    )
    asked = label.selectbox(
        "Label",
        sorted({part for cell in shown["labels"] for part in cell.split("; ") if part}),
        index=None,
        placeholder="any",
        key="classify_label",
        help="Only records that carry it now.",
    )
    search = words.text_input("Words in the title", key="classify_search", help="Case does not matter.")
    keep = {
        "All": shown["position"] >= 0,
        "For a person": shown["needs_human"],
        "Unlike the training data": shown["unlike"],
        "Without a label": shown["labels"] == "",
        "Corrected": shown["corrected"],
    }[kind]
    if asked:
        keep &= shown["labels"].map(lambda cell: asked in cell.split("; "))
    if search:
        keep &= shown["title"].str.contains(search, case=False, regex=False)
    order = ["needs_human", "doubt", "position"]
    return shown[keep].sort_values(order, ascending=[False, False, True], ignore_index=True)


def _flags(rows: pd.DataFrame) -> list[str]:
    """Return what each record's reader should know, in words."""
    marks = {
        "corrected": "corrected",
        "needs_human": "a person",
        "unlike": "unlike",
        "cut": "cut",
        "seen": "seen in training",
        "problem": "no answer",
    }
    return [
        ", ".join(words for flag, words in zip(row, marks.values(), strict=True) if flag)
        for row in rows[list(marks)].itertuples(index=False)
    ]


def _one(job: Job, position: int, corrections: Corrections) -> None:
    st.divider()
    with st.spinner("Opening the record…"):
        item, answer = job.batch.item(position), job.batch.prediction(position)
    st.subheader(ui.plain(item.title or item.id), anchor=False)
    key = f"classify_row_{job.id}_{position}"
    draw_answer(
        job.workspace, job.batch.loaded, item, answer, key, _corrector(job, position, corrections.get(position))
    )


def _corrector(job: Job, position: int, standing: tuple[list[str], str] | None) -> Callable[[], None]:
    def draw() -> None:
        draw_correction(
            job.batch.loaded,
            job.batch.prediction(position),
            standing,
            lambda labels, note: job.correct(position, labels, note),
            lambda: job.undo(position),
            f"classify_row_{job.id}_{position}",
        )

    return draw


def _downloads(job: Job, frame: pd.DataFrame, corrections: Corrections) -> None:
    own = job.batch.reader
    with st.container(horizontal=True):
        ui.download(
            f"{own.title}, with answers" if own.writes else "CSV, with answers",
            job.export,
            f"{job.stem}-medbench{job.ending()}",
            "classify_out_own",
            "application/octet-stream",
            help="The file as it came in, with labels, scores, model and flags added.",
        )
        others = {"tables": ("CSV", "text/csv"), "json_list": ("JSON", "application/json")}
        for format, (title, mime) in others.items():
            if format != own.name and (own.writes or format != "tables"):
                name = f"{job.stem}-medbench{job.ending(format)}"
                ui.download(title, partial(job.export, format), name, f"classify_out_{format}", mime)
        ui.download(
            "Medical terms",
            partial(ui_entities.file_of_terms, job.workspace, job.batch.source.path, job.name),
            f"{job.stem}-terms{job.ending()}",
            "classify_out_terms",
            "application/octet-stream",
            help="The file with the terms of each record as columns: present, denied, a relative's, past, uncertain.",
        )
        few = range(min(len(frame), _PDF_ROWS))
        ui.download(
            "PDF report",
            lambda: as_pdf(
                job.batch.loaded, list(job.predictions(few)), {at: one[0] for at, one in corrections.items()}
            ),
            f"{job.stem}-medbench.pdf",
            "classify_out_pdf",
            "application/pdf",
            help=f"The first {_PDF_ROWS:,} records."
            if len(frame) > _PDF_ROWS
            else "All answers, doubtful ones in full.",
        )
    with st.popover("Delete this file and its answers", help="The history keeps what it has."):
        if st.button("Yes, delete", key="classify_delete", type="primary", help="There is no way back."):
            batch_jobs.delete(job.workspace, job.id)
            _close()
            st.rerun()
