"""Curves in a square from (0, 0) to (1, 1), described once and drawn on a page or on paper."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Told apart with any kind of colour vision (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
INK, GRID = "#191e24", "#d5dbe1"
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
POINTS = 150  # of a line: more cannot be seen at the size of a hand
_WIDE, _LEFT, _TOP, _ROW = 280, 44, 26, 15  # pixels
_LETTERS = 44  # of a name in the legend


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: What the legend says.
        x: Positions across, 0-1.
        y: Positions up, 0-1, as many.
        colour: "#rrggbb".
        dotted: Dotted and thin rather than whole.
        marks: Whether each point gets a mark.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dotted: bool = False
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Square:
    """One plot.

    Attributes:
        title: Its heading.
        across: What is drawn from left to right.
        up: What is drawn from bottom to top.
        lines: The curves.
        guide: What guessing, or perfect honesty, would look like: a grey line from (0, left) to (1, right).
    """

    title: str
    across: str
    up: str
    lines: Sequence[Line]
    guide: tuple[float, float] | None = None


def thinned(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[list[float], list[float]]:
    """Return at most `POINTS` points of a curve, both ends among them, evenly along its length."""
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(across) > POINTS:
        walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
        kept = np.unique(np.searchsorted(walked, np.linspace(0, walked[-1], POINTS)))
        kept[-1] = len(across) - 1
        across, up = across[kept], up[kept]
    return across.tolist(), up.tolist()


def as_svg(square: Square) -> str:
    """Return the plot as an SVG element for a page."""
    tall = _TOP + _WIDE + 36 + _ROW * len(square.lines)
    wide = _LEFT + _WIDE + 12
    label = html.escape(f"{square.title}: {square.up} against {square.across}")
    pieces = [
        f'<svg viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{INK}">',
        f'<text x="{_LEFT}" y="14" font-size="13" font-weight="600">{html.escape(square.title)}</text>',
    ]
    for tick in TICKS:
        x, y = _place(tick, tick)
        pieces.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDE}M{x:.1f} {_TOP}v{_WIDE}" stroke="{GRID}" fill="none"/>')
        pieces.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        pieces.append(f'<text x="{x:.1f}" y="{_TOP + _WIDE + 14}" text-anchor="middle">{tick:g}</text>')
    x, y = _place(0.5, 0.5)
    pieces.append(f'<text x="{x}" y="{_TOP + _WIDE + 28}" text-anchor="middle">{html.escape(square.across)}</text>')
    pieces.append(
        f'<text transform="translate(11 {y}) rotate(-90)" text-anchor="middle">{html.escape(square.up)}</text>'
    )
    if square.guide is not None:
        ends = [_place(0, square.guide[0]), _place(1, square.guide[1])]
        pieces.append(_path(ends, "#8a8f98", 'stroke-dasharray="2 3"'))
    for row, line in enumerate(square.lines):
        pieces += _svg_line(line, _TOP + _WIDE + 36 + _ROW * row)
    return "".join([*pieces, "</svg>"])


def _place(x: float, y: float) -> tuple[float, float]:
    return _LEFT + _WIDE * x, _TOP + _WIDE * (1 - y)


def _path(points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{steps}" stroke="{colour}" fill="none" {more}/>'


def _svg_line(line: Line, legend: float) -> list[str]:
    style = 'stroke-width="1" stroke-dasharray="3 2"' if line.dotted else 'stroke-width="1.7"'
    points = [_place(x, y) for x, y in zip(line.x, line.y, strict=True)]
    pieces = [_path(points, line.colour, style)] if points else []
    if line.marks:
        pieces += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{line.colour}"/>' for x, y in points]
    pieces.append(_path([(_LEFT, legend + 4), (_LEFT + 18, legend + 4)], line.colour, style))
    name = line.name if len(line.name) <= _LETTERS else f"{line.name[: _LETTERS - 1]}…"
    pieces.append(f'<text x="{_LEFT + 24}" y="{legend + 8}">{html.escape(name)}</text>')
    return pieces
