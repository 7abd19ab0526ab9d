"""Uploaded files become a draft: read, accounted for, mapped, cleaned, judged. Nothing is saved yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench import label_names, verdict
from medbench import mapping as mapping_of
from medbench.cleaning import Cleaner
from medbench.duplicates import words_of
from medbench.errors import MedbenchError
from medbench.labelcells import LabelRules
from medbench.mapping import Row
from medbench.marking import place_marks
from medbench.readers import Account, Limits, Reader, Source, open_source
from medbench.records import AnswerKind, ColumnMap, Finding, ItemKind, Record

if TYPE_CHECKING:
    import pandas as pd

Tell = Callable[[float, str], None]
Naming = Callable[[str], str]
_TOLD_EVERY = 2_000  # records
_READ = 0.2  # share of the work that reading is
_SAMPLE = 2_000


@dataclass
class Draft:
    """What the files became, in memory. The page shows it, `datasets.save` keeps it.

    Attributes:
        frame: One row per usable record: id, title, text, labels (list of str), labelled (bool), group, cluster (key of
            rows that must stay together: group, exact and near duplicates), split (the file's own word), source (file
            name), line, and the file's other columns as "x_<name>". Strings are plain Python objects.
        account: File name -> what became of its records.
        cleaning: One sentence per cleaning step that changed rows.
        mappings: File name -> the map that was used.
        notices: What the readers assumed about whole files, and what the maps say, one sentence each.
        findings: The verdict.
        task: Task name.
        answer: "one" label per item or "many".
        labels: Label codes in column order; empty when unlabelled.
        label_names: Label code -> what the user reads.
        sources: Name, sha256, format, bytes and account counts of each file.
        profile: Class counts, length percentiles, missing fields (see `verdict.profile`).
        item: What a row is; a row of "image" has no title and text, but the columns image and pixels.
        pictures: Folder with the pictures of an "image" draft, named as the column image ends.
    """

    frame: pd.DataFrame
    account: dict[str, Account]
    cleaning: list[str]
    mappings: dict[str, ColumnMap]
    notices: list[str]
    findings: list[Finding]
    task: str
    answer: AnswerKind
    labels: tuple[str, ...]
    label_names: dict[str, str]
    sources: list[dict[str, Any]]
    profile: dict[str, Any]
    item: ItemKind = "text"
    pictures: Path | None = None

    @property
    def mapping(self) -> ColumnMap:
        """The map of the first file."""
        return next(iter(self.mappings.values()))

    @property
    def has_own_split(self) -> bool:
        """True when the files name their own splits."""
        return bool(self.frame["split"].astype(bool).any())


@dataclass(frozen=True)
class Preview:
    """What is known of a file before it is drafted: shown to the user, who may change the map.

    Attributes:
        name: File name.
        format: Title of its reader.
        columns: Its columns, in order.
        mapping: The guessed map.
        sentences: What was understood, and what the reader assumed.
        rows: The first records, column -> text.
        sample: The records the guess rests on, for `mapping.explain` with another map.
        n_records: Number of records in the sample; the file may hold more.
    """

    name: str
    format: str
    columns: list[str]
    mapping: ColumnMap
    sentences: list[str]
    rows: list[dict[str, str]]
    sample: list[Record]
    n_records: int


def preview(path: Path, name: str, *, chosen: Mapping[str, str] | None = None, rows: int = 20) -> Preview:
    """Look at the first 2,000 records of a file.

    Args:
        path: Where the bytes lie.
        name: What the user called the file.
        chosen: Role -> column fixed by the user; the rest is guessed around it.
        rows: How many records to show.

    Raises:
        MedbenchError: The file is of no format that medbench reads, or a chosen column does not exist.
    """
    reader, source = open_source(path, name)
    records: list[Record] = []
    for record in reader.read(source):
        records.append(record)
        if len(records) == _SAMPLE:
            break
    guessed = mapping_of.guess(reader.roles, records, chosen)
    usable = [record for record in records if record.refused is None]
    shown = [{key: "; ".join(cells) for key, cells in record.fields.items()} for record in usable[:rows]]
    sentences = [*source.notices, *mapping_of.explain(guessed, records)]
    columns = mapping_of.columns_of(usable)
    return Preview(name, reader.title, columns, guessed, sentences, shown, records, len(records))


@dataclass
class _Gathered:
    rows: list[Row] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    account: dict[str, Account] = field(default_factory=dict)
    mappings: dict[str, ColumnMap] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    name_columns: set[str] = field(default_factory=set)


def draft(
    files: Sequence[tuple[Path, str]],
    *,
    task_name: str,
    clean_label: Callable[[str], str],
    label_name: Callable[[str], str] | None = None,
    rules: LabelRules | None = None,
    mapping: ColumnMap | Mapping[str, ColumnMap] | None = None,
    columns: Mapping[str, str] | None = None,
    merge: bool = False,
    limits: Limits | None = None,
    say: Tell | None = None,
) -> Draft:
    """Read files, map and clean their records, and judge the whole.

    Args:
        files: (path, name the user knows it by) of each file.
        task_name: The task's name, kept with the dataset.
        clean_label: The task's one spelling of a label.
        label_name: What the user reads for a label, asked for labels the files do not name.
        rules: What else the task says about labels; its cleaning of a whole file goes before `clean_label`.
        mapping: A map for all files, or file name -> map; files without one are guessed.
        columns: Role -> column chosen by the user; the other roles are guessed. Not together with `mapping`.
        merge: Make one row of the rows with the same text and give it all their labels: the remedy when articles with
            several labels were flattened into contradictory rows.
        limits: What a file may cost.
        say: Told (share done 0-1, sentence) on the way.

    Raises:
        MedbenchError: No file, an unreadable file, a named column that is not there, or no usable record at all.
    """
    tell: Tell = say or (lambda share, sentence: None)
    if not files:
        raise MedbenchError("at least one file", "none", "Drop a file, for example a PubMed export.")
    gathered = _Gathered()
    for number, (path, name) in enumerate(files):
        tell(_READ * number / len(files), f"Reading {name}.")
        free = _free_name(name, gathered.account)

        def read(count: int, name: str = name, share: float = _READ * number / len(files)) -> None:
            tell(share, f"Reading {name}: {count:,} records.")

        _gather(gathered, path, free, mapping, columns, limits, clean_label, rules, read)
    if not gathered.rows:
        raise _nothing_usable(gathered)
    if merge:
        _merge(gathered)
    return _drafted(gathered, task_name, (clean_label, label_name or str), rules, tell)


def _nothing_usable(gathered: _Gathered) -> MedbenchError:
    reasons = [entry[2] for account in gathered.account.values() for entry in account.entries]
    return MedbenchError(
        "at least one record that can be used",
        f"none; the first reason: {reasons[0]}" if reasons else "none",
        "Correct the file or export it again.",
    )


def _drafted(
    gathered: _Gathered, task_name: str, naming: tuple[Naming, Naming], rules: LabelRules | None, tell: Tell
) -> Draft:
    import pandas as pd

    tell(_READ, f"Cleaning {len(gathered.rows):,} rows.")
    frame, cleaning, answer, labels = _framed(gathered, rules.answers if rules else ("one", "many"))
    gathered.notices += rules.remarks(labels) if rules and labels else []
    checks = 0.35  # share at which the checks begin

    def told(share: float, sentence: str) -> None:
        nonlocal checks
        checks = 0.9  # marked evidence of another language takes by far the longest
        tell(_READ + (checks - _READ) * share, sentence)

    gathered.notices += place_marks(frame, naming[0], told)
    tell(checks, "Looking for duplicates, conflicts and leaks.")
    named = {label: gathered.names.get(label) or naming[1](label) for label in labels}
    judged = verdict.judge(
        frame,
        answer,
        labels,
        label_names=named,
        name_columns=gathered.name_columns,
        say=lambda share, sentence: tell(checks + (1 - checks) * share, sentence),
    )
    frame["cluster"] = pd.Series(judged.clusters, dtype="object")
    tell(1.0, "Done.")
    return Draft(
        frame,
        gathered.account,
        cleaning,
        gathered.mappings,
        gathered.notices,
        judged.findings,
        task_name,
        answer,
        labels,
        named,
        gathered.sources,
        judged.profile,
    )


def _merge(gathered: _Gathered) -> None:
    """Keep the first row of each text, with the labels of all; blank texts are left alone."""
    first: dict[str, int] = {}
    rows: list[Row] = []
    files: list[str] = []
    for row, file in zip(gathered.rows, gathered.files, strict=True):
        place = first.setdefault(" ".join(words_of(f"{row.title}\n{row.text}")), len(rows))
        if place < len(rows) and (row.title or row.text):
            labels = dict.fromkeys((*rows[place].labels, *row.labels))
            rows[place] = replace(rows[place], labels=tuple(labels))
        else:
            rows.append(row)
            files.append(file)
    if len(rows) < len(gathered.rows):
        gathered.notices.append(
            f"Merged {len(gathered.rows):,} rows into {len(rows):,}: rows with the same text became one."
        )
    gathered.rows, gathered.files = rows, files


def _free_name(name: str, taken: Mapping[str, Account]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _gather(
    gathered: _Gathered,
    path: Path,
    name: str,
    mapping: ColumnMap | Mapping[str, ColumnMap] | None,
    chosen: Mapping[str, str] | None,
    limits: Limits | None,
    clean_label: Callable[[str], str],
    rules: LabelRules | None,
    told: Callable[[int], None],
) -> None:
    reader, source = open_source(path, name, limits)
    account = Account()
    records = []
    for record in account.watch(reader.read(source)):
        records.append(record)
        if len(records) % _TOLD_EVERY == 0:
            told(len(records))
    sample = records[:: max(1, len(records) // _SAMPLE)]
    given = mapping if isinstance(mapping, ColumnMap) else (mapping or {}).get(name)
    used = given or mapping_of.guess(reader.roles, sample, chosen)
    usable = account.usable > 0
    if usable:
        mapping_of.check(used, mapping_of.columns_of(records), name)
        clean_label = rules.cleaner(mapping_of.raw_labels(used, records)) if rules else clean_label
        beside, names = label_names.learn(used, records, clean_label)
        gathered.names.update(names)
        gathered.name_columns.update(beside)
    before = len(gathered.rows)
    gathered.rows.extend(mapping_of.apply(used, records, clean_label, reader.roles))
    gathered.files.extend([name] * (len(gathered.rows) - before))
    gathered.account[name] = account
    gathered.mappings[name] = used
    gathered.notices += [f"{name}: {sentence}" for sentence in (*source.notices, *mapping_of.explain(used, sample))]
    gathered.sources.append(_source_card(path, name, reader, source, account))


def _source_card(path: Path, name: str, reader: Reader, source: Source, account: Account) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": name,
        "sha256": digest,
        "format": reader.title,
        "encoding": source.encoding,
        "bytes": path.stat().st_size,
        "read": account.read,
        "repaired": account.repaired,
        "refused": account.refused,
    }


def _framed(
    gathered: _Gathered, answers: tuple[AnswerKind, ...]
) -> tuple[pd.DataFrame, list[str], AnswerKind, tuple[str, ...]]:
    import pandas as pd

    rows, cleaner = gathered.rows, Cleaner()
    cleaned = [cleaner.row(row.title, row.text) for row in rows]
    answer = _answer(gathered) if len(answers) > 1 else answers[0]
    width = len(str(len(rows) - 1))
    table: dict[str, list[Any]] = {
        "id": [row.id or f"{position:0{width}d}" for position, row in enumerate(rows)],
        "title": [title for title, _ in cleaned],
        "text": [text for _, text in cleaned],
        "labels": [list(row.labels) for row in rows],
        "labelled": _labelled(gathered, answer),
        "group": [row.group for row in rows],
        "cluster": [""] * len(rows),
        "split": [row.split for row in rows],
        "source": gathered.files,
        "line": [row.line for row in rows],
    }
    for name in dict.fromkeys(name for row in rows for name in row.extra):
        table[f"x_{name}"] = [row.extra.get(name, "") for row in rows]
    frame = pd.DataFrame({name: pd.Series(values, dtype=_dtype(name)) for name, values in table.items()}, copy=False)
    labels = tuple(sorted({label for row in rows for label in row.labels}, key=_natural))
    return frame, cleaner.sentences(), answer, labels


def _dtype(name: str) -> str:
    return {"labelled": "bool", "line": "int64"}.get(name, "object")


def _natural(label: str) -> tuple[bool, float, str]:
    return (not label.isdecimal(), float(label) if label.isdecimal() else 0.0, label)


def _answer(gathered: _Gathered) -> AnswerKind:
    sizes = {len(row.labels) for row in gathered.rows}
    styles = {mapping.label_style for mapping in gathered.mappings.values() if mapping.labels}
    if max(sizes) > 1:
        return "many"
    if sizes == {1} or not styles:
        return "one"
    return "many" if styles & {"json", "columns", "separated"} else "one"


def _labelled(gathered: _Gathered, answer: AnswerKind) -> list[bool]:
    """Tell which rows are labelled.

    With one label per row a blank means "not labelled". With many, a blank in a file that has labels means "none of
    them applies", unless more than half of the rows are blank: then nobody labelled them.
    """
    given = [bool(row.labels) for row in gathered.rows]
    if answer == "one" or sum(given) * 2 < len(given):
        return given
    has_labels = {name for name, mapping in gathered.mappings.items() if mapping.labels}
    return [file in has_labels for file in gathered.files]
