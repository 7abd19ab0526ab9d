"""BibTeX and BibLaTeX.

A tolerant reader of our own, because bibtexparser gives up on an unbalanced brace, knows no line numbers and does not
keep a value as it was written; its table of LaTeX letters is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tagged import NOTE, UNDECODED, Pair, labels_of, notes_of, outside
from medbench.records import Record, Role

_ENTRY = re.compile(r"@\s*([A-Za-z]+)\s*([{(])")
_NEXT = re.compile(r"(?<=\n)[ \t]*@[A-Za-z]+[ \t]*[{(]\s*[^\s,{}=\"]+\s*[,=]")
_KEY = re.compile(r"\s*([^\s,{}=\"]*)\s*(?:,|$)")
_FIELD = re.compile(r"[\s,]*([A-Za-z][\w:.+/-]*)\s*=\s*")
_PLAIN = re.compile(r"[^\s,#{}\"]+")
_BRACES = re.compile(r"\\.|[{}\"]", re.DOTALL)
_STYLES = re.compile(
    r"\\(?:emph|text(?:it|bf|sc|rm|tt|sf|up|superscript|subscript)|math(?:rm|it|bf)|ensuremath|url)\s*(?=\{)"
)
_ESCAPED = re.compile(r"\\([%&_$#])")
_ASIDE = ("comment", "string", "preamble")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Bibtex(Reader):
    """BibTeX files."""

    name = "bibtex"
    title = "BibTeX"
    extensions = (".bib",)
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title", "booktitle"),
        "text": ("abstract", "annote", "note"),
        "id": ("pmid", "doi", "key"),
        "labels": ("labels", "groups"),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for entries with a key and a field."""
        found = re.search(rb"^\s*@[A-Za-z]+\s*[{(]\s*[^\s,{}=]*\s*,\s*[A-Za-z][\w-]*\s*=", head, re.MULTILINE)
        return 0.95 if found else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per entry; the text is held in memory. See `Reader.read`."""
        with source.open_text() as file:
            text = file.read().lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        macros = {month: month.capitalize() for month in _MONTHS}
        line, counted, behind = 1, 0, 0
        for start, end, torn in _entries(text):
            loose = text[behind:start].strip()
            line, counted, behind = line + text.count("\n", counted, start), start, end
            head = _ENTRY.match(text, start)
            if head is None or head[1].lower() in _ASIDE:
                if head is not None and head[1].lower() == "string":
                    macros.update(
                        {name.lower(): _decoded(raw, macros) for name, raw in _fields(text[head.end() : end - 1])}
                    )
                continue
            repairs = (outside(loose),) if loose and not loose.startswith("%") else ()
            if torn:
                yield Record(
                    line, {}, repairs, "the braces of this entry do not match", (("raw", text[start:end].rstrip()),)
                )
            else:
                yield _record(line, head[1], text[head.end() : end - 1], macros, repairs)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels into `keywords` and other additions into `note`; macros of the source are kept on top."""
        with source.open_text() as file:
            text = file.read().replace("\r\n", "\n")
        for start, end, torn in _entries(text):
            head = _ENTRY.match(text, start)
            if head is not None and not torn and head[1].lower() in ("string", "preamble"):
                out.write(text[start:end].encode() + b"\n\n")
        for record, additions in rows:
            if record.refused is not None and record.order[:1] and record.order[0][0] == "raw":
                out.write(record.order[0][1].encode() + b"\n\n")
                continue
            (_, kind), (_, key), *pairs = record.order
            if record.refused is None:
                pairs = _extended(pairs, additions)
            body = "".join(f",\n  {name} = {raw}" for name, raw in pairs)
            out.write(f"@{kind}{{{key}{body}\n}}\n\n".encode())


def _entries(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, torn) of every @entry; one whose braces do not match ends where the next begins."""
    position = 0
    while (head := _ENTRY.search(text, position)) is not None:
        end = _closing(text, head.end(), head[2])
        following = _NEXT.search(text, head.end(), end or len(text))
        torn = end is None or (following is not None and head[1].lower() != "comment")
        stop = following.start() if torn and following is not None else (end or len(text))
        yield head.start(), stop, torn
        position = stop


def _closing(text: str, position: int, bracket: str) -> int | None:
    """Return the place behind the bracket that closes an entry, or None."""
    depth = 1 if bracket == "{" else 0
    for match in re.compile(r"\\.|[{})]", re.DOTALL).finditer(text, position):
        mark = match[0]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0 and bracket == "{":
                return match.end()
        elif mark == ")" and bracket == "(" and depth == 0:
            return match.end()
        if depth < 0:
            return None
    return None


def _fields(body: str) -> Iterator[Pair]:
    """Yield the names and raw values (delimiters included) of an entry's fields."""
    position = 0
    while (match := _FIELD.match(body, position)) is not None:
        end = _value_end(body, match.end())
        if end == match.end():
            return
        yield match[1], body[match.end() : end].strip()
        position = end


def _value_end(body: str, position: int) -> int:
    """Return where a value ends: pieces in braces, in quotes or plain, joined by #."""
    while True:
        if body.startswith(("{", '"'), position):
            position = _piece_end(body, position)
        elif (plain := _PLAIN.match(body, position)) is not None:
            position = plain.end()
        joined = re.compile(r"\s*#\s*").match(body, position)
        if joined is None or joined.end() >= len(body):
            return position
        position = joined.end()


def _piece_end(body: str, position: int) -> int:
    quoted = body[position] == '"'
    depth = 0 if quoted else 1
    for match in _BRACES.finditer(body, position + 1):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if (quoted and match[0] == '"' and depth == 0) or (not quoted and depth == 0):
            return match.end()
    return len(body)


def _decoded(raw: str, macros: Mapping[str, str]) -> str:
    """Return a raw value as plain text: macros put in, LaTeX letters and braces resolved, white space collapsed."""
    parts: list[str] = []
    position = 0
    while position < len(raw):
        if raw[position] in '{"':
            end = _piece_end(raw, position)
            parts.append(raw[position + 1 : end - 1])
        elif (plain := _PLAIN.match(raw, position)) is not None:
            end = plain.end()
            parts.append(macros.get(plain[0].lower(), plain[0]))
        else:
            end = position + 1
        position = end
    text = _ESCAPED.sub(r"\1", _STYLES.sub("", "".join(parts)))
    if "\\" in text:
        from bibtexparser.latexenc import latex_to_unicode

        text = str(latex_to_unicode(text))
    return " ".join(text.replace("{", "").replace("}", "").replace("~", " ").split())


def _record(line: int, kind: str, body: str, macros: Mapping[str, str], repairs: tuple[str, ...]) -> Record:
    key = _KEY.match(body)
    name, rest = (key[1], body[key.end() :]) if key is not None else ("", body)
    pairs = list(_fields(rest))
    fields: dict[str, tuple[str, ...]] = {"type": (kind.lower(),), "key": (name,)}
    for field, raw in pairs:
        if value := _decoded(raw, macros):
            fields[field.lower()] = (*fields.get(field.lower(), ()), value)
    if "\ufffd" in body:
        repairs = (*repairs, UNDECODED)
    refused = None if fields.keys() - {"type", "key"} else "the entry has no fields"
    return Record(line, fields, repairs, refused, (("@", kind), ("key", name), *pairs))


def _extended(pairs: list[Pair], additions: Mapping[str, str]) -> list[Pair]:
    labels = [_bare(label) for label in labels_of(additions)]
    notes = [_bare(note) for note in notes_of(additions)]
    pairs = _joined(pairs, "keywords", labels, ", ")
    target = "annote" if any(name.lower() == "note" for name, _ in pairs) else "note"
    kept = [pair for pair in pairs if not (notes and pair[0].lower() == target and pair[1].startswith(f"{{{NOTE}"))]
    return _joined(kept, target, notes, "; ")


def _joined(pairs: list[Pair], name: str, values: list[str], separator: str) -> list[Pair]:
    if not values:
        return pairs
    text = separator.join(values)
    result = [(field, f"{raw} # {{{separator}{text}}}" if field.lower() == name else raw) for field, raw in pairs]
    return result if any(field.lower() == name for field, _ in pairs) else [*result, (name, f"{{{text}}}")]


def _bare(text: str) -> str:
    """Return text without the characters that BibTeX would read as its own."""
    return re.sub(r"([%&_$#])", r"\\\1", text.replace("\\", " ").replace("{", "(").replace("}", ")"))


READER = Bibtex()
