"""How findings are put together: numbers in words, rows capped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from medbench.records import Finding

Severity = Literal["stop", "warn", "info"]
MAX_ROWS = 1_000
_GROUPS_SHOWN = 200


def finding(
    kind: str,
    severity: Severity,
    sentence: str,
    rows: Sequence[int] = (),
    value: float | None = None,
    **detail: Any,
) -> Finding:
    """Return a finding about these rows: all are counted, the first 1,000 are kept."""
    kept = tuple(int(row) for row in rows[:MAX_ROWS])
    return Finding(kind, severity, sentence, len(rows), kept, None if value is None else float(value), detail)


def percent(share: float) -> str:
    """Return a share of 0-1 as "12 %", with one decimal where it matters (below 10 and above 90)."""
    points = 100 * share
    return f"{points:.0f} %" if 10 <= points <= 90 or points in (0, 100) else f"{points:.1f} %"


def rows_word(count: int) -> str:
    """Return "1 row" or "2,345 rows"."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def shown_groups(groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return the first 200 groups, at most 50 rows of each, JSON-ready."""
    return [[int(row) for row in group[:50]] for group, _ in zip(groups, range(_GROUPS_SHOWN), strict=False)]
