"""The table that people work in: it sorts, filters, resizes, and tells which rows are selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from medbench.ui import cell

if TYPE_CHECKING:
    import pandas as pd


def grid(
    frame: pd.DataFrame,
    key: str,
    *,
    selection: Literal["none", "one", "many"] = "none",
    height: int | None = None,
    widths: Mapping[str, int] | None = None,
    names: Mapping[str, str] | None = None,
    hide: Sequence[str] = (),
    wrap: Sequence[str] = (),
    decimals: Mapping[str, int] | None = None,
    page_size: int = 0,
) -> list[int]:
    """Draw a table that people work in: sort, filter, resize, select. Returns the selected positions in `frame`.

    Args:
        frame: At most some thousand rows (all of them travel to the browser), columns of any dtype.
        key: Widget key.
        selection: Whether rows can be selected, by a click anywhere on them ("one") or check boxes ("many").
        height: Pixels; fitted to the rows when None.
        widths: Column -> pixels; other columns share the rest.
        names: Column -> heading.
        hide: Columns that are not shown.
        wrap: Columns whose text wraps; the rows then grow.
        decimals: Column -> number of decimals shown.
        page_size: Rows on a page, or 0 for one scrolling table.
    """
    from st_aggrid import AgGrid

    shown = _plain_columns(frame)
    columns = [
        _column(name, shown[name], widths or {}, names or {}, name in hide, name in wrap, decimals)
        for name in map(str, shown.columns)
    ]
    shown["__row"] = [str(row) for row in range(len(shown))]
    paged = bool(page_size) and len(shown) > page_size
    answer = AgGrid(
        shown,
        gridOptions=_grid_options([*columns, {"field": "__row", "hide": True}], selection, page_size if paged else 0),
        height=height or fitted_height(min(len(shown), page_size or 12), paged, bool(wrap)),
        key=key,
        update_on=["selectionChanged"] if selection != "none" else [],
        data_return_mode="AS_INPUT",
        enable_enterprise_modules=False,
        show_toolbar=False,
        theme="streamlit",
        custom_css={".ag-cell": {"font-size": "14px"}, ".ag-header-cell": {"font-size": "14px"}},
    )
    picked = answer.selected_rows if selection != "none" else None
    return [] if picked is None else [row for value in picked["__row"] if (row := int(value)) < len(frame)]


def fitted_height(rows: int, paged: bool = False, wrapped: bool = False) -> int:
    """Return the pixels that this many rows of a grid take, with heading, pager and some room for wrapped text."""
    return 34 * max(rows, 1) + 52 + 48 * paged + 60 * wrapped


def _grid_options(columns: list[dict[str, Any]], selection: str, page_size: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "columnDefs": columns,
        "defaultColDef": {"sortable": True, "resizable": True, "filter": True, "minWidth": 70},
        "rowHeight": 34,
        "headerHeight": 36,
        "enableCellTextSelection": True,
        "suppressDragLeaveHidesColumns": True,
        "tooltipShowDelay": 400,
    }
    if selection == "one":
        options["rowSelection"] = {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True}
    elif selection == "many":
        options["rowSelection"] = {"mode": "multiRow", "checkboxes": True, "enableClickSelection": False}
    if page_size:
        options |= {"pagination": True, "paginationPageSize": page_size, "paginationPageSizeSelector": False}
    return options


def _column(
    name: str,
    values: pd.Series[Any],
    widths: Mapping[str, int],
    names: Mapping[str, str],
    hidden: bool,
    wrapped: bool,
    decimals: Mapping[str, int] | None,
) -> dict[str, Any]:
    column: dict[str, Any] = {"field": name, "headerName": names.get(name, name), "hide": hidden}
    if values.dtype.kind in "iuf":
        shown = f"value.toFixed({decimals[name]})" if decimals and name in decimals else "value.toLocaleString('en')"
        column |= {"type": "numericColumn", "filter": "agNumberColumnFilter"}
        column |= {"valueFormatter": f"value == null ? '' : {shown}"}
    else:
        column |= {"filter": "agTextColumnFilter", "tooltipField": name}
    width = widths.get(name)
    if width:
        column |= {"width": width, "suppressHeaderFilterButton": width <= 110}
    else:
        column |= {"flex": 1, "minWidth": 170}
    if wrapped:
        column |= {"wrapText": True, "autoHeight": True}
    return column


def _plain_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy whose columns are numbers or plain objects: the grid stays blank on other kinds of columns."""
    import pandas as pd

    made: dict[str, pd.Series[Any]] = {}
    for name in frame.columns:
        values = frame[name]
        numeric = getattr(values.dtype, "kind", "O") in "iuf" and isinstance(values.dtype.type(0).item(), int | float)
        made[str(name)] = (
            pd.Series(values.to_numpy(), dtype=values.dtype.name.lower())
            if numeric
            else pd.Series([cell(value) for value in values], dtype=object)
        )
    return pd.DataFrame(made)
