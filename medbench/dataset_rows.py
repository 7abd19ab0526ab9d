"""The rows of a dataset as a file: how they are written, read back, and what identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.drafting import Draft

if TYPE_CHECKING:
    import pandas as pd

GROUP_ROWS = 2_000
"""Rows in one piece of the file; a page of rows is read without the rest."""


def digest_of(frame: pd.DataFrame, draft: Draft) -> str:
    """Return the sha256 over rows and splits, hex; file names, lines and the time of day do not enter."""
    digest = hashlib.sha256()
    digest.update(json.dumps([draft.task, draft.answer, draft.labels, draft.label_names]).encode())
    for column in frame.columns:
        if column in ("source", "line", "cluster"):
            continue
        digest.update(f"\x1d{column}\x1d".encode())
        values = frame[column]
        cells = ("\x1e".join(cell) for cell in values) if column == "labels" else map(str, values)
        digest.update("\x1f".join(cells).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def write_rows(path: Path, frame: pd.DataFrame) -> None:
    """Write all rows in order, in pieces of `GROUP_ROWS`."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    kinds = {"labels": arrow.list_(arrow.string()), "labelled": arrow.bool_(), "line": arrow.int64()}
    columns = {
        str(name): arrow.array(frame[name].tolist(), type=kinds.get(str(name), arrow.string()))
        for name in frame.columns
    }
    parquet.write_table(arrow.table(columns), path, row_group_size=GROUP_ROWS, compression="zstd")


def as_frame(table: Any) -> pd.DataFrame:
    """Return an Arrow table as object columns; "labels" become lists, "labelled" bool and "line" int64."""
    import pandas as pd

    dtypes = {"labelled": "bool", "line": "int64"}
    columns = {
        name: pd.Series(table.column(name).to_pylist(), dtype=dtypes.get(name, "object")) for name in table.column_names
    }
    return pd.DataFrame(columns)


def rows_with_ids(path: Path, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows whose column "id" holds one of these, in file order."""
    import pyarrow.parquet as parquet

    found: list[dict[str, Any]] = parquet.read_table(path, filters=[("id", "in", list(ids))]).to_pylist() if ids else []
    return found


def truth_of(labels: Iterable[Sequence[str]], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return (n, n_labels) bool for n lists of labels; labels not in `names` are left out."""
    rows = list(labels)
    column = {name: index for index, name in enumerate(names)}
    truth = np.zeros((len(rows), len(names)), dtype=np.bool_)
    for row, found in enumerate(rows):
        for label in found:
            if label in column:
                truth[row, column[label]] = True
    return truth
