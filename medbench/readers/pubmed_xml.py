"""PubMed XML (PubmedArticleSet) and JATS/NXML articles as PubMed Central gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar
from xml.etree.ElementTree import Element

from medbench.readers import Reader, Source
from medbench.readers._tagged import labels_of, notes_of
from medbench.readers._xml import all_words, escaped, inserted, read_records, words, write_document
from medbench.records import Record, Role

_TAGS = ("PubmedArticle", "PubmedBookArticle", "MedlineCitation", "article")
_SILENT = frozenset(
    {"pmid", "doi", "pmc", "journal", "year", "authors", "language", "publication_types", "mesh", "keywords"}
)
_PUBMED = re.compile(rb"<(?:[\w.-]+:)?(?:PubmedArticle|PubmedBookArticle|PubmedArticleSet|MedlineCitation)[\s>]")
_JATS = re.compile(rb"<(?:[\w.-]+:)?article[\s>]")
_JATS_SIGNS = re.compile(rb"<front>|<article-meta|article-type=|//DTD (?:Journal|JATS)|<journal-meta")
_BEFORE_KEYWORDS = ("<CoiStatement", "<SpaceFlightMission", "<InvestigatorList", "<GeneralNote", "</MedlineCitation>")
_BEFORE_GROUP = ("<funding-group", "<support-group", "<conference", "<counts", "<custom-meta-", "</article-meta>")


class PubmedXml(Reader):
    """PubMed XML and JATS."""

    name = "pubmed_xml"
    title = "PubMed XML or JATS"
    extensions = (".xml", ".nxml")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title",),
        "text": ("abstract",),
        "id": ("pmid", "doi", "pmc"),
        "labels": (),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for the record elements."""
        if _PUBMED.search(head):
            return 0.98
        return 0.9 if _JATS.search(head) and _JATS_SIGNS.search(head) else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per article, streaming; see `Reader.read`."""
        return read_records(source, _TAGS, _fields, _SILENT)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as a keyword list and other additions as general notes (custom meta in JATS).

        Records that were refused because they are not well-formed are left out.
        """
        write_document(rows, out, source, _TAGS, _extended)


def _fields(article: Element) -> dict[str, tuple[str, ...]]:
    return _jats(article) if article.tag == "article" else _pubmed(article)


def _pubmed(article: Element) -> dict[str, tuple[str, ...]]:
    citation = article if article.tag == "MedlineCitation" else article.find("MedlineCitation")
    body = citation if citation is not None else (article.find("BookDocument") or article)
    ids = {entry.get("IdType"): words(entry) for entry in article.findall("./PubmedData/ArticleIdList/ArticleId")}
    doi = ids.get("doi") or words(body.find(".//ELocationID[@EIdType='doi']"))
    title = (
        words(body.find(".//ArticleTitle"))
        or words(body.find(".//BookTitle"))
        or words(body.find(".//VernacularTitle"))
    )
    year = words(body.find(".//PubDate/Year")) or words(body.find(".//PubDate/MedlineDate"))
    return {
        "pmid": (words(body.find(".//PMID")),),
        "title": (title,),
        "abstract": (_sections(body.find(".//Abstract")),),
        "doi": (doi or "",),
        "pmc": (ids.get("pmc") or "",),
        "journal": (words(body.find(".//Journal/Title")),),
        "year": (year,),
        "authors": tuple(_person(author, "LastName", "ForeName") for author in body.findall(".//AuthorList/Author")),
        "language": all_words(body.findall(".//Language")),
        "publication_types": all_words(body.findall(".//PublicationTypeList/PublicationType")),
        "mesh": all_words(body.findall(".//MeshHeading/DescriptorName")),
        "keywords": all_words(body.findall(".//KeywordList/Keyword")),
    }


def _sections(abstract: Element | None) -> str:
    """Return an abstract with its section labels, one section a line."""
    if abstract is None:
        return ""
    lines = []
    for part in abstract.findall("AbstractText"):
        label, text = part.get("Label", ""), words(part)
        if text:
            lines.append(f"{label}: {text}" if label and label != "UNLABELLED" else text)
    return "\n".join(lines)


def _person(author: Element, family: str, given: str) -> str:
    name = words(author.find(f".//{family}"))
    return ", ".join(filter(None, (name, words(author.find(f".//{given}"))))) or words(author.find("CollectiveName"))


def _jats(article: Element) -> dict[str, tuple[str, ...]]:
    meta = article.find("./front/article-meta")
    if meta is None:
        found = article.find(".//article-meta")
        meta = found if found is not None else article
    ids = {entry.get("pub-id-type"): words(entry) for entry in meta.findall("article-id")}
    abstracts = meta.findall("abstract")
    plain = [entry for entry in abstracts if entry.get("abstract-type") in (None, "", "structured")] or abstracts
    contributors = meta.findall("./contrib-group/contrib")
    title = meta.find("./title-group/article-title")
    return {
        "pmid": (ids.get("pmid") or "",),
        "title": (words(title if title is not None else meta.find(".//article-title")),),
        "abstract": ("\n".join(filter(None, map(_jats_abstract, plain[:1]))),),
        "doi": (ids.get("doi") or "",),
        "pmc": (ids.get("pmc") or ids.get("pmcid") or "",),
        "journal": (words(article.find(".//journal-title")),),
        "year": (words(meta.find("./pub-date/year")),),
        "authors": tuple(_person(person, "surname", "given-names") for person in contributors),
        "keywords": all_words(meta.findall("./kwd-group/kwd")),
    }


def _jats_abstract(abstract: Element) -> str:
    """Return an abstract, "Title: text" for each of its sections, one a line; its own heading is left out."""
    lines = []
    for part in abstract:
        if part.tag == "sec":
            heading = words(part.find("title"))
            text = " ".join(all_words(child for child in part if child.tag != "title"))
            lines.append(f"{heading}: {text}" if heading else text)
        elif part.tag != "title":
            lines.append(words(part))
    return "\n".join(filter(None, lines)) or words(abstract)


def _extended(text: str, additions: Mapping[str, str]) -> str:
    labels, notes = labels_of(additions), notes_of(additions)
    if "<article-meta" in text and "<MedlineCitation" not in text:
        return _extended_jats(text, labels, notes)
    words_xml = "".join(f'<Keyword MajorTopicYN="N">{escaped(label)}</Keyword>' for label in labels)
    list_xml = f'<KeywordList Owner="NOTNLM">{words_xml}</KeywordList>' if labels else ""
    notes_xml = "".join(f'<GeneralNote Owner="NLM">{escaped(note)}</GeneralNote>' for note in notes)
    if "</MedlineCitation>" not in text:
        return inserted(text, list_xml + notes_xml, ("</BookDocument>", "</PubmedBookArticle>"))
    return inserted(inserted(text, list_xml, _BEFORE_KEYWORDS), notes_xml, ("</MedlineCitation>",))


def _extended_jats(text: str, labels: list[str], notes: list[str]) -> str:
    kwds = "".join(f"<kwd>{escaped(label)}</kwd>" for label in labels)
    group = f'<kwd-group kwd-group-type="medbench">{kwds}</kwd-group>' if labels else ""
    pairs = [note.partition(": ") for note in notes]
    meta = "".join(
        f"<custom-meta><meta-name>{escaped(name)}</meta-name><meta-value>{escaped(value)}</meta-value></custom-meta>"
        for name, _, value in pairs
    )
    text = inserted(text, group, _BEFORE_GROUP)
    if "</custom-meta-group>" in text:
        return inserted(text, meta, ("</custom-meta-group>",))
    return inserted(text, f"<custom-meta-group>{meta}</custom-meta-group>" if meta else "", ("</article-meta>",))


READER = PubmedXml()
