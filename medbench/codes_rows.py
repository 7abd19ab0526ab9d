"""What the code tables answer with: a row, an equivalent in another table, a hit of a search, a clinical group."""

from __future__ import annotations

from dataclasses import dataclass

from medbench.codes_naming import Kind, Level, Version, label_of


@dataclass(frozen=True, slots=True)
class Code:
    """One row of a table.

    Attributes:
        code: As printed: capitals, with the dot ("E11.9").
        version: Table it stands in.
        kind: "diagnosis" or "procedure".
        text: Official text. For rows that the packaged lists leave out (headings of ICD-9-CM, axes of ICD-10-PCS) the
            words that the codes below share.
        billable: Whether it may stand on a claim; False for headings and for codes that have finer ones.
        level: "chapter", "block", "category" or "code"; only the last two are codes.
        category: Label of the three-character category (four with E in ICD-9-CM, two in its procedures), or None.
        block: Label of the block, or None.
        chapter: Label of the chapter.
        parent: Label of the row above, or None for a chapter.
    """

    code: str
    version: Version
    kind: Kind
    text: str
    billable: bool
    level: Level
    category: str | None
    block: str | None
    chapter: str
    parent: str | None

    @property
    def label(self) -> str:
        """The code with its version: "icd10cm:E11.9"."""
        return label_of(self.version, self.code)

    @property
    def is_code(self) -> bool:
        """True for categories and codes, False for chapters and blocks."""
        return self.level in ("category", "code")


@dataclass(frozen=True, slots=True)
class Equivalent:
    """What a general equivalence mapping offers for an ICD-9 code.

    Attributes:
        code: The ICD-10-CM code, valid in the release that `Tables.release` names.
        approximate: True when the two do not mean quite the same.
        scenario: 0, or the number of a combination: codes of one scenario belong together.
        choice: Which part of the combination the code fills; alternatives share the number.
    """

    code: Code
    approximate: bool
    scenario: int
    choice: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A code that a search found.

    Attributes:
        code: The code; one that takes a seventh character stands for all its endings (see `Tables.children`).
        score: Its share among the codes that were weighed, 0-1; 1 for a code that was typed.
        text: The text that spoke for it: its title, an inclusion term, a note that points to it, an ICD-9 title.
        source: Which of these.
        fit: How well that text and the query agree, 0-1.
    """

    code: Code
    score: float
    text: str
    source: str
    fit: float


@dataclass(frozen=True, slots=True)
class Group:
    """A category of the Clinical Classifications Software Refined: "DIG001", "Digestive system"."""

    category: str
    system: str
