"""The shipped samples are what their README says they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from medbench.readers import account, open_source
from medbench.records import Record

DOMAINS = {"cardiology", "oncology", "neurology", "infectious disease", "endocrinology", "mental health"}


def read(path: Path) -> list[Record]:
    reader, source = open_source(path)
    return list(reader.read(source))


def test_the_abstracts_are_as_described(samples: Path) -> None:
    records = read(samples / "abstracts.csv")
    labels = [record.first("labels").split(";") for record in records]
    counts = Counter(label for entry in labels for label in entry)
    assert account(records).read == len(records) == 123
    assert set(counts) == DOMAINS
    assert min(counts.values()) >= 20
    assert sum(len(entry) == 2 for entry in labels) == 24
    assert len({record.first("id") for record in records}) == 123
    assert all(int(record.first("id")) >= 90_000_000 for record in records)
    texts = Counter(record.first("abstract") for record in records)
    assert [count for count in texts.values() if count > 1] == [2]
    assert texts[""] == 1


def test_the_exports_hold_twelve_records_each(samples: Path) -> None:
    for name, reader_name, title, abstract in (
        ("pubmed-sample.nbib", "medline", "TI", "AB"),
        ("zotero-sample.ris", "ris", "TI", "AB"),
    ):
        reader, source = open_source(samples / name)
        records = list(reader.read(source))
        assert reader.name == reader_name
        assert account(records).read == len(records) == 12
        assert all(record.first(title) and record.first(abstract) for record in records)


def test_the_broken_file_is_mostly_read(samples: Path) -> None:
    records = read(samples / "broken.csv")
    told = account(records)
    assert (told.read, told.repaired, told.refused) == (8, 2, 2)
    assert [record.line for record in records if record.refused] == [3, 13]
    titles = {record.first("title") for record in records if not record.refused}
    assert {"Münchner Kohorte für Schlafapnoe", "Sleep and asthma", "The last good record"} <= titles
    assert not any("\x00" in value for record in records for values in record.fields.values() for value in values)
