"""Tables and folders meet pictures: which row describes which picture, and which column plays which part.

Understood by column names and contents: HAM10000 (image_id, dx, lesion_id), ISIC archive metadata (isic_id, diagnosis),
ISIC ground truth with one 0/1 column per class, and one folder per class without any table.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from medbench.errors import MedbenchError
from medbench.picture_facts import UNKNOWN
from medbench.picture_sources import PictureFile, Sources
from medbench.pictures import ENDINGS
from medbench.readers import Account, Limits, open_source
from medbench.records import ColumnMap, Record
from medbench.splits import split_name

TABULAR = ("tables", "workbook", "json_list", "jsonl")
ROLES = ("id", "labels", "group", "split")
_KEYS = ("image_id", "isic_id", "image", "image_name", "img_id", "file", "filename", "file_name", "path", "name", "id")
_CODED = ("dx",)
_LABELS = (
    *("dx", "diagnosis", "diagnosis_3", "diagnosis_2", "diagnosis_1", "label", "labels", "class", "category"),
    *("target", "benign_malignant"),
)
_MARKS = frozenset({"mel", "nv", "bcc", "akiec", "ak", "bkl", "df", "vasc", "scc", "unk"})
_NO_CLASS = "unk"
_GROUPS = ("lesion_id", "lesion", "group_id", "patient_id", "patient")
_PATIENTS = ("patient_id", "patient")
_SPLITS = ("split", "partition", "subset", "set", "dataset_split")
_PLAIN_FOLDERS = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpg", "jpeg", "png", "data", ""})
_NAMED = 5
_SAMPLE = 300


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One picture and what is known of it.

    Attributes:
        picture: Where it lies.
        label: Its class in the task's spelling, or "".
        group: Its lesion (or what else was chosen), or "".
        patient: Its patient, where the table names one beside the lesion, or "".
        split: The file's own split word, or "".
        extra: The table's other columns.
    """

    picture: PictureFile
    label: str = ""
    group: str = ""
    patient: str = ""
    split: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Layout:
    """What pictures and tables came to.

    Attributes:
        rows: One per picture, in upload order.
        mapping: Which column plays which part; `labels` holds "folder" when the folders name the classes.
        accounts: Table name -> what became of its rows.
        formats: Table name -> title of its format.
        tables: Table name -> where it lies.
        notices: What was understood, one sentence each.
    """

    rows: list[PictureRow]
    mapping: ColumnMap
    accounts: dict[str, Account] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def lay_out(
    sources: Sources,
    clean_label: Callable[[str], str],
    columns: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Layout:
    """Match tables with pictures, and settle the parts of the columns.

    Args:
        sources: The upload.
        clean_label: The task's one spelling of a label.
        columns: Role (id, labels, group, split) -> column chosen by the user.
        limits: What a table may cost.

    Raises:
        MedbenchError: A chosen column does not exist, or no row of the tables names a picture that is there.
    """
    chosen = dict(columns or {})
    foreign = sorted(chosen.keys() - set(ROLES))
    if foreign:
        raise MedbenchError("columns for id, labels, group or split", ", ".join(foreign), "Leave the others out.")
    layout = Layout([], ColumnMap())
    finder = _Finder(sources.pictures)
    facts: dict[int, dict[str, str]] = {}
    keys: list[str] = []
    for name, path in sources.tables:
        key = _join(layout, finder, facts, name, path, chosen.get("id"), limits)
        keys += [key] if key else []
    if sources.tables and not keys and any(account.total for account in layout.accounts.values()):
        raise MedbenchError(
            "a table that names the pictures",
            f"none of {', '.join(repr(name) for name in layout.accounts)} does",
            "Choose the column with the picture names (--id), or add the pictures it means.",
        )
    every = list(dict.fromkeys(column for row in facts.values() for column in row))
    for role, column in chosen.items():
        if column not in every and column not in keys:
            have = ", ".join(every[:20]) or "none"
            raise MedbenchError(f"a column for {role}", f"no {column!r} among {have}", "Choose one of these.")
    layout.mapping = _mapping(facts, every, keys, chosen)
    _fill(layout, sources, facts, clean_label)
    return layout


class _Finder:
    """Finds the picture that a cell names: by path, by name, by name without ending."""

    def __init__(self, pictures: Sequence[PictureFile]) -> None:
        self.held: defaultdict[str, list[int]] = defaultdict(list)
        self.paths = [picture.path.lower() for picture in pictures]
        for at, path in enumerate(self.paths):
            place = PurePosixPath(path)
            for key in {place.name, place.stem}:
                self.held[key].append(at)

    def find(self, cell: str) -> int | None:
        """Return the position of the one picture that a cell names, None when there is none or more than one."""
        plain = cell.strip().replace("\\", "/").lower()
        name = plain.rsplit("/", 1)[-1]
        stem = name.rsplit(".", 1)[0] if name.endswith(ENDINGS) else name
        found = self.held.get(name) or self.held.get(stem, [])
        if len(found) > 1 and "/" in plain:
            found = [at for at in found if f"/{self.paths[at]}".endswith(f"/{plain}")]
        return found[0] if len(found) == 1 else None

    def several(self, cell: str) -> bool:
        """Tell whether a cell names more than one picture."""
        return len(self.held.get(cell.strip().lower(), ())) > 1


def _join(
    layout: Layout,
    finder: _Finder,
    facts: dict[int, dict[str, str]],
    name: str,
    path: Path,
    chosen: str | None,
    limits: Limits | None,
) -> str | None:
    """Read a table, add what it says to `facts` (picture -> column -> cell); returns its column of picture names."""
    try:
        reader, source = open_source(path, name, limits)
        if reader.name not in TABULAR:
            layout.notices.append(f"{name} is no table and was left out.")
            return None
        records = list(reader.read(source))
    except MedbenchError as error:
        layout.notices.append(f"{name} was left out: expected {error.expected}, found {error.found}.")
        return None
    name = _free(name, layout.accounts)
    account = layout.accounts[name] = Account()
    layout.formats[name], layout.tables[name] = reader.title, path
    key = _key_column(records, finder, chosen)
    if key is None:
        for record in records:
            account.add(Record(record.line, {}, refused=record.refused or "names no picture of this upload"))
        return None
    layout.notices.append(f"{name}: column “{key}” names the pictures.")
    told: dict[int, int] = {}
    for record in records:
        account.add(_taken(record, key, finder, facts, told))
    return key


def _free(name: str, taken: Mapping[str, object]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _key_column(records: Sequence[Record], finder: _Finder, chosen: str | None) -> str | None:
    usable = [record for record in records if record.refused is None]
    names = list(dict.fromkeys(column for record in usable[:200] for column in record.fields))
    if chosen is not None:
        names = [chosen] if chosen in names else []
    order = {name: at for at, name in enumerate(_KEYS)}
    sample = usable[:: max(1, len(usable) // _SAMPLE)]
    # A table of pixels has thousands of columns: a sample says which few are worth counting.
    likely = [name for name in names if any(finder.find(record.first(name)) is not None for record in sample)]
    hits: dict[str, int] = {}
    for name in likely or [name for name in names if name.lower() in order]:
        found = {finder.find(record.first(name)) for record in usable} - {None}
        hits[name] = len(found)
    best = max(hits, key=lambda name: (hits[name], -order.get(name.lower(), len(order))), default=None)
    return best if best is not None and hits[best] else None


def _taken(record: Record, key: str, finder: _Finder, facts: dict[int, dict[str, str]], told: dict[int, int]) -> Record:
    """Add one row of a table to its picture; returns the record as it is to be counted."""
    if record.refused is not None:
        return record
    cell = record.first(key)
    at = finder.find(cell)
    if at is None:
        few = "more than one picture is" if finder.several(cell) else "no picture is"
        return Record(record.line, {}, refused=f"{few} called {cell[:80]!r}")
    if at in told:
        return Record(record.line, {}, refused=f"{cell[:80]!r} was described in line {told[at]:,} already")
    told[at] = record.line
    held = facts.setdefault(at, {})
    for column, cells in record.fields.items():
        text = "; ".join(cells).strip()
        if column != key and not held.get(column):
            held[column] = text
    return record


# --- parts of the columns --------------------------------------------------------------------------------------


def _mapping(
    facts: Mapping[int, Mapping[str, str]], every: Sequence[str], keys: Sequence[str], chosen: Mapping[str, str]
) -> ColumnMap:
    marks = [column for column in every if column.strip().lower() in _MARKS]
    one_hot = len(marks) > 2 and all(_is_mark(row.get(mark, "")) for row in facts.values() for mark in marks)
    label = chosen.get("labels") or _named(every, _CODED, facts)
    if label is None and one_hot:
        labels, style = tuple(marks), "columns"
    else:
        label = label or _named(every, _LABELS, facts)
        labels, style = (label,) if label else (), "one"
    return ColumnMap(
        labels=labels,
        id=keys[0] if keys else None,
        group=chosen.get("group") or _named(every, _GROUPS, facts),
        split=chosen.get("split") or _split_column(every, facts),
        label_style="columns" if style == "columns" else "one",
    )


def _is_mark(cell: str) -> bool:
    try:
        return not cell.strip() or float(cell) in (0.0, 1.0)
    except ValueError:
        return False


def _named(every: Iterable[str], names: Sequence[str], facts: Mapping[int, Mapping[str, str]]) -> str | None:
    """Return the first column of these names that is not blank throughout."""
    plain = {column.strip().lower(): column for column in every}
    found = (plain[name] for name in names if name in plain)
    return next((column for column in found if any(row.get(column) for row in facts.values())), None)


def _split_column(every: Iterable[str], facts: Mapping[int, Mapping[str, str]]) -> str | None:
    column = _named(every, _SPLITS, facts)
    words = {row.get(column, "") for row in facts.values()} - {""} if column else set()
    return column if words and all(split_name(word) for word in words) else None


# --- rows ------------------------------------------------------------------------------------------------------


def _fill(
    layout: Layout, sources: Sources, facts: Mapping[int, Mapping[str, str]], clean_label: Callable[[str], str]
) -> None:
    used = layout.mapping
    folders = [] if used.labels else _class_folders(sources.pictures)
    words = [] if used.split else _split_folders(sources.pictures)
    patient = next((one for row in facts.values() for one in row if one.lower() in _PATIENTS), None)
    patient = None if patient == used.group else patient
    parts = {*used.labels, used.group, used.split, patient}
    unclear = 0
    for at, picture in enumerate(sources.pictures):
        row = facts.get(at, {})
        label = _label(row, used) if used.labels else (folders[at] if folders else "")
        unclear += used.label_style == "columns" and at in facts and not label
        layout.rows.append(
            PictureRow(
                picture,
                "" if label.strip().lower() in UNKNOWN else clean_label(label),
                _known(row, used.group),
                _known(row, patient),
                row.get(used.split or "", "") if used.split else (words[at] if words else ""),
                {column: cell for column, cell in row.items() if column not in parts},
            )
        )
    if folders:
        layout.mapping = ColumnMap(labels=("folder",), id=used.id, group=used.group, split=used.split)
    layout.notices += _told(layout.mapping, patient, sources, facts, unclear)


def _known(row: Mapping[str, str], column: str | None) -> str:
    cell = row.get(column, "") if column else ""
    return "" if cell.lower() in UNKNOWN else cell


def _label(row: Mapping[str, str], used: ColumnMap) -> str:
    if used.label_style != "columns":
        return row.get(used.labels[0], "")
    marked = [mark for mark in used.labels if row.get(mark, "").strip() and float(row[mark]) == 1]
    return marked[0] if len(marked) == 1 and marked[0].strip().lower() != _NO_CLASS else ""


def _class_folders(pictures: Sequence[PictureFile]) -> list[str]:
    """Return the class folder of each picture, the innermost that means something; nothing when there is only one."""
    found = []
    for picture in pictures:
        meant = [
            part
            for part in PurePosixPath(picture.path).parts[:-1]
            if part.lower() not in _PLAIN_FOLDERS and split_name(part) is None
        ]
        found.append(meant[-1] if meant else "")
    return found if len(set(found) - {""}) > 1 else []


def _split_folders(pictures: Sequence[PictureFile]) -> list[str]:
    """Return the train, validation or test folder of each picture; nothing when there are not at least two."""
    found = []
    for picture in pictures:
        words = [part for part in PurePosixPath(picture.path).parts[:-1] if split_name(part)]
        found.append(words[0] if words else "")
    return found if len({split_name(word) for word in found if word}) > 1 else []


def _told(
    used: ColumnMap,
    patient: str | None,
    sources: Sources,
    facts: Mapping[int, Mapping[str, str]],
    unclear: int,
) -> list[str]:
    """Return what was understood, one sentence each."""
    said = []
    if used.label_style == "columns":
        said.append(f"Classes from the 0/1 columns {', '.join(used.labels)}.")
        said += [f"{unclear:,} rows mark no class, several, or UNK; they count as unlabelled."] if unclear else []
    elif used.labels:
        where = "the folders' names" if used.labels == ("folder",) else f"column “{used.labels[0]}”"
        said.append(f"Classes from {where}.")
    else:
        said.append("Nothing names the classes; the pictures are unlabelled.")
    if used.group:
        said.append(f"Pictures with the same “{used.group}” stay together.")
    if patient:
        said.append(f"So do pictures with the same “{patient}”.")
    bare = [picture.path for at, picture in enumerate(sources.pictures) if at not in facts] if facts else []
    if bare:
        said.append(f"{len(bare):,} pictures are in no table and stay unlabelled: {_some(bare)}.")
    if sources.masks:
        said.append(f"{sources.masks:,} segmentation masks were left out.")
    if sources.others:
        said.append(f"{len(sources.others):,} other files were left out: {_some(sources.others)}.")
    foreign = Counter(
        PurePosixPath(p.path).suffix.lower() for p in sources.pictures if not p.path.lower().endswith(ENDINGS)
    )
    said += [f"{count:,} {ending} files cannot be read." for ending, count in foreign.items()]
    return said


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
