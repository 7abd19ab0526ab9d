"""What a dataset has to be told about: the account of its records, cleaning, and findings that open their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import ui, ui_grid
from medbench.readers import Account
from medbench.records import Finding

if TYPE_CHECKING:
    import pandas as pd

FetchRows = Callable[[Sequence[int]], "list[dict[str, Any]]"]
SHOWN_ROWS = 500
ENTRIES_SHOWN = 200
EXTRA_SHOWN = 4
_COLUMNS = ("position", "id", "title", "labels", "text", "split", "group", "source", "line")


def draw_account(
    accounts: Mapping[str, Account], left_out: Mapping[str, str], told: Mapping[str, str] | None = None
) -> None:
    """Show how many records were read, repaired, refused, and every one that was not read as it stands.

    Args:
        accounts: File name -> what became of its records.
        left_out: File name -> why it was left out.
        told: Other facts to show instead of the sums over all files.
    """
    ui.facts(
        told
        or {
            "Read as they stand": ui.number(sum(one.read for one in accounts.values())),
            "Repaired": ui.number(sum(one.repaired for one in accounts.values())),
            "Refused": ui.number(sum(one.refused for one in accounts.values())),
            "Files": ui.number(len(accounts)),
            **({"Files left out": ui.number(len(left_out))} if left_out else {}),
        }
    )
    entries = [
        {"file": name, "line": line, "what": status, "why": reason}
        for name, account in accounts.items()
        for line, status, reason in account.entries
    ]
    entries += [{"file": name, "line": 0, "what": "left out", "why": reason} for name, reason in left_out.items()]
    if not entries:
        return
    with st.expander(f"Repaired, refused or left out: where and why ({len(entries):,})"):
        st.dataframe(entries[:ENTRIES_SHOWN], hide_index=True, key="account_entries")
        if len(entries) > ENTRIES_SHOWN:
            st.caption(f"The first {ENTRIES_SHOWN:,} of {len(entries):,}; the download has all.")
        ui.download("Download the account", lambda: _csv(entries), "account.csv", "account_download", "text/csv")


def draw_cleaning(sentences: Sequence[str], notices: Sequence[str]) -> None:
    """List what was changed in texts and what was assumed about files."""
    if not sentences and not notices:
        return
    with st.expander(f"Cleaning ({len(sentences)}) and what was assumed ({len(notices)})"):
        if not sentences:
            st.markdown("No text had to be cleaned.")
        st.markdown("\n".join(f"- {ui.plain(sentence)}" for sentence in (*sentences, *notices[:100])))


def draw_findings(findings: Sequence[Finding], fetch: FetchRows, key: str, names: Mapping[str, str]) -> None:
    """List findings, worst first; a finding opens its rows in a grid below it.

    Args:
        findings: The verdict.
        fetch: Positions -> rows with the columns of a dataset's frame.
        key: Tells one dataset's widgets from another's.
        names: Label -> what the user reads.
    """
    if not findings:
        st.success("Nothing stands against this dataset.", icon="✅")
        return
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ui.SEVERITY}
    told = [f"{icon} {counts[severity]} {word}" for severity, (icon, word) in ui.SEVERITY.items() if counts[severity]]
    st.caption(" · ".join(told))
    for number, finding in enumerate(sorted(findings, key=lambda one: list(ui.SEVERITY).index(one.severity))):
        _finding(finding, fetch, f"{key}_{number}", names)


def _finding(finding: Finding, fetch: FetchRows, key: str, names: Mapping[str, str]) -> None:
    with st.container(border=True):
        said, button = st.columns([6, 1], vertical_alignment="center")
        said.markdown(ui.finding_line(finding))
        opened = bool(finding.rows) and button.toggle(
            "Rows",
            key=f"finding_{key}",
            help=f"Show the {ui.count_of(finding.count or len(finding.rows), 'row')} this is about.",
        )
        if opened:
            _finding_rows(finding, fetch, key, names)


def _finding_rows(finding: Finding, fetch: FetchRows, key: str, names: Mapping[str, str]) -> None:
    import pandas as pd

    positions = list(finding.rows[:SHOWN_ROWS])
    frame = readable(pd.DataFrame(fetch(positions)), names)
    groups = {row: number for number, held in enumerate(finding.detail.get("groups", ()), 1) for row in held}
    if groups:
        frame.insert(1, "set", [groups.get(row, 0) for row in positions])
    if len(finding.rows) > len(positions) or finding.count > len(finding.rows):
        st.caption(f"{len(positions):,} of {max(finding.count, len(finding.rows)):,} rows.")
    picked = ui_grid.grid(frame, f"finding_grid_{key}", selection="one", page_size=12, widths=WIDTHS)
    if picked:
        draw_row(fetch([positions[picked[0]]])[0], names)
    ui.download(
        "Download these rows",
        lambda: ui.csv_bytes(pd.DataFrame(fetch(list(finding.rows)))),
        "rows.csv",
        f"{key}_rows",
        "text/csv",
    )


WIDTHS = {"position": 84, "set": 60, "line": 76, "id": 104, "labels": 170, "split": 96, "source": 140, "group": 110}


def readable(frame: pd.DataFrame, label_names: Mapping[str, str]) -> pd.DataFrame:
    """Return the columns a reader looks at first, empty ones left out, texts cut to what fits a cell."""
    names = [name for name in _COLUMNS if name in frame.columns]
    told = [frame[name].tolist() for name in ("title", "text") if name in frame.columns]
    names += [name for name in frame.columns if name.startswith("x_") and frame[name].tolist() not in told][
        :EXTRA_SHOWN
    ]
    made = frame[names].copy()
    for name in ("title", "text"):
        if name in made:
            made[name] = made[name].str.slice(0, 240)
    if "labels" in made:
        made["labels"] = ["; ".join(label_names.get(one, one) for one in found) for found in made["labels"]]
    filled = [name for name in names if name in ("position", "line") or made[name].astype(str).ne("").any()]
    result: pd.DataFrame = made[filled]
    if "source" in result and result["source"].nunique() == 1:
        result = result.drop(columns="source")
    return own_names(result)


def own_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the file's other columns under the file's own names, where those are free."""
    taken = set(frame.columns)
    free = {name: name[2:] for name in frame.columns if name.startswith("x_") and name[2:] not in taken}
    return frame.rename(columns=free)


def draw_row(row: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Show one row whole: title, labels, text, and what else the file says of it."""
    with st.container(border=True):
        st.markdown(f"**{ui.plain(str(row.get('title') or row.get('id')))}**")
        labels = [label if names.get(label, label) == label else f"{label} · {names[label]}" for label in row["labels"]]
        st.html(ui.chips(labels) or ui.chips(["no label"], quiet=True))
        st.text(str(row.get("text", "")))
        rest = {
            name.removeprefix("x_"): value
            for name, value in row.items()
            if value and name not in ("title", "text", "labels", "labelled", "cluster")
        }
        st.caption(" · ".join(f"{ui.plain(name)}: {ui.plain(str(value)[:160])}" for name, value in rest.items()))


def _csv(entries: Sequence[Mapping[str, Any]]) -> bytes:
    import pandas as pd

    return ui.csv_bytes(pd.DataFrame(entries))
