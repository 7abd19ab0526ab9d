"""Adding a dataset of pictures: drop a zip or name a folder, check the pictures, choose splits, look, save."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from medbench import datasets, ui, ui_pictures, ui_verdict, uploads
from medbench.datasets import Draft, SplitPlan
from medbench.drafting_images import LONGEST, PICTURES, draft_images
from medbench.errors import MedbenchError
from medbench.picture_sources import LOOSE
from medbench.records import SPLITS
from medbench.tasks import Task
from medbench.workspace import Workspace

MEGABYTES = 4000
FORMATS = (
    "A zip with pictures (JPEG, PNG, TIFF, WebP, GIF, BMP) and their table, or pictures and a CSV beside each other. "
    "HAM10000 and ISIC files are understood as they are; without a table, one folder per class."
)
ROLES = {"labels": "Class", "group": "Lesion or patient", "split": "Split"}
SECTIONS = ("Verdict", "Plots", "Gallery")


@dataclass
class PictureUpload:
    """Files to be checked.

    Attributes:
        signature: Tells one set of files from another.
        folder: A folder of our own for copies and stored pictures; removed by `forget`.
        files: (path, name the user knows it by).
    """

    signature: str
    folder: Path
    files: list[tuple[Path, str]]

    def forget(self) -> None:
        """Delete the copies; a folder of the user's is never touched."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class CheckedPictures:
    """A draft and what it was made from, so that a later change is noticed."""

    draft: Draft
    asked: tuple[Any, ...]

    @property
    def key(self) -> str:
        """Tells the widgets of one draft from those of another."""
        return f"{abs(hash(self.asked))}"


def draw(workspace: Workspace, task: Task) -> None:
    """Draw the whole way from dropped pictures to a saved dataset."""
    upload = _files(workspace)
    if upload is None:
        return
    checked: CheckedPictures | None = st.session_state.get("pictures_checked")
    if checked is not None and (checked.draft.pictures is None or not checked.draft.pictures.exists()):
        checked = None  # a day has passed, and the copies were cleared away
    chosen = _columns(checked.draft) if checked is not None and checked.asked[0] == upload.signature else {}
    asked = (upload.signature, task.name, *sorted(chosen.items()))
    fresh = checked is not None and checked.asked == asked
    label = "Check again" if fresh else "Check the pictures"
    if st.button(
        label,
        key="pictures_check",
        type="secondary" if fresh else "primary",
        help="Reads every picture and judges the whole.",
        shortcut="Alt+K",
    ):
        checked = _check(upload, task, chosen, asked)
        if checked is not None:
            st.rerun()
    if checked is None or checked.asked[0] != upload.signature:
        return
    if not fresh:
        st.info("The columns have changed since the check. Check the pictures again.")
        return
    st.divider()
    _shown(checked)
    _save(workspace, checked.draft, upload)


def forget() -> None:
    """Put away what was dropped and checked."""
    upload: PictureUpload | None = st.session_state.pop("pictures_upload", None)
    st.session_state.pop("pictures_checked", None)
    if upload is not None:
        upload.forget()


# --- files -----------------------------------------------------------------------------------------------------


def _files(workspace: Workspace) -> PictureUpload | None:
    round_ = st.session_state.setdefault("add_round", 0)
    dropped = st.file_uploader(
        "Zip, or pictures and their table",
        accept_multiple_files=True,
        key=f"pictures_files_{round_}",
        max_upload_size=MEGABYTES,
        help=f"At most {MEGABYTES:,} MB a file. Stored without EXIF and GPS, at most {LONGEST} pixels long.",
    )
    named = st.text_input(
        "or a folder or zip on this computer",
        key=f"pictures_folder_{round_}",
        placeholder="/home/me/HAM10000",
        help="For what is too large to drop. It is read where it lies and never changed.",
    ).strip()
    upload: PictureUpload | None = st.session_state.get("pictures_upload")
    signature = uploads.signature_of(dropped) if dropped else (f"path:{named}" if named else "")
    if not signature:
        forget()
        st.caption(FORMATS)
        return None
    if upload is None or upload.signature != signature:
        forget()
        upload = PictureUpload(signature, uploads.folder_for(workspace), [])
        st.session_state["pictures_upload"] = upload
        if dropped:
            _receive(upload, dropped)
        else:
            path = Path(named).expanduser()
            upload.files.append((path, path.name or named))
    return upload


def _receive(upload: PictureUpload, dropped: list[Any]) -> None:
    """Write dropped files to disk, under numbers."""
    bar = st.progress(0.0, "Receiving the files.")
    tell = ui.teller(bar)
    for number, file in enumerate(dropped):
        tell(number / len(dropped), f"Receiving {file.name}.")
        path = upload.folder / f"{number:05d}"
        with path.open("wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)
        upload.files.append((path, file.name))
    bar.empty()


def _columns(draft: Draft) -> dict[str, str]:
    """Draw what was understood of the columns; returns role -> column where the user chose another."""
    used = draft.mapping
    guessed = {"labels": used.labels[0] if len(used.labels) == 1 else None, "group": used.group, "split": used.split}
    others = [str(name)[2:] for name in draft.frame.columns if str(name).startswith("x_")]
    chosen = {}
    with st.expander("Columns"):
        for place, (role, title) in zip(st.columns(len(ROLES)), ROLES.items(), strict=True):
            own = guessed[role]
            options = list(dict.fromkeys([*([own] if own and own != "folder" else []), *others]))
            told = "0/1 columns" if role == "labels" and len(used.labels) > 1 else own or "none"
            column = place.selectbox(
                title,
                options,
                index=None,
                placeholder=f"{told} (found)",
                key=f"pictures_{role}",
                help="Choose another column when the right one was not found.",
            )
            if column is not None:
                chosen[role] = str(column)
    return chosen


def _check(upload: PictureUpload, task: Task, chosen: dict[str, str], asked: tuple[Any, ...]) -> CheckedPictures | None:
    st.session_state.pop("pictures_checked", None)
    keep = upload.folder / "kept"
    shutil.rmtree(keep, ignore_errors=True)
    bar = st.progress(0.0, "Reading.")
    try:
        draft = draft_images(
            upload.files,
            task_name=task.name,
            clean_label=task.clean_label,
            label_name=task.label_name,
            columns=chosen,
            say=ui.teller(bar),
            keep=keep,
        )
    except MedbenchError as error:
        ui.show_error(error)
        return None
    finally:
        bar.empty()
    checked = CheckedPictures(draft, asked)
    st.session_state["pictures_checked"] = checked
    return checked


# --- what was found --------------------------------------------------------------------------------------------


def _shown(checked: CheckedPictures) -> None:
    draft = checked.draft
    st.subheader("Pictures", anchor=False)
    ui_verdict.draw_account(draft.account, {}, _counts(draft))
    ui_verdict.draw_cleaning(draft.cleaning, draft.notices)
    section = st.segmented_control(
        "Section", SECTIONS, default=SECTIONS[0], required=True, key="pictures_section", label_visibility="collapsed"
    )
    if section == "Verdict":
        ui_verdict.draw_findings(draft.findings, _rows_of(draft), f"pictures_{checked.key}", draft.label_names)
    elif section == "Plots":
        ui_pictures.draw_plots(draft.frame, draft.label_names, checked.key)
    elif draft.pictures is not None:
        ui_pictures.draw_gallery(draft.frame, draft.pictures, draft.label_names, draft.findings, checked.key)


def _counts(draft: Draft) -> dict[str, str]:
    """Return what became of the pictures, and apart from them of the tables' rows."""
    pictures = [card for card in draft.sources if str(card["format"]).startswith(PICTURES)]
    tables = [card for card in draft.sources if card not in pictures]
    told = {
        "Pictures read as they stand": sum(card["read"] for card in pictures),
        "Converted": sum(card["repaired"] for card in pictures),
        "Refused": sum(card["refused"] for card in pictures),
    }
    if tables:
        told["Table rows that fit"] = sum(card["read"] + card["repaired"] for card in tables)
        told["Table rows left out"] = sum(card["refused"] for card in tables)
    return {name: ui.number(count) for name, count in told.items()}


def _rows_of(draft: Draft) -> ui_verdict.FetchRows:
    def fetch(rows: Any) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = draft.frame.iloc[list(rows)].to_dict("records")  # type: ignore[assignment]
        return [{"position": row, **record} for row, record in zip(rows, records, strict=True)]

    return fetch


# --- save ------------------------------------------------------------------------------------------------------


def _save(workspace: Workspace, draft: Draft, upload: PictureUpload) -> None:
    st.subheader("Save", anchor=False)
    key = abs(hash(upload.signature))
    name = st.text_input("Name", _suggested(upload), key=f"pictures_name_{key}", help="What you call this dataset.")
    terms = st.text_input(
        "Licence or terms",
        key="pictures_terms",
        placeholder="for example CC BY-NC 4.0, or: own data, not to be shared",
        help="Kept with the dataset and with every model that learns from it.",
    )
    try:
        plan = _plan(draft)
    except MedbenchError as error:
        ui.show_error(error)
        return
    if st.button(
        "Save the dataset",
        key="pictures_save",
        type="primary",
        help="Kept under an id that depends on its content.",
        shortcut="Alt+S",
    ):
        with st.spinner("Splitting and saving."):
            dataset_id = datasets.save(workspace, draft, name=name, plan=plan, licence=terms)
        forget()
        st.session_state["add_round"] += 1
        st.session_state["dataset_saved"] = dataset_id
        st.query_params.clear()
        st.query_params["dataset"] = dataset_id
        st.rerun()


def _suggested(upload: PictureUpload) -> str:
    first = upload.files[0][1] if len(upload.files) < 3 else LOOSE
    return first.split(".")[0].replace("_", " ").strip() or "pictures"


def _plan(draft: Draft) -> SplitPlan:
    if not draft.labels:
        st.info("There are no labels. The pictures can be classified, not trained on, so they are not split.")
        return SplitPlan()
    methods = {"file": "The file's own", "group": "By lesion", "image": "By picture"}
    if not draft.has_own_split:
        del methods["file"]
    method = st.segmented_control(
        "Splits",
        list(methods),
        default=next(iter(methods)),
        required=True,
        format_func=methods.__getitem__,
        key="pictures_split_method",
        help="By lesion keeps pictures of one lesion, one patient, and duplicates on the same side.",
    )
    if method == "file":
        st.caption("A missing validation split is taken out of train.")
        return SplitPlan("file")
    if method == "image":
        torn = sum(size > 1 for size in draft.frame["cluster"].value_counts())
        st.warning(
            f"{ui.count_of(torn, 'lesion')} with several pictures can land on both sides. "
            "Scores will be too good to be believed. Use this only to show that."
        )
    columns = st.columns([2, 2, 1])
    validation = columns[0].slider("Validation, %", 5, 40, 15, key="pictures_validation", help="Tunes thresholds.")
    test = columns[1].slider("Test, %", 0, 40, 15, key="pictures_test", help="Looked at once, to judge the model.")
    seed = columns[2].number_input("Seed", 0, 2**31 - 1, 0, key="pictures_seed", help="Same seed, same splits.")
    shares = (100 - validation - test, validation, test)
    st.caption(" · ".join(f"{name} {part} %" for name, part in zip(SPLITS, shares, strict=True)))
    return SplitPlan(
        "stratified", (shares[0] / 100, validation / 100, test / 100), int(seed), part_groups=method == "image"
    )
