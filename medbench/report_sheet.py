"""The paper a report is drawn on: A4, one font that knows most scripts, tables, bars, plots and marked text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from medbench.records import Span
from medbench.squares import GRID, TICKS, Line, Square

if TYPE_CHECKING:
    from PIL import Image

_FONT = "dejavu"
_MARGIN = 18.0  # mm, as all lengths here
_LINE = 4.6
_ROW = 5.2
_FOOT = 18.0
_GAP, _TALL = 4.0, 90.0
_BAR_FROM, _BAR_WIDE = 76.0, 62.0
_AXIS, _SIDE, _LEGEND, _HEAD = 11.0, 72.0, 3.6, 16.5
Colour = tuple[int, int, int]
_INK: Colour = (25, 30, 36)
_GREY: Colour = (100, 107, 115)
_PALE: Colour = (232, 236, 240)
_DECIDED: Colour = (30, 105, 170)
_OTHER: Colour = (168, 182, 196)
# Blue for and orange against stay apart with every common colour blindness; "against" is underlined as well.
_FOR: Colour = (86, 160, 220)
_AGAINST: Colour = (240, 160, 70)
_PIECE = re.compile(r"\n|\S+|[^\S\n]+")


class _Paper(FPDF):
    """Pages with a foot."""

    foot = ""

    def footer(self) -> None:
        self.set_y(-13)
        self.set_font(_FONT, "", 7)
        self.set_text_color(*_GREY)
        self.cell(self.epw * 0.85, 4, self.foot)
        self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")


class _Advances(dict[str, float]):
    """Letter -> how far it moves the pen, in mm at a font size of 1 pt; looked up once per letter."""

    def __init__(self, paper: FPDF, style: str) -> None:
        super().__init__()
        self._widths, self._unit = paper.fonts[_FONT + style].cw, 0.001 / paper.k

    def __missing__(self, letter: str) -> float:
        self[letter] = advance = float(self._widths[ord(letter)]) * self._unit  # type: ignore[index]
        return advance


class Sheet:
    """A document that grows from top to bottom; characters the font does not have become white squares."""

    def __init__(self, foot: str) -> None:
        """Begin an empty document with `foot` at the foot of every page."""
        from matplotlib import get_data_path

        fonts = Path(get_data_path()) / "fonts" / "ttf"
        self._paper = paper = _Paper(format="A4")
        paper.add_font(_FONT, "", fonts / "DejaVuSans.ttf")
        self._glyphs = frozenset(getattr(paper.fonts[_FONT], "cmap", ()))
        paper.add_font(_FONT, "B", fonts / "DejaVuSans-Bold.ttf")
        self._advances = {style: _Advances(paper, style) for style in ("", "B")}
        paper.foot = self._known(foot)
        paper.set_margins(_MARGIN, 16)
        paper.c_margin = 0
        paper.set_auto_page_break(True, margin=_FOOT)
        paper.set_title("medbench report")
        paper.add_page()

    def done(self) -> bytes:
        """Return the whole document."""
        return bytes(self._paper.output())

    def title(self, text: str) -> None:
        """Draw the title of the report."""
        self._block(text, 18, 8.5, bold=True)

    def notice(self, text: str) -> None:
        """Draw a sentence that nobody may miss, in a pale box."""
        self._paper.ln(1.5)
        self._paper.set_fill_color(*_PALE)
        self._paper.c_margin = 2
        self._block(text, 10, 8, bold=True, fill=True)
        self._paper.c_margin = 0

    def heading(self, text: str, plots: Sequence[Square] = ()) -> None:
        """Draw a heading, with room on the same page for what follows it: some lines, or text and a row of plots."""
        self._room(24 + (_HEAD + _SIDE + _LEGEND * max(len(one.lines) for one in plots) if plots else 0))
        self._paper.ln(3.5)
        self._block(text, 13, 6.5, bold=True)
        self._paper.ln(0.8)

    def item(self, title: str, note: str) -> None:
        """Draw the head of an item: its title and, in grey, a note."""
        self._room(34)
        paper = self._paper
        paper.ln(3.5)
        paper.set_draw_color(*_OTHER)
        paper.line(paper.l_margin, paper.get_y(), paper.w - paper.r_margin, paper.get_y())
        paper.ln(1.5)
        self._block(title, 11, 5.4, bold=True)
        self._block(note, 8, _LINE, colour=_GREY)

    def text(self, text: str, *, bold: bool = False) -> None:
        """Draw a paragraph."""
        self._block(text, 9, _LINE, bold=bold)

    def point(self, text: str) -> None:
        """Draw one point of a list."""
        self._pen(9)
        self._paper.cell(4, _LINE, "•")
        self._paper.set_x(_MARGIN + 4)
        self._block(text, 9, _LINE, width=self._paper.epw - 4)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Draw names with their values, the names in grey."""
        paper = self._paper
        for name, value in rows:
            self._room(_LINE * 2)
            self._pen(9, colour=_GREY)
            paper.cell(38, _LINE, self._known(name))
            self._block(value, 9, _LINE, width=paper.epw - 38)
        paper.ln(1.5)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], shares: Sequence[float]) -> None:
        """Draw a table whose cells are clipped to one line; the head stands again on every page.

        Args:
            head: Column names.
            rows: Rows of as many cells.
            shares: How wide the columns are, relative to each other.
        """
        paper = self._paper
        widths = [share * paper.epw / sum(shares) for share in shares]
        self._room(3 * _ROW)
        self._row(head, widths, bold=True)
        for row in rows:
            if paper.get_y() + _ROW > paper.h - _FOOT:
                paper.add_page()
                self._row(head, widths, bold=True)
            self._row(row, widths)
        paper.ln(1.5)

    def bar(
        self, name: str, probability: float, threshold: float | None, decided: bool, spread: float | None = None
    ) -> None:
        """Draw one label: its name, a bar from 0 to 1 with a tick at the threshold, and the number with its spread."""
        self._room(_ROW)
        paper = self._paper
        self._pen(9, bold=decided)
        paper.cell(_BAR_FROM - 2, _ROW, self._clipped(name, _BAR_FROM - 4))
        x, y = _MARGIN + _BAR_FROM, paper.get_y() + 0.9
        paper.set_fill_color(*_PALE)
        paper.rect(x, y, _BAR_WIDE, _ROW - 1.8, style="F")
        paper.set_fill_color(*(_DECIDED if decided else _OTHER))
        paper.rect(x, y, max(_BAR_WIDE * probability, 0.2), _ROW - 1.8, style="F")
        if threshold is not None:
            paper.set_draw_color(*_INK)
            paper.line(x + _BAR_WIDE * threshold, y - 0.6, x + _BAR_WIDE * threshold, y + _ROW - 1.2)
        paper.set_x(x + _BAR_WIDE + 2)
        limit = "" if threshold is None else f"  (limit {threshold:.2f})"
        around = "" if spread is None else f" ± {spread:.3f}"
        paper.cell(0, _ROW, f"{probability:.3f}{around}{limit}", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def pictures(self, pictures: Sequence[tuple[Image.Image, str]], columns: int = 0, title: str = "") -> None:
        """Draw pictures in rows, each over its caption, all as wide as the columns allow.

        Args:
            pictures: (picture, caption).
            columns: Pictures in a row; 0 for as many as there are, two or three.
            title: Stands above the first row, on the same page.
        """
        paper = self._paper
        columns = columns or min(max(len(pictures), 2), 3)
        wide = (paper.epw - _GAP * (columns - 1)) / columns
        for start in range(0, len(pictures), columns):
            row = pictures[start : start + columns]
            # A tall picture gets less than its column's width, so that a row never fills a page.
            sizes = [(min(wide, _TALL * one.width / one.height), one.height / one.width) for one, _ in row]
            high = max(width * ratio for width, ratio in sizes)
            self._room(high + 4 * _LINE + (2 * _LINE if title and not start else 0))
            if title and not start:
                self.text(title, bold=True)
            y, ends = paper.get_y() + 1, []
            for at, ((one, caption), (width, _)) in enumerate(zip(row, sizes, strict=True)):
                x = _MARGIN + at * (wide + _GAP)
                paper.image(one, x=x, y=y, w=width)
                paper.set_xy(x, y + high + 1)
                self._block(caption, 8, 3.8, colour=_GREY, width=wide)
                ends.append(paper.get_y())
            paper.set_xy(_MARGIN, max(ends) + 1.5)

    def squares(self, plots: Sequence[Square], columns: int = 2) -> None:
        """Draw plots side by side, each with its legend below."""
        paper, wide = self._paper, (self._paper.epw - _GAP * (columns - 1)) / columns
        side = min(wide - _AXIS - 2, _SIDE)
        for start in range(0, len(plots), columns):
            row = plots[start : start + columns]
            high = _HEAD + side + _LEGEND * max(len(one.lines) for one in row)
            self._room(high)
            top = paper.get_y() + 1.5
            for at, one in enumerate(row):
                self._square(one, _MARGIN + at * (wide + _GAP), top, side, wide)
            paper.set_xy(_MARGIN, top + high + 1.5)

    def _square(self, square: Square, left: float, top: float, side: float, wide: float) -> None:
        """Draw one plot in a box of this width; `side` is that of the square itself."""
        paper, x, y = self._paper, left + _AXIS, top + 6
        self._pen(9, bold=True)
        paper.text(x, top + 4, self._clipped(square.title, side))
        self._pen(7, colour=_GREY)
        paper.set_draw_color(GRID)
        paper.set_line_width(0.15)
        for tick in TICKS:
            paper.line(x, y + side * tick, x + side, y + side * tick)
            paper.line(x + side * tick, y, x + side * tick, y + side)
            label = f"{tick:g}"
            paper.text(x - 1 - self._width(label), y + side * (1 - tick) + 1, label)
            paper.text(x + side * tick - self._width(label) / 2, y + side + 3.2, label)
        paper.text(x + (side - self._width(square.across)) / 2, y + side + 6.4, square.across)
        with paper.rotation(90, left + 2.4, y + side / 2):
            paper.text(left + 2.4 - self._width(square.up) / 2, y + side / 2, square.up)
        if square.guide is not None:
            ends = [(x, y + side * (1 - square.guide[0])), (x + side, y + side * (1 - square.guide[1]))]
            self._stroke(ends, "#8a8f98", dotted=True)
        for row, line in enumerate(square.lines):
            points = [(x + side * one, y + side * (1 - other)) for one, other in zip(line.x, line.y, strict=True)]
            self._curve(line, points, (x, y + side + 9 + _LEGEND * row), wide - _AXIS - 8)

    def _curve(self, line: Line, points: list[tuple[float, float]], legend: tuple[float, float], room: float) -> None:
        """Draw a curve and its line of the legend, whose name has this much room."""
        self._stroke(points, line.colour, line.dotted)
        self._stroke([legend, (legend[0] + 5, legend[1])], line.colour, line.dotted)
        self._paper.set_fill_color(line.colour)
        for at in points if line.marks else ():
            self._paper.circle(*at, 0.6, style="F")
        self._pen(7)
        self._paper.text(legend[0] + 7, legend[1] + 0.9, self._clipped(line.name, room))

    def _stroke(self, points: list[tuple[float, float]], colour: str, dotted: bool) -> None:
        paper = self._paper
        paper.set_draw_color(colour)
        paper.set_line_width(0.25 if dotted else 0.45)
        if dotted:
            paper.set_dash_pattern(dash=0.8, gap=0.6)
        if len(points) > 1:
            paper.polyline(points)
        paper.set_dash_pattern()
        paper.set_line_width(0.2)

    def marked(self, text: str, spans: Sequence[Span]) -> None:
        """Draw a text with the words of `spans` tinted: blue for the label, orange and underlined against it."""
        weights = _weights(len(text), spans)
        self._pen(9)
        self._paper.ln(0.8)
        line: list[tuple[str, float]] = []
        room = self._paper.epw
        for piece in _PIECE.finditer(text):
            weight = max(weights[piece.start() : piece.end()], key=abs)
            for word in [""] if piece[0] == "\n" else self._fitting(self._known(piece[0])):
                width = self._width(word)
                if not word or width > room:
                    self._marked_line(line)
                    line, room = [], self._paper.epw
                if not word.isspace() or line:
                    line.append((word, weight))
                    room -= width
        self._marked_line(line)
        self._paper.ln(0.8)

    def _marked_line(self, line: Sequence[tuple[str, float]]) -> None:
        """Draw words with their weights on one line, neighbours of one weight together."""
        paper = self._paper
        self._room(_LINE)
        x, y = _MARGIN, paper.get_y()
        for weight, group in groupby(line, key=itemgetter(1)):
            words = "".join(word for word, _ in group)
            width = self._width(words)
            if weight:
                tint = _FOR if weight > 0 else _AGAINST
                strength = 0.25 + 0.75 * abs(weight)
                paper.set_fill_color(*(round(255 - (255 - part) * strength) for part in tint))
                paper.rect(x, y, width, _LINE, style="F")
            if weight < 0:
                paper.set_draw_color(*_INK)
                paper.line(x, y + _LINE - 0.6, x + width, y + _LINE - 0.6)
            if words.strip():
                paper.text(x, y + _LINE * 0.74, words)
            x += width
        paper.ln(_LINE)

    def _row(self, cells: Sequence[str], widths: Sequence[float], *, bold: bool = False) -> None:
        paper = self._paper
        self._pen(8, bold=bold)
        x, y = _MARGIN, paper.get_y()
        for cell, width in zip(cells, widths, strict=True):
            if cell:
                paper.text(x, y + _ROW * 0.68, self._clipped(cell, width - 2))
            x += width
        paper.set_draw_color(*_PALE)
        paper.line(_MARGIN, y + _ROW, x, y + _ROW)
        paper.ln(_ROW)

    def _block(
        self,
        text: str,
        size: float,
        line: float,
        *,
        bold: bool = False,
        colour: Colour = _INK,
        width: float = 0,
        fill: bool = False,
    ) -> None:
        self._pen(size, bold=bold, colour=colour)
        words = self._known(" ".join(text.split()))
        self._paper.multi_cell(width, line, words, align="L", fill=fill, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _pen(self, size: float, *, bold: bool = False, colour: Colour = _INK) -> None:
        self._paper.set_font(_FONT, "B" if bold else "", size)
        self._paper.set_text_color(*colour)

    def _room(self, height: float) -> None:
        if self._paper.get_y() + height > self._paper.h - _FOOT:
            self._paper.add_page()

    def _known(self, text: str) -> str:
        """Return the text without control characters, and with white squares for what the font lacks."""
        plain = (letter if letter >= " " else " " for letter in text)
        return "".join(letter if ord(letter) in self._glyphs else "□" for letter in plain)

    def _width(self, text: str) -> float:
        """Return how wide a text is in the pen in hand, in mm."""
        advances = self._advances["B" if "B" in self._paper.font_style else ""]
        return sum(advances[letter] for letter in text) * self._paper.font_size_pt

    def _clipped(self, text: str, width: float) -> str:
        """Return the text shortened with an ellipsis until it fits."""
        text = self._known(" ".join(text.split()))[: int(width * 2)]
        if self._width(text) <= width:
            return text
        while text and self._width(text + "…") > width:
            text = text[: -max(1, len(text) // 20)]
        return text.rstrip() + "…"

    def _fitting(self, word: str) -> list[str]:
        """Return the word in parts that fit a line each; nearly always one."""
        most, parts = self._paper.epw, []
        while (width := self._width(word)) > most:
            keep = max(1, int(len(word) * most / width) - 1)
            parts.append(word[:keep])
            word = word[keep:]
        return [*parts, word]


def _weights(length: int, spans: Sequence[Span]) -> list[float]:
    """Return the weight of every character, the strongest span counting 1; 0 outside of spans."""
    strongest = max((abs(span.weight) for span in spans), default=0.0) or 1.0
    weights = [0.0] * length
    for span in spans:
        for at in range(max(span.start, 0), min(span.end, length)):
            weights[at] = span.weight / strongest
    return weights
