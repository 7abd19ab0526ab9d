"""Adding MIMIC: name the folder of a download, build its database, read the verdict, make a dataset of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from medbench import mimic, mimic_jobs, ui
from medbench.errors import MedbenchError
from medbench.mimic import Order, Verdict
from medbench.mimic_dataset import Kind, Revision, Wish
from medbench.mimic_files import TITLES, Version
from medbench.mimic_jobs import MimicJob
from medbench.tasks import Task
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

ChoiceT = TypeVar("ChoiceT")
_EVERY = 1.0
INTRO = (
    "MIMIC-III v1.4 or MIMIC-IV v2.2 and 3.1 as PhysioNet hands them out (CSV or CSV.GZ). The folder is read where it "
    "lies and never changed; notes, codes and patients come together in one database file under data/mimic."
)
CODES: dict[Kind, str] = {"all": "All", "diagnosis": "Diagnoses", "procedure": "Procedures"}
REVISIONS: dict[Revision, str] = {"all": "All", "9": "ICD-9", "10": "ICD-10"}
VERSIONS = {
    "icd9cm": "ICD-9-CM diagnoses",
    "icd9pcs": "ICD-9-CM procedures",
    "icd10cm": "ICD-10-CM diagnoses",
    "icd10pcs": "ICD-10-PCS procedures",
}


def draw(workspace: Workspace, task: Task) -> None:
    """Draw the way from a folder to a dataset."""
    st.caption(INTRO)
    job = mimic_jobs.current(workspace)
    if job is not None and job.running:
        st.fragment(_progress, run_every=_EVERY)(job)
        return
    if job is not None:
        _ended(workspace, job)
    _form(workspace)
    _built(workspace, task, job)


def _progress(job: MimicJob) -> None:
    with ui.guarded():
        if not job.running:
            st.rerun()
        st.progress(min(max(job.share, 0.0), 1.0), job.sentence)
        st.caption(f"{ui.duration(time.time() - job.began)} so far. You may leave this page; it goes on.")
        if job.can_stop and st.button("Stop", key="mimic_stop", help="Ends it. Nothing is left behind."):
            job.stop()


def _ended(workspace: Workspace, job: MimicJob) -> None:
    """Say how a job ended; a dataset that was made is opened."""
    if isinstance(job.problem, MedbenchError):
        ui.show_error(job.problem)
    elif job.problem:
        st.error(job.problem)
    elif job.stopped:
        st.info("Stopped. Nothing was left behind.")
    elif job.dataset:
        mimic_jobs.put_away(workspace)
        st.session_state["dataset_saved"] = job.dataset
        st.query_params.clear()
        st.query_params["dataset"] = job.dataset
        st.rerun()


def _form(workspace: Workspace) -> None:
    folder = st.text_input(
        "Folder of the download",
        key="mimic_folder",
        placeholder="/data/physionet.org/files/mimiciii/1.4",
        help="On the computer that medbench runs on. For MIMIC-IV the folder that holds hosp.",
        persist_state="session",
    ).strip()
    columns = st.columns([1, 1, 1])
    version = _one_of(columns[0], "Version", TITLES, "iii", "mimic_version", "Which download it is.")
    patients = columns[1].number_input(
        "Patients (0: all)",
        0,
        None,
        0,
        100,
        key="mimic_patients",
        persist_state="session",
        help="A part of them to try it out; those with discharge notes first.",
    )
    seed = columns[2].number_input(
        "Seed",
        0,
        2**31 - 1,
        0,
        key="mimic_seed",
        persist_state="session",
        help="Of the draw of patients and of the splits 80/10/10 by patient.",
    )
    wanted, drop = _choices(version)
    if not st.button(
        "Build the database",
        key="mimic_build",
        type="primary",
        help="Takes minutes for all of MIMIC.",
        shortcut="Alt+K",
    ):
        return
    if not folder:
        ui.show_error(MedbenchError("the folder of a MIMIC download", "none", "Type its path."))
        return
    place = Path(folder).expanduser()
    order = replace(wanted, folder=place, patients=int(patients) or None, seed=int(seed))
    mimic_jobs.build(workspace, order, drop)
    st.rerun()


def _choices(version: Version) -> tuple[Order, bool]:
    """Draw what is seldom changed; returns an order that lacks its folder, and whether to build again."""
    notes = ""
    if version == "iv":
        notes = st.text_input(
            "Folder of MIMIC-IV-Note",
            key="mimic_notes",
            persist_state="session",
            placeholder="/data/physionet.org/files/mimic-iv-note/2.2",
            help="The notes of MIMIC-IV are a download of their own. Leave it empty where note lies beside hosp.",
        ).strip()
    with st.expander("More choices"):
        ids = st.text_input(
            "Files with published splits",
            key="mimic_splits",
            persist_state="session",
            placeholder="/data/splits/mimiciii_full.csv",
            help="Ids of admissions, patients or notes and their split; several files with ; between them. "
            "Empty: 80/10/10 by patient.",
        )
        everything = st.toggle(
            "All tables",
            key="mimic_everything",
            persist_state="session",
            help="Also laboratory values, orders and charts. Coding needs none.",
        )
        drop = st.toggle(
            "Build again",
            key="mimic_drop",
            persist_state="session",
            help="In the place of one of the same files and choices.",
        )
    files = tuple(Path(part.strip()).expanduser() for part in ids.split(";") if part.strip())
    apart = Path(notes).expanduser() if notes else None
    return Order(Path(), version, notes=apart, split_ids=files, everything=everything), drop


def _built(workspace: Workspace, task: Task, job: MimicJob | None) -> None:
    paths = mimic.databases(workspace)
    st.subheader("Databases", anchor=False)
    if not paths:
        st.caption("None yet.")
        return
    fresh = job.database if job is not None and job.database in paths else paths[0]
    path = st.selectbox(
        "Database",
        paths,
        index=paths.index(fresh),
        format_func=lambda one: f"{one.stem} ({ui.size(one.stat().st_size)}, {ui.when(one.stat().st_mtime)})",
        key=f"mimic_database_{fresh.stem}",
        help="One file in data/mimic, which DuckDB opens.",
    )
    verdict = mimic.verdict_of(path)
    _verdict(path, verdict)
    if verdict.can_train:
        _dataset(workspace, task, path)
    else:
        st.warning("No admission here has both a discharge note and codes: nothing can be trained on this database.")


def _verdict(path: Path, verdict: Verdict) -> None:
    import pandas as pd

    ui.facts(
        {
            "Patients": ui.number(verdict.patients),
            "with a discharge note": ui.number(verdict.noted),
            "Admissions with a note": ui.number(verdict.notes),
            "with a note and codes": ui.number(verdict.coded),
            **{
                f"Admissions to {name}": ui.number(verdict.splits.get(name, 0))
                for name in ("train", "validation", "test")
            },
        }
    )
    codes = [
        f"{ui.number(count)} {VERSIONS[version]} ({ui.number(verdict.distinct[version])} different)"
        for version, count in verdict.codes.items()
    ]
    st.caption("Codes: " + ("; ".join(codes) or "none") + ".")
    if verdict.left_out:
        st.markdown("\n".join(["What was left out, joined or is to be known:", "", *_bullets(verdict.left_out)]))
    table = pd.DataFrame(
        [(count.name, count.file, count.rows, count.kept, count.rows - count.kept) for count in verdict.tables],
        columns=["table", "file", "rows in the file", "taken", "of other patients"],
    )
    with st.expander(f"{ui.count_of(len(verdict.tables), 'table')}"):
        st.dataframe(table, hide_index=True, key="mimic_tables")
        ui.download(
            "Download this table", lambda: ui.csv_bytes(table), f"{path.stem}.csv", "mimic_tables_download", "text/csv"
        )


def _bullets(sentences: list[str]) -> list[str]:
    return [f"- {ui.plain(sentence)}" for sentence in sentences]


def _one_of(
    place: DeltaGenerator, title: str, words: Mapping[ChoiceT, str], default: ChoiceT, key: str, help: str
) -> ChoiceT:
    """Draw a choice of one; `words` are what the user reads."""
    chosen: ChoiceT = place.segmented_control(
        title, list(words), default=default, required=True, format_func=words.__getitem__, key=key, help=help or None,
        persist_state="session",
    )  # fmt: skip
    return chosen


def _dataset(workspace: Workspace, task: Task, path: Path) -> None:
    st.subheader("Make a dataset", anchor=False)
    columns = st.columns([2, 2, 2, 1])
    name = columns[0].text_input("Name", path.stem[:-11], key=f"mimic_name_{path.stem}", help="What you call it.")
    codes = _one_of(columns[1], "Codes", CODES, "all", "mimic_codes", "Which codes become labels.")
    revision = _one_of(
        columns[2],
        "Revision",
        REVISIONS,
        "all",
        "mimic_icd",
        "Admissions of MIMIC-IV carry codes of the one or the other.",
    )
    least = columns[3].number_input(
        "At least",
        1,
        None,
        10,
        key="mimic_min_count",
        persist_state="session",
        help="A code needs so many admissions to become a label.",
    )
    if st.button(
        "Make the dataset",
        key="mimic_make",
        type="primary",
        help="Checks all notes and keeps the splits of the database.",
    ):
        wish = Wish(codes, revision, int(least))
        mimic_jobs.make_dataset(workspace, path, wish, name, task.clean_label, task.label_name)
        st.rerun()
