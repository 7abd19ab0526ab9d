"""A table as it goes into a paper or a note: Markdown and LaTeX, from plain frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def markdown(frame: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers to the right; text makes no markup and no further cells."""
    numeric = [frame[name].dtype.kind in "iuf" for name in frame.columns]
    rule = ["---:" if right else "---" for right in numeric]
    rows = [[_in_markdown(value) for value in row] for row in frame.itertuples(index=False)]
    lines = [[_in_markdown(str(name)) for name in frame.columns], rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(frame: pd.DataFrame, caption: str = "") -> str:
    """Return a table in LaTeX, with the rules of the booktabs package; every special character is escaped."""
    columns = "".join("r" if frame[name].dtype.kind in "iuf" else "l" for name in frame.columns)
    head = " & ".join(_in_latex(str(name)) for name in frame.columns)
    body = [" & ".join(_in_latex(_text(value)) for value in row) + r" \\" for row in frame.itertuples(index=False)]
    lines = [r"\begin{table}", r"\centering", f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head + r" \\"]
    lines += [r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    lines += [f"\\caption{{{_in_latex(caption)}}}"] if caption else []
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


def _in_markdown(value: Any) -> str:
    return _text(value).replace("|", "\\|").replace("<", "&lt;")


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
