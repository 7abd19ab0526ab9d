"""PubMed XML, JATS, EndNote XML, BibTeX and PDF."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import bibtexparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reader_samples import ADDITIONS, put, records, written

from medbench.errors import MedbenchError
from medbench.readers import Source, get_reader, open_source

ARTICLE = """<PubmedArticle>
<MedlineCitation Status="MEDLINE"><PMID Version="1">{pmid}</PMID>
<Article><Journal><JournalIssue><PubDate><Year>2020</Year></PubDate></JournalIssue><Title>Heart</Title></Journal>
<ArticleTitle>Effects of <i>E. coli</i> on H<sub>2</sub>O &amp; &alpha;-cells.</ArticleTitle>
<Abstract><AbstractText Label="AIM">To see.</AbstractText><AbstractText Label="RESULT">Seen at 5 &lt; 6.</AbstractText>
<CopyrightInformation>Owner</CopyrightInformation></Abstract>
<AuthorList><Author><LastName>Müller</LastName><ForeName>Zoë</ForeName></Author><Author><CollectiveName>Group</CollectiveName>
</Author></AuthorList></Article>
<CommentsCorrectionsList><CommentsCorrections><PMID>999</PMID></CommentsCorrections></CommentsCorrectionsList>
<MeshHeadingList><MeshHeading><DescriptorName>Humans</DescriptorName></MeshHeading></MeshHeadingList>
<CoiStatement>None.</CoiStatement></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="doi">10.1/{pmid}</ArticleId></ArticleIdList>
<ReferenceList><Reference><ArticleIdList><ArticleId IdType="doi">10.9/other</ArticleId></ArticleIdList></Reference>
</ReferenceList></PubmedData></PubmedArticle>
"""
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE PubmedArticleSet PUBLIC "a" "b.dtd">\n<PubmedArticleSet>\n'
TAIL = "</PubmedArticleSet>\n"


def pubmed(*pieces: str) -> str:
    return HEAD + "".join(pieces) + TAIL


def test_pubmed_fields(tmp_path: Path) -> None:
    found = records(put(tmp_path, pubmed(ARTICLE.format(pmid=1), ARTICLE.format(pmid=2))))
    assert [record.line for record in found] == [4, 4 + ARTICLE.count("\n")]
    assert found[1].fields == {
        "pmid": ("2",),
        "title": ("Effects of E. coli on H2O & α-cells.",),
        "abstract": ("AIM: To see.\nRESULT: Seen at 5 < 6.",),
        "doi": ("10.1/2",),
        "journal": ("Heart",),
        "year": ("2020",),
        "authors": ("Müller, Zoë", "Group"),
        "mesh": ("Humans",),
    }
    assert found[1].repairs == ()


def test_a_broken_article_costs_itself_only(tmp_path: Path) -> None:
    broken = ARTICLE.format(pmid=2).replace("</Article>", "")
    cut = ARTICLE.format(pmid=3)[:300] + "\n"
    crooked = ARTICLE.format(pmid=4).replace("To see.", "R&D\x02 to see.")
    empty = "<PubmedArticle><MedlineCitation><PMID>6</PMID></MedlineCitation></PubmedArticle>"
    text = pubmed(ARTICLE.format(pmid=1), broken, cut, crooked, empty)[: -len(TAIL)] + ARTICLE.format(pmid=7)[:200]
    found = records(put(tmp_path, text))
    assert [record.refused is None for record in found] == [True, False, False, True, False, False]
    assert "not well-formed" in str(found[1].refused)
    assert "not closed" in str(found[2].refused)
    assert found[3].repairs == ("characters that XML does not allow were mended",)
    assert found[3].first("abstract").startswith("AIM: R&D to see.")
    assert "neither a title nor an abstract" in str(found[4].refused)
    assert "breaks off" in str(found[5].refused)


def test_records_longer_than_the_window_and_many_of_them(tmp_path: Path) -> None:
    long = ARTICLE.format(pmid=1).replace("To see.", "word " * 200_000)
    many = "".join(ARTICLE.format(pmid=number) for number in range(2, 900))
    found = records(put(tmp_path, pubmed(long, many)))
    assert [record.first("pmid") for record in found] == [str(number) for number in range(1, 900)]
    assert len(found[0].first("abstract")) > 900_000
    assert found[-1].line == 4 + 898 * ARTICLE.count("\n")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY % a "ha"> <<< ',
    ],
)
def test_entity_declarations_are_refused(doctype: str, tmp_path: Path) -> None:
    text = f"<?xml version='1.0'?>\n{doctype}\n<PubmedArticleSet>{ARTICLE.format(pmid='&b;')}{TAIL}"
    reader, source = open_source(put(tmp_path, text))
    with pytest.raises(MedbenchError, match="without entity declarations"):
        list(reader.read(source))


def test_pubmed_goes_back_out_as_valid_pubmed(tmp_path: Path) -> None:
    out = written(put(tmp_path, pubmed(ARTICLE.format(pmid=1), ARTICLE.format(pmid=2))), ADDITIONS)
    root = ElementTree.fromstring(out)
    assert root.tag == "PubmedArticleSet"
    citation = root[1].find("MedlineCitation")
    assert citation is not None
    order = [child.tag for child in citation]
    assert order.index("KeywordList") == order.index("CoiStatement") - 1
    assert [keyword.text for keyword in citation.findall("./KeywordList/Keyword")] == ["Neoplasms", "Eye diseases"]
    assert [note.text for note in citation.findall("GeneralNote")][1] == "medbench model: linear-1"
    assert b'<!DOCTYPE PubmedArticleSet PUBLIC "a" "b.dtd">' in out


JATS = """<!DOCTYPE article PUBLIC "-//NLM//DTD JATS" "x.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="research-article"><front><journal-meta>
<journal-title>BMC</journal-title></journal-meta>
<article-meta><article-id pub-id-type="pmid">77</article-id>
<article-id pub-id-type="doi">10.1/x</article-id>
<title-group><article-title>A <italic>JATS</italic> title</article-title>
</title-group>
<contrib-group>
<contrib><name><surname>A</surname><given-names>B</given-names></name></contrib></contrib-group>
<pub-date><year>2008</year></pub-date><abstract abstract-type="graphical"><p>A picture.</p></abstract>
<abstract><title>Abstract</title>
<sec><title>Aim</title><p>To see.</p></sec>
<sec><title>Result</title><p>Seen.</p></sec>
</abstract><counts><page-count count="1"/></counts></article-meta></front>
<body><p><ext-link xlink:href="u">x</ext-link></p>
</body><back><ref-list><ref><article-title>Another title</article-title></ref></ref-list></back></article>
"""


def test_jats(tmp_path: Path) -> None:
    path = put(tmp_path, JATS)
    (record,) = records(path)
    assert record.line == 2
    assert record.first("title") == "A JATS title"
    assert record.first("abstract") == "Aim: To see.\nResult: Seen."
    assert (record.first("pmid"), record.first("doi"), record.first("year")) == ("77", "10.1/x", "2008")
    root = ElementTree.fromstring(written(path, ADDITIONS))
    assert [kwd.text for kwd in root.findall(".//kwd-group/kwd")] == ["Neoplasms", "Eye diseases"]
    names = [name.text for name in root.findall(".//custom-meta-group/custom-meta/meta-name")]
    assert names == ["medbench scores", "medbench model", "medbench flags"]


ENDNOTE = """<?xml version="1.0" encoding="UTF-8" ?>
<xml><records><record><database name="My.enl">My.enl</database><rec-number>1</rec-number>
<ref-type name="Journal Article">17</ref-type>
<contributors><authors><author><style>A, B</style></author></authors></contributors>
<titles><title><style face="normal">A </style><style face="italic">title</style></title>
<secondary-title>Heart</secondary-title></titles><dates><year>2020</year></dates>
<keywords><keyword>one</keyword></keywords>

<abstract><style>An abstract.</style></abstract>
<label>included</label><electronic-resource-num>10.1/x</electronic-resource-num>
</record><record><rec-number>2</rec-number><titles><title>Second</title></titles></record>
<record><rec-number>3</rec-number></record></records></xml>
"""


def test_endnote_xml(tmp_path: Path) -> None:
    path = put(tmp_path, ENDNOTE)
    first, second, third = records(path)
    assert first.first("title") == "A title"
    assert (first.first("label"), first.first("journal"), first.first("doi")) == ("included", "Heart", "10.1/x")
    assert second.line == 1 + ENDNOTE[: ENDNOTE.index("<record><rec-number>2")].count("\n")
    assert third.refused is not None
    root = ElementTree.fromstring(written(path, ADDITIONS))
    found = root.findall("./records/record")
    assert [word.text for word in found[0].findall("./keywords/keyword")] == ["one", "Neoplasms", "Eye diseases"]
    assert [word.text for word in found[1].findall("./keywords/keyword")] == ["Neoplasms", "Eye diseases"]
    assert "medbench model: linear-1" in str(found[1].findtext("notes"))
    assert len(found) == 3


BIB = r"""% exported
@string{jh = "J. Heart"}
@comment{nothing, really = {x}}
@article{mueller2020,
  author = {M{\"u}ller, Zo{\"e} and Others},
  title = {{The} effect of \emph{E. coli} on 5\% of {DNA}},
  abstract = "Quoted {"}text{"} with, commas = signs @ home",
  journal = jh # { and more},
  month = jan,
  year = 2020,
  keywords = {one, two}
}
@book(b2, title = {Second}, year = 1999)

@article{torn, title = {No end,
  year = 2001

@misc{c3,
  title = {Third},
  note = {A note},
}
@misc{empty,}
"""


def test_bibtex(tmp_path: Path) -> None:
    found = records(put(tmp_path, BIB))
    assert [record.line for record in found] == [4, 13, 15, 18, 22]
    first, second, third, fourth, fifth = found
    assert first.fields == {
        "type": ("article",),
        "key": ("mueller2020",),
        "author": ("Müller, Zoë and Others",),
        "title": ("The effect of E. coli on 5% of DNA",),
        "abstract": ('Quoted "text" with, commas = signs @ home',),
        "journal": ("J. Heart and more",),
        "month": ("Jan",),
        "year": ("2020",),
        "keywords": ("one, two",),
    }
    assert second.first("title") == "Second"
    assert third.refused == "the braces of this entry do not match"
    assert fourth.first("title") == "Third"
    assert fifth.refused == "the entry has no fields"


def test_bibtex_goes_back_out(tmp_path: Path) -> None:
    out = written(put(tmp_path, BIB), ADDITIONS).decode()
    again = records(put(tmp_path, out, "again.bib"))
    before = records(put(tmp_path, BIB))
    assert [record.first("title") for record in again] == [record.first("title") for record in before]
    assert again[0].first("journal") == "J. Heart and more"
    assert again[0].first("keywords") == "one, two, Neoplasms, Eye diseases"
    assert again[0].first("note") == (
        "medbench scores: Neoplasms=0.93;Eye diseases=0.61; medbench model: linear-1; medbench flags: cut"
    )
    assert again[3].first("note") == "A note"
    assert again[3].first("annote").startswith("medbench scores")
    good = out[: out.index("@article{torn")]
    assert bibtexparser.loads(good).entries[0]["title"] == r"{The} effect of \emph{E. coli} on 5\% of {DNA}"


@given(st.text(st.sampled_from('ab@{}(),=#"\\\n %'), max_size=120))
def test_no_text_makes_bibtex_raise_or_hang(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "a.bib"
    path.write_text(f"@a{{k, title = {{x}}}}\n{text}\n@a{{m, title = {{y}}}}\n", encoding="utf-8")
    found = list(get_reader("bibtex").records(Source(path, "a.bib")))
    assert found[0].first("title") == "x"


def article_pdf(title: str, lines: list[str], metadata: str = "", pages: int = 1, password: str = "") -> bytes:
    from fpdf import FPDF

    document = FPDF()
    if metadata:
        document.set_title(metadata)
    if password:
        document.set_encryption(owner_password=password + "x", user_password=password)
    document.add_page()
    document.set_font("helvetica", size=9)
    document.multi_cell(0, 5, "Journal of Nothing 12 (2020) 1-9", new_x="LMARGIN", new_y="NEXT")
    document.set_font("helvetica", "B", size=18)
    document.multi_cell(0, 9, title, new_x="LMARGIN", new_y="NEXT")
    document.set_font("helvetica", size=11)
    for line in lines:
        document.multi_cell(0, 5, line, new_x="LMARGIN", new_y="NEXT")
    for number in range(pages - 1):
        document.add_page()
        document.multi_cell(0, 5, f"Page {number}", new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())


TITLE = "Left ventricular function after early surgery: a randomised trial"
BODY = ["A. Author, B. Author", "Abstract", "Background: nothing was known. " * 4, "Results: it is known now.",
        "Keywords: heart; surgery", "1 Introduction", "Much has been said."]  # fmt: skip


@pytest.mark.parametrize("metadata", ["", "Microsoft Word - draft3.doc", "untitled"])
def test_pdf_title_and_abstract_are_found(metadata: str, tmp_path: Path) -> None:
    (record,) = records(put(tmp_path, article_pdf(TITLE, BODY, metadata, pages=20)))
    assert record.line == 1
    assert record.first("title") == TITLE
    assert record.first("abstract").startswith("Background: nothing was known.")
    assert record.first("abstract").endswith("Results: it is known now.")
    assert "Page 1" in record.first("text")
    assert "Page 5" not in record.first("text")
    assert record.repairs == ()


def test_a_sensible_pdf_title_is_believed(tmp_path: Path) -> None:
    (record,) = records(put(tmp_path, article_pdf("ORIGINAL RESEARCH ARTICLE OF THE YEAR", BODY, TITLE)))
    assert record.first("title") == TITLE


def test_a_pdf_without_abstract_offers_its_text(tmp_path: Path) -> None:
    (record,) = records(put(tmp_path, article_pdf(TITLE, ["Just words, " * 20])))
    assert "abstract" not in record.fields
    assert "Just words" in record.first("text")
    assert "no abstract was recognised" in record.repairs[0]


def test_pdfs_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    from fpdf import FPDF

    blank = FPDF()
    blank.add_page()
    whole = article_pdf(TITLE, BODY)
    for content, reason in (
        (bytes(blank.output()), "pictures of pages"),
        (article_pdf(TITLE, BODY, password="secret"), "locked with a password"),
        (whole[:200], "damaged"),
        (b"%PDF-1.4\n" + b"junk" * 100, "damaged"),
    ):
        (record,) = records(put(tmp_path, content))
        assert reason in str(record.refused)


def test_a_damaged_pdf_is_not_quoted_in_any_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = article_pdf(TITLE, BODY)
    (record,) = records(put(tmp_path, whole.replace(b"startxref\n", b"startxref\n1")))
    assert record.first("title") == TITLE
    assert caplog.records == []


def test_xml_writing_leaves_out_what_would_break_the_document(tmp_path: Path) -> None:
    broken = ARTICLE.format(pmid=2).replace("</Article>", "")
    path = put(tmp_path, pubmed(ARTICLE.format(pmid=1), broken))
    reader, source = open_source(path)
    out = io.BytesIO()
    reader.write([(record, {}) for record in reader.read(source)], out, source)
    assert len(ElementTree.fromstring(out.getvalue())) == 1
