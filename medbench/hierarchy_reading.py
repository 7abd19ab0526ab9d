"""A user's tree of labels, as written: a table, JSON, YAML or indented lines become pairs (child, parent)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medbench.errors import MedbenchError

ENDINGS = ("csv", "tsv", "json", "yaml", "yml", "txt")
LARGEST = 10_000_000
_DELIMITERS = "\t;,|"
_HEADS = {"child", "label", "code", "node", "term"}
_PARENTS = {"parent", "group", "above", "broader"}
_ADVICE = "Write one line for each label, label,group, or indent labels under their group."
Pairs = list[tuple[str, str]]


def read_file(path: Path, name: str = "") -> Pairs:
    """Read a tree from a file; its ending says how it is written, other endings are looked at.

    Raises:
        MedbenchError: The file is missing, too large, not text, or holds no tree.
    """
    shown = name or path.name
    if not path.is_file():
        raise MedbenchError("a file with a tree of labels", f"no file {str(path)!r}", "Check the name.")
    if path.stat().st_size > LARGEST:
        raise MedbenchError("a tree of at most 10 MB", f"{path.stat().st_size:,} bytes", "Keep the labels you need.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MedbenchError(f"{shown!r} as UTF-8 text", "other bytes", "Save it as UTF-8.") from None
    return read_text(text, Path(shown).suffix.lstrip(".").lower())


def read_text(text: str, kind: str = "") -> Pairs:
    """Read a tree from text.

    Args:
        text: A table of two columns (child, parent; a head line may name them in any order), JSON or YAML (nested
            mappings and lists, or a mapping of child to parent, or a list of such objects), or indented lines.
        kind: csv, tsv, json, yaml or txt; anything else is guessed from the text.

    Raises:
        MedbenchError: There is no tree in it.
    """
    if "\0" in text:
        raise MedbenchError("a tree of labels as text", "a binary file", _ADVICE)
    kind = kind if kind in ENDINGS else _kind(text)
    if kind == "json":
        pairs = _nested(_json(text))
    elif kind in ("yaml", "yml"):
        pairs = _nested(_yaml(text))
    elif kind == "txt" and _kind(text) == "txt":
        pairs = list(_indented(text))
    else:
        pairs = list(_table(text))
    if not pairs:
        raise MedbenchError("a tree of labels", "nothing that stands under anything", _ADVICE)
    return pairs


def _kind(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        return "json"
    lines = [line for line in text.splitlines() if line.strip()]
    if any(re.fullmatch(r"\s*(- )?[^#]+:", line) for line in lines):
        return "yaml"
    flat = not any(line[:1].isspace() for line in lines)
    return "csv" if flat and lines and all(any(mark in line for mark in _DELIMITERS) for line in lines) else "txt"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise MedbenchError("a tree of labels as JSON", str(error), "Mend the file.") from None


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        found = " ".join(str(error).split())[:200]
        raise MedbenchError("a tree of labels as YAML", found, "Mend the file.") from None


def _nested(value: Any) -> Pairs:
    if isinstance(value, dict) and value and all(isinstance(up, str) for up in value.values()):
        return [(str(child), up) for child, up in value.items()]
    if (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and {"child", "parent"} <= set(one) for one in value)
    ):
        return [(str(one["child"]), str(one["parent"] or "")) for one in value]
    return list(_walk(value, ""))


def _walk(value: Any, above: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the pairs of nested mappings and lists: a key stands above what its value holds."""
    if depth > 100:
        raise MedbenchError("a tree of at most 100 levels", "a deeper one", "Mend the file.")
    if isinstance(value, dict):
        for node, inside in value.items():
            if above:
                yield str(node), above
            yield from _walk(inside, str(node), depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _walk(one, above, depth + 1)
    elif value is not None and above:
        yield str(value), above


def _table(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = max(_DELIMITERS, key=lambda mark: sum(mark in line for line in lines[:100])) if lines else ","
    child, parent = 0, 1
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), start=1):
        cells = [cell.strip() for cell in cells]
        plain = [cell.casefold() for cell in cells]
        if number == 1 and set(plain) & _PARENTS and set(plain) & _HEADS:
            child = next(at for at, name in enumerate(plain) if name in _HEADS)
            parent = next(at for at, name in enumerate(plain) if name in _PARENTS)
            continue
        if len(cells) <= max(child, parent):
            raise MedbenchError(
                "a child and a parent on every line", f"{lines[number - 1]!r} on line {number}", _ADVICE
            )
        if cells[child] and cells[parent]:
            yield cells[child], cells[parent]


def _indented(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of lines that stand under the line above them that is less indented; a tab counts as 8 spaces."""
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        node = re.sub(r"^[-*•]\s+", "", line.strip())
        if not node:
            continue
        expanded = line.expandtabs(8)
        depth = len(expanded) - len(expanded.lstrip())
        while path and path[-1][0] >= depth:
            path.pop()
        if path:
            yield node, path[-1][1]
        path.append((depth, node))
