"""Adding a dataset: drop files, confirm the columns, check the records, choose splits, save."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from medbench import datasets, ui, ui_datasets_images, ui_datasets_mimic, ui_mapping, ui_plots, ui_verdict, uploads
from medbench.datasets import Draft, SplitPlan
from medbench.errors import MedbenchError
from medbench.records import SPLITS, ColumnMap
from medbench.tasks import Task, all_tasks
from medbench.uploads import Upload
from medbench.workspace import Workspace

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "samples" / "abstracts.csv"
FIRST_TASK = "literature"
MEGABYTES = 1000
PDF_TABLE = "texts from PDFs.csv"
OPEN_GROUPS = 3
FILES, MIMIC = "Files", "MIMIC folder"
CONFLICT = "conflicting_labels"
LEFT_OUT_SHOWN = 20
FORMATS = "CSV, TSV, Excel, JSON, RIS, PubMed (.nbib, XML), EndNote, BibTeX, PDF; also packed as .gz."


@dataclass(frozen=True)
class Order:
    """What is to be checked: files with names, the map of each, the task; `asked` tells one order from another."""

    files: list[tuple[Path, str]]
    maps: dict[str, ColumnMap]
    task: Task
    asked: tuple[Any, ...]


@dataclass(frozen=True)
class Checked:
    """A draft, the order it was made from (so that a later change is noticed), and whether its texts were merged."""

    draft: Draft
    asked: tuple[Any, ...]
    merged: bool = False

    @property
    def key(self) -> str:
        """Tells the widgets of one draft from those of another."""
        return f"{abs(hash((self.asked, self.merged)))}"


def draw(workspace: Workspace) -> None:
    """Draw the whole way from dropped files to a saved dataset."""
    if st.button("All datasets", key="add_back", icon="⬅️", help="Back to the list."):
        _forget(st.session_state.get("add_upload"))
        ui_datasets_images.forget()
        st.query_params.clear()
        st.rerun()
    task = _task()
    if task.item == "image":
        ui_datasets_images.draw(workspace, task)
        return
    if task.name == "icd" and _source() == MIMIC:
        ui_datasets_mimic.draw(workspace, task)
        return
    upload = _files(workspace)
    if upload is None:
        return
    files, maps, left_out = _columns(upload, task)
    if left_out:
        lines = [f"- **{ui.plain(name)}**: {ui.plain(reason)}" for name, reason in left_out.items()]
        st.warning("\n".join([f"{ui.count_of(len(lines), 'file')} left out:", "", *lines[:LEFT_OUT_SHOWN]]))
    if not files:
        return
    stamps = tuple(path.stat().st_mtime_ns for path, _ in files)
    order = Order(files, maps, task, (upload.signature, task.name, tuple(maps.items()), stamps))
    checked: Checked | None = st.session_state.get("add_checked")
    fresh = checked is not None and checked.asked == order.asked
    label = "Check the records" if not fresh else "Check again"
    if st.button(
        label,
        key="add_check",
        type="secondary" if fresh else "primary",
        help="Reads every record and judges the whole.",
        shortcut="Alt+K",
    ):
        checked = _check(order)
        fresh = checked is not None
    if checked is None:
        return
    if not fresh:
        st.info("Files or columns have changed since the check. Check the records again.")
        return
    st.divider()
    _verdict(checked, left_out)
    _remedy(checked, order)
    _save(workspace, checked.draft, upload)


# --- files -----------------------------------------------------------------------------------------------------


def _files(workspace: Workspace) -> Upload | None:
    round_ = st.session_state.setdefault("add_round", 0)
    dropped = st.file_uploader(
        "Files",
        accept_multiple_files=True,
        key=f"add_files_{round_}",
        max_upload_size=MEGABYTES,
        help=f"{FORMATS} The format is found by content, not by name. At most {MEGABYTES:,} MB a file.",
    )
    upload: Upload | None = st.session_state.get("add_upload")
    if dropped:
        signature = uploads.signature_of(dropped)
        if upload is None or upload.signature != signature:
            _forget(upload)
            bar = st.progress(0.0, "Receiving the files.")
            upload = uploads.receive(workspace, [(file, file) for file in dropped], ui.teller(bar))
            bar.empty()
            st.session_state["add_upload"] = upload
        return upload
    if upload is not None and not upload.signature.startswith("path:"):
        _forget(upload)
        upload = None
    if upload is None:
        st.caption(FORMATS)
        if SAMPLE.exists() and st.button(
            "Load the sample", key="add_sample", help="Some invented abstracts with labels, to look around."
        ):
            st.session_state["add_upload"] = uploads.receive_path(workspace, SAMPLE)
            st.rerun()
    elif st.button("Take other files", key="add_other", help="Puts the sample away."):
        _forget(upload)
        st.rerun()
    return upload


def _forget(upload: Upload | None) -> None:
    if upload is not None:
        upload.forget()
    for key in ("add_upload", "add_checked"):
        st.session_state.pop(key, None)


def _source() -> str:
    """Ask where clinical notes come from; the address and the session remember it."""
    wanted = st.query_params.get("from") or st.session_state.get("add_from")
    source = st.segmented_control(
        "From",
        [FILES, MIMIC],
        default=MIMIC if wanted == "mimic" else FILES,
        required=True,
        key="add_source",
        help="Files of yours, or the folder of a MIMIC download on this computer.",
    )
    st.session_state["add_from"] = st.query_params["from"] = "mimic" if source == MIMIC else "files"
    return source


def _task() -> Task:
    """Ask what is to be learnt; the address and the session remember it."""
    tasks = all_tasks()
    wanted = str(st.query_params.get("task") or st.session_state.get("add_job", ""))
    name = st.segmented_control(
        "Job",
        sorted(tasks, key=lambda one: tasks[one].item == "image"),
        default=wanted if wanted in tasks else FIRST_TASK,
        required=True,
        format_func=lambda one: tasks[one].title,
        key="add_task",
        help="What is asked of each record or picture.",
    )
    st.session_state["add_job"] = st.query_params["task"] = name
    return tasks[name]


# --- columns ---------------------------------------------------------------------------------------------------


def _columns(upload: Upload, task: Task) -> tuple[list[tuple[Path, str]], dict[str, ColumnMap], dict[str, str]]:
    """Draw the column maps; returns the files to read with their names, the map of each, and what is left out why."""
    files: list[tuple[Path, str]] = []
    maps: dict[str, ColumnMap] = {}
    left_out = {name: f"expected {error.expected}, found {error.found}" for name, error in upload.refused.items()}
    for number, group in enumerate(uploads.groups_of(upload)):
        key = f"{abs(hash((upload.signature, group.key)))}"
        chosen = ui_mapping.draw(group, key, task, expanded=number < OPEN_GROUPS)
        maps |= group.maps(chosen)
        left_out |= group.without_text(chosen)
        files += [(look.path, look.name) for look in group.looks if look.name in maps]
    rows, refused = uploads.pdf_rows(upload)
    left_out |= refused
    if rows:
        path = _pdf_table(upload, rows)
        files.append((path, PDF_TABLE))
        maps[PDF_TABLE] = ColumnMap("title", "text", ("labels",), "file", None, None, "separated", ";")
    return files, maps, left_out


def _pdf_table(upload: Upload, rows: list[dict[str, str]]) -> Path:
    """Let the user correct what was found in the PDFs; returns the corrected table as a file."""
    st.subheader(f"{ui.count_of(len(rows), 'PDF')}", anchor=False)
    st.caption("This was found in the PDFs. Correct titles and texts; add labels separated by ; if you have them.")
    edited = st.data_editor(
        rows,
        key=f"add_pdf_{abs(hash(upload.signature))}",
        disabled=["file"],
        hide_index=True,
        row_height=96,
        column_config={
            "text": st.column_config.TextColumn("text", width="large"),
            "title": st.column_config.TextColumn(width="medium"),
        },
    )
    lines = [{name: str(row.get(name) or "") for name in ("file", "title", "text", "labels")} for row in edited]
    path = upload.folder / "pdfs.csv"
    content = _csv_text(lines)
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")
    return path


def _csv_text(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


# --- check -----------------------------------------------------------------------------------------------------


def _check(order: Order, merge: bool = False) -> Checked | None:
    st.session_state.pop("add_checked", None)
    bar = st.progress(0.0, "Reading.")
    try:
        draft = datasets.draft(
            order.files,
            task_name=order.task.name,
            clean_label=order.task.clean_label,
            label_name=order.task.label_name,
            rules=order.task.rules(),
            mapping=order.maps,
            merge=merge,
            say=ui.teller(bar),
        )
    except MedbenchError as error:
        ui.show_error(error)
        return None
    finally:
        bar.empty()
    checked = Checked(draft, order.asked, merge)
    st.session_state["add_checked"] = checked
    return checked


def _verdict(checked: Checked, left_out: Mapping[str, str]) -> None:
    draft = checked.draft
    st.subheader("Records", anchor=False)
    ui_verdict.draw_account(draft.account, left_out)
    ui_verdict.draw_cleaning(draft.cleaning, draft.notices)
    st.subheader("Verdict", anchor=False)
    ui_verdict.draw_findings(
        draft.findings, lambda rows: _rows_of(draft, rows), f"draft_{checked.key}", draft.label_names
    )
    if st.toggle("Show pictures", key="add_pictures", help="Labels, lengths, labels that go together, typical words."):
        ui_plots.draw_draft(draft, checked.key)


def _remedy(checked: Checked, order: Order) -> None:
    """Offer to merge contradictory rows, or to take a merge back."""
    if checked.merged:
        st.info("Rows with the same text were merged into one, with all their labels.")
        wanted = not st.button("Take the merge back", key="add_unmerge", help="Reads the rows as they stand again.")
    elif any(finding.kind == CONFLICT for finding in checked.draft.findings):
        told = "One row for each text, with all the labels its rows carry. Then a text may have many labels."
        wanted = st.button("Merge the rows of each text", key="add_merge", help=told)
    else:
        return
    if wanted != checked.merged and _check(order, wanted) is not None:
        st.rerun()


def _rows_of(draft: Draft, rows: Sequence[int]) -> list[dict[str, Any]]:
    frame = draft.frame.iloc[list(rows)]
    records: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    return [{"position": row, **record} for row, record in zip(rows, records, strict=True)]


# --- save ------------------------------------------------------------------------------------------------------


def _save(workspace: Workspace, draft: Draft, upload: Upload) -> None:
    st.subheader("Save", anchor=False)
    name = st.text_input(
        "Name", _suggested(draft), key=f"add_name_{abs(hash(upload.signature))}", help="What you call this dataset."
    )
    terms = st.text_input(
        "Licence or terms",
        key="add_terms",
        placeholder="for example CC BY 4.0, or: own data, not to be shared",
        help="Kept with the dataset and with every model that learns from it.",
    )
    try:
        plan = _plan(draft)
    except MedbenchError as error:
        ui.show_error(error)
        return
    if st.button(
        "Save the dataset",
        key="add_save",
        type="primary",
        help="Kept under an id that depends on its content.",
        shortcut="Alt+S",
    ):
        with st.spinner("Splitting and saving."):
            dataset_id = datasets.save(workspace, draft, name=name, plan=plan, licence=terms)
        _forget(upload)
        st.session_state["add_round"] += 1
        st.session_state["dataset_saved"] = dataset_id
        st.query_params.clear()
        st.query_params["dataset"] = dataset_id
        st.rerun()


def _suggested(draft: Draft) -> str:
    first = draft.sources[0]["name"].split(".")[0].replace("_", " ").strip() or "dataset"
    return first if len(draft.sources) == 1 else f"{first} and {len(draft.sources) - 1} more"


def _plan(draft: Draft) -> SplitPlan:
    if not draft.labels:
        st.info("There are no labels. The dataset can be classified, not trained, so it is not split.")
        return SplitPlan()
    own = draft.has_own_split
    method = st.segmented_control(
        "Splits",
        ["file", "stratified"] if own else ["stratified"],
        default="file" if own else "stratified",
        required=True,
        format_func={"file": "The file's own", "stratified": "Draw them"}.__getitem__,
        key="add_split_method",
        help="Drawn splits keep the share of every label, and never part rows of one group or near-duplicates.",
    )
    if method == "file":
        st.caption("A missing validation split is taken out of train.")
        return SplitPlan("file")
    columns = st.columns([2, 2, 1])
    validation = columns[0].slider(
        "Validation, %", 5, 40, 15, key="add_share_validation", help="Tunes thresholds and calibration, stops training."
    )
    test = columns[1].slider("Test, %", 0, 40, 15, key="add_share_test", help="Looked at once, to judge the model.")
    seed = columns[2].number_input("Seed", 0, 2**31 - 1, 0, key="add_seed", help="The same seed draws the same splits.")
    st.caption(
        " · ".join(
            f"{name} {part} %" for name, part in zip(SPLITS, (100 - validation - test, validation, test), strict=True)
        )
    )
    return SplitPlan("stratified", ((100 - validation - test) / 100, validation / 100, test / 100), int(seed))
