"""Which column plays which part: guessed from names and contents, told in sentences, applied to records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from medbench.errors import MedbenchError
from medbench.labelcells import MAX_LABEL_WORDS, label_style, pieces_of
from medbench.records import ColumnMap, LabelStyle, Record, Role

_TRUE = frozenset({"1", "1.0", "true", "yes", "y", "x"})
_BINARY = frozenset({"0", "1", "0.0", "1.0", "true", "false"})
_NOT_LABELS = frozenset(
    (
        *("year", "date", "day", "month", "journal", "source", "language", "country", "type", "database", "publisher"),
        *("volume", "issue", "pages", "page", "author", "authors", "issn", "isbn", "url", "link", "status", "version"),
        *("notes", "location", "place", "num", "number", "count", "archive", "language", "format", "oa", "access"),
    )
)
_NOT_TEXT = frozenset(
    (
        *("author", "authors", "citation", "references", "affiliation", "affiliations", "address", "addresses", "url"),
        *(
            "link",
            "links",
            "keywords",
            "keyword",
            "mesh",
            "terms",
            "journal",
            "source",
            "publication",
            "funding",
            "doi",
        ),
        *("creators", "editors", "contributors", "institutions", "names"),
    )
)
_NOT_FLAG_LABELS = ("is_", "has_", "was_")
_MIN_ROWS_FOR_REPEATS = 30
_NOT_LABELS_PREFIX = ("n_", "num_", "nr_")
_MIN_TEXT_WORDS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One record after mapping: the known parts by name, the file's other columns under `extra`.

    Attributes:
        line: Where the record begins in its file, as in `Record.line`.
        title: Title, or "".
        text: Abstract or full text, or "".
        labels: Labels in file order, cleaned, without repeats.
        id: The item's own id, or "".
        group: What keeps items together, or "".
        split: The file's own split word, or "".
        extra: Column -> value for every column that plays no part.
    """

    line: int
    title: str
    text: str
    labels: tuple[str, ...]
    id: str
    group: str
    split: str
    extra: dict[str, str] = field(default_factory=dict)


def columns_of(records: Iterable[Record]) -> list[str]:
    """Return every field name of these records, in the order of first sight."""
    seen: dict[str, None] = {}
    for record in records:
        for name in record.fields:
            seen.setdefault(name)
    return list(seen)


def guess(
    reader_roles: Mapping[Role, tuple[str, ...]],
    records_sample: Sequence[Record],
    chosen: Mapping[str, str] | None = None,
) -> ColumnMap:
    """Guess the part each column plays, from its name first and its contents second.

    Args:
        reader_roles: For each role the field names (lower-case) that usually carry it, best first.
        records_sample: Some hundred records, best spread over the file.
        chosen: Role -> column fixed by the user ("abstract" is accepted for "text"); several label columns are
            separated by commas.

    Returns:
        A map in which every named column exists in the sample. Without a usable text the map has neither text nor
        title; it is for `apply` to refuse it.

    Raises:
        MedbenchError: A chosen role or column does not exist.
    """
    usable = [record for record in records_sample if record.refused is None]
    columns = columns_of(usable)
    fixed = _checked_choice(chosen or {}, columns)
    tagged = any(record.order for record in usable)
    values = {name: [" ".join(record.fields.get(name, ())).strip() for record in usable] for name in columns}
    taken = {column for held in fixed.values() for column in held}
    picked: dict[str, str | None] = {}
    for role in ("title", "text", "id", "group", "split"):
        if role in fixed:
            picked[role] = fixed[role][0]
            continue
        picked[role] = _by_name(reader_roles.get(role, ()), values, taken, role)
        if role == "text" and picked[role] is None and not tagged:
            picked[role] = _longest(values, taken)
        taken.add(picked[role] or "")
    labels, style, separator = _guess_labels(
        reader_roles.get("labels", ()), values, taken, fixed.get("labels", ()), usable
    )
    return ColumnMap(
        title=picked["title"],
        text=picked["text"],
        labels=labels,
        id=picked["id"],
        group=picked["group"],
        split=picked["split"],
        label_style=style,
        separator=separator,
    )


def guess_labels(column: str, sample: Sequence[Record]) -> tuple[LabelStyle, str | None]:
    """Return how labels stand in `column`: the style and, when separated, the separator."""
    usable = [record for record in sample if record.refused is None]
    if any(len(record.fields.get(column, ())) > 1 for record in usable):
        return "separated", ";"
    return label_style([record.first(column).strip() for record in usable])


def explain(mapping: ColumnMap, sample: Sequence[Record]) -> list[str]:
    """Return the sentences that tell the user what was understood, with figures from the sample."""
    usable = [record for record in sample if record.refused is None]
    if not usable:
        return ["No record of this file could be read."]
    told: list[str] = []
    for word, column in (("Title", mapping.title), ("Text", mapping.text)):
        if column is not None:
            lengths = [len(" ".join(record.fields.get(column, ())).split()) for record in usable]
            told.append(f"{word}: column “{column}”, {sum(lengths) / len(lengths):.0f} words on average.")
    if mapping.title is None and mapping.text is None:
        told.append("No column holds a title or a text. Choose one.")
    told.append(_explain_labels(mapping, usable))
    for word, column in (
        ("Id", mapping.id),
        ("Kept together by", mapping.group),
        ("The file's own split", mapping.split),
    ):
        if column is not None:
            distinct = len({record.first(column) for record in usable})
            told.append(f"{word}: column “{column}”, {distinct} different values in {len(usable)} rows.")
    return told


def apply(
    mapping: ColumnMap,
    records: Iterable[Record],
    clean_label: Callable[[str], str],
    reader_roles: Mapping[Role, tuple[str, ...]] | None = None,
) -> Iterator[Row]:
    """Yield one row per readable record; refused records are passed over (the account has them).

    Args:
        mapping: The map; check it with `check` first when it comes from a user.
        records: Records as the reader yields them.
        clean_label: The task's one spelling of a label.
        reader_roles: For tagged formats: other tags that may carry the title or the text of a single record.
    """
    parts = {mapping.title, mapping.text, mapping.id, mapping.group, mapping.split, *mapping.labels}
    spare = reader_roles or {}
    for record in records:
        if record.refused is not None:
            continue
        title = _value(record, mapping.title) or _spare(record, spare.get("title", ()), parts)
        text = _value(record, mapping.text) or _spare(record, spare.get("text", ()), parts)
        yield Row(
            record.line,
            title,
            text,
            _labels(mapping, record, clean_label),
            _value(record, mapping.id),
            _value(record, mapping.group),
            _value(record, mapping.split),
            {name: "; ".join(cells) for name, cells in record.fields.items() if name not in parts},
        )


def raw_labels(mapping: ColumnMap, records: Iterable[Record]) -> set[str]:
    """Return every label of these records as it stands in the file."""
    return {label for record in records if record.refused is None for label in _labels(mapping, record, str.strip)}


def check(mapping: ColumnMap, columns: Sequence[str], name: str = "the file") -> None:
    """Raise MedbenchError unless every column of the map is one of `columns` and there is a title or a text."""
    if mapping.title is None and mapping.text is None:
        raise MedbenchError(
            f"a title or a text column in {name}", "none", f"Choose one of its columns: {', '.join(columns)}."
        )
    wanted = [mapping.title, mapping.text, mapping.id, mapping.group, mapping.split, *mapping.labels]
    for column in wanted:
        if column is not None and column not in columns:
            raise _no_column(column, columns, name)
    if mapping.label_style == "separated" and not mapping.separator:
        raise MedbenchError("a separator for the labels", "none", "Name it, for example ; or |.")


def _no_column(column: str, columns: Sequence[str], name: str = "the file") -> MedbenchError:
    return MedbenchError(
        f"a column named {column!r} in {name}", "no such column", f"Choose one of these: {', '.join(columns)}."
    )


def _checked_choice(chosen: Mapping[str, str], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    fixed: dict[str, tuple[str, ...]] = {}
    for role, column in chosen.items():
        known = "text" if role == "abstract" else role
        if known not in ("title", "text", "labels", "id", "group", "split"):
            raise MedbenchError("a part of title, abstract, text, labels, id, group, split", repr(role), "Choose one.")
        names = [column] if known != "labels" or column in columns else [part.strip() for part in column.split(",")]
        found = tuple(_same_column(name, columns) for name in names)
        if fixed.get(known, found) != found:
            raise MedbenchError(
                "one column for the text", f"{fixed[known][0]!r} and {column!r}", "Name the abstract or the text."
            )
        fixed[known] = found
    return fixed


def _same_column(name: str, columns: Sequence[str]) -> str:
    same = [column for column in columns if column == name]
    same = same or [column for column in columns if _plain(column) == _plain(name)]
    if not same:
        raise _no_column(name, columns)
    return same[0]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _words(name: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", name.lower()) if part]


def _by_name(
    names: Sequence[str], values: Mapping[str, list[str]], taken: set[str], role: str, *, whole: bool = True
) -> str | None:
    """Return the column that carries one of `names`: same name first, then a name that contains it and fits."""
    filled = {column: sum(map(bool, cells)) for column, cells in values.items() if column not in taken}
    same = [column for name in names for column in filled if _plain(column) == _plain(name) and filled[column]]
    if same:
        most = max(filled[column] for column in same)
        return next(column for column in same if filled[column] * 2 >= most)
    if not whole or role == "split":
        return None
    for name in names:
        for column in filled:
            if len(name) >= 4 and name in _words(column) and filled[column] and _fits(role, values[column]):
                return column
    return None


def _fits(role: str, cells: Sequence[str]) -> bool:
    some = [cell for cell in cells if cell]
    if role in ("title", "text"):
        return sum(len(cell.split()) for cell in some) / len(some) >= (2 if role == "title" else 5)
    if role == "id":
        return len(set(some)) > 0.9 * len(some) and not any(" " in cell for cell in some)
    if any(cell.startswith(("http://", "https://")) for cell in some):
        return False
    return 1 < len(set(some)) < len(some) and all(len(cell.split()) <= MAX_LABEL_WORDS * 4 for cell in some)


def _longest(values: Mapping[str, list[str]], taken: set[str]) -> str | None:
    lengths = {
        column: sum(len(cell.split()) for cell in cells) / max(len(cells), 1)
        for column, cells in values.items()
        if column not in taken and not set(_words(column)) & _NOT_TEXT
    }
    best = max(lengths, key=lengths.__getitem__, default=None)
    return best if best is not None and lengths[best] >= _MIN_TEXT_WORDS else None


def _guess_labels(
    names: Sequence[str],
    values: Mapping[str, list[str]],
    taken: set[str],
    fixed: tuple[str, ...],
    usable: Sequence[Record],
) -> tuple[tuple[str, ...], LabelStyle, str | None]:
    if len(fixed) > 1:
        return fixed, "columns", None
    free = {column: cells for column, cells in values.items() if column not in taken}
    column = fixed[0] if fixed else _by_name(names, free, set(), "labels", whole=False)
    # Tags of reference formats have fixed meanings, so their contents are not searched for labels.
    table = not any(record.order for record in usable)
    flags = [name for name, cells in free.items() if _is_flag(name, cells)] if table else []
    if column is None and len(flags) >= 2:
        return tuple(flags), "columns", None
    column = column or _by_name(names, free, set(), "labels") or (_by_repeats(free) if table else None)
    if column is None:
        return (), "one", None
    style, separator = guess_labels(column, usable)
    return (column,), style, separator


def _is_flag(name: str, cells: Sequence[str]) -> bool:
    if "." in name or name.lower().startswith(_NOT_FLAG_LABELS):
        return False
    found = {cell.lower() for cell in cells if cell}
    return 0 < len(found) <= 2 and found <= _BINARY and sum(map(bool, cells)) >= 0.9 * len(cells)


def _by_repeats(values: Mapping[str, list[str]]) -> str | None:
    """Return the only column whose few short values keep coming back, unless its name speaks against it."""
    fitting = []
    for column, cells in values.items():
        some = [cell for cell in cells if cell]
        plain = set(_words(column))
        if len(some) < _MIN_ROWS_FOR_REPEATS or plain & _NOT_LABELS or column.lower().startswith(_NOT_LABELS_PREFIX):
            continue
        counts = Counter(some)
        short = sum(len(cell.split()) for cell in counts) <= 5 * len(counts)
        numbers = all(re.fullmatch(r"[\d.]+", cell) for cell in counts)
        if 2 <= len(counts) <= 60 and len(some) >= 5 * len(counts) and short and not (numbers and len(counts) > 12):
            fitting.append(column)
    return fitting[0] if len(fitting) == 1 else None


def _value(record: Record, column: str | None) -> str:
    if column is None:
        return ""
    cells = record.fields.get(column)
    if not cells:
        return ""
    return cells[0].strip() if len(cells) == 1 else " ".join(cell.strip() for cell in cells)


def _spare(record: Record, names: Sequence[str], parts: set[str | None]) -> str:
    if not record.order:
        return ""
    lower = {column.lower(): column for column in record.fields if column not in parts}
    return next((found for name in names if (found := _value(record, lower.get(name)))), "")


def _labels(mapping: ColumnMap, record: Record, clean_label: Callable[[str], str]) -> tuple[str, ...]:
    if not mapping.labels:
        return ()
    if mapping.label_style == "columns":
        raw = [column for column in mapping.labels if record.first(column).strip().lower() in _TRUE]
    else:
        raw = [piece for cell in record.fields.get(mapping.labels[0], ()) for piece in pieces_of(mapping, cell)]
    return tuple(dict.fromkeys(label for piece in raw if (label := clean_label(piece))))


def _explain_labels(mapping: ColumnMap, usable: Sequence[Record]) -> str:
    if not mapping.labels:
        return "No labels: the items can be classified, but nothing can be learnt from them."
    found = [_labels(mapping, record, str.strip) for record in usable]
    distinct = {label for labels in found for label in labels}
    each = sum(map(len, found)) / len(found)
    how = {
        "one": f"column “{mapping.labels[0]}”, one label in each cell",
        "separated": f"column “{mapping.labels[0]}”, labels separated by “{mapping.separator}”",
        "json": f"column “{mapping.labels[0]}”, a list in each cell",
        "columns": f"{len(mapping.labels)} columns of 0 and 1, one per label",
    }[mapping.label_style]
    return f"Labels: {how}; {len(distinct)} different labels, {each:.1f} per row."


def with_labels(mapping: ColumnMap, column: str, sample: Sequence[Record]) -> ColumnMap:
    """Return the map with another label column, its style read from the sample."""
    style, separator = guess_labels(column, sample)
    return replace(mapping, labels=(column,), label_style=style, separator=separator)
