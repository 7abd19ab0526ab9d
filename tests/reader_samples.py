"""Small files of every format and what the readers' tests do with them."""

from __future__ import annotations

import io
from pathlib import Path

from medbench.readers import get_reader, open_source
from medbench.records import Record, Role

ADDITIONS = {
    "medbench_labels": "Neoplasms;Eye diseases",
    "medbench_scores": "Neoplasms=0.93;Eye diseases=0.61",
    "medbench_model": "linear-1",
    "medbench_flags": "cut",
}
RIS = "TY  - JOUR\nTI  - A title\nAB  - An abstract.\nER  - \n\n"
SAMPLES = {
    "tables": 'title,abstract,pmid\nA title,"An abstract,\nof two lines.",1\nB title,Another.,2\n',
    "jsonl": '{"title": "A title", "abstract": "An abstract.", "codes": ["a", "b"]}\n{"title": "B", "abstract": "C"}\n',
    "json_list": '[{"title": "A title", "abstract": "An abstract.", "n": 1.10},\n {"title": "B", "abstract": "C"}]',
    "ris": RIS + RIS.replace("A title", "B title"),
    "medline": "PMID- 1\nOWN - NLM\nTI  - A title\nAB  - An abstract\n      that goes on.\n\n"
    "PMID- 2\nTI  - B\nAB  - C\n",
    "wos": "FN Clarivate Analytics Web of Science\nVR 1.0\n"
    "PT J\nAU A, B\n   C, D\nTI A title\nAB An abstract.\nER\n\nEF\n",
    "refer": "%0 Journal Article\n%T A title\n%X An abstract.\n%K one\n\n%0 Journal Article\n%T B\n%X C\n",
    "bibtex": '@article{a1,\n  title = {A title},\n  abstract = "An abstract.",\n  year = 2020\n}\n',
    "pubmed_xml": (
        "<?xml version='1.0'?>\n<PubmedArticleSet>\n<PubmedArticle><MedlineCitation><PMID>1</PMID><Article>"
        "<ArticleTitle>A title</ArticleTitle><Abstract><AbstractText>An abstract.</AbstractText></Abstract>"
        "</Article></MedlineCitation></PubmedArticle>\n</PubmedArticleSet>"
    ),
    "endnote": (
        "<?xml version='1.0'?><xml><records><record><ref-type name='Journal Article'>17</ref-type><titles><title>"
        "<style face='normal'>A title</style></title></titles><abstract>An abstract.</abstract>"
        "</record></records></xml>"
    ),
}


def put(folder: Path, content: str | bytes, name: str = "upload") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def records(path: Path, name: str | None = None) -> list[Record]:
    reader, source = open_source(path, name)
    return list(reader.read(source))


def lead(record: Record, role: Role, reader_name: str) -> str:
    lowered = {name.lower(): values[0] for name, values in record.fields.items()}
    return next((lowered[name] for name in get_reader(reader_name).roles[role] if lowered.get(name)), "")


def as_workbook(rows: list[list[object]]) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def written(path: Path, additions: dict[str, str]) -> bytes:
    """Read a file and write it back, every record with the same additions."""
    reader, source = open_source(path)
    out = io.BytesIO()
    reader.write([(record, additions) for record in reader.read(source)], out, source)
    return out.getvalue()
