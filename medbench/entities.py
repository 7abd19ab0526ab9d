"""Medical entities in a text: what it names, where, and whether that is said of the patient and of now.

Words are looked up among the texts of the code tables, in dictionaries that users bring (MeSH and others), and among
the labels of a model; the longest run of words wins, and what several sources know is one entity with several
concepts. With scispaCy installed, what one of its models marks is added. Denied, a relative's, past and uncertain
mentions are read as for codes (`assertions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

from medbench.assertions import assertions, read_mention
from medbench.codes import TITLES
from medbench.codes_spotting import Status, code_of, knows, spotted
from medbench.dictionaries import Concept, Dictionary, made
from medbench.errors import MedbenchError
from medbench.terms_reading import Listed

Codes = Literal["icd10cm", "icd9cm"]
STATUSES: dict[str, str] = {
    "present": "present",
    "negated": "denied",
    "family": "a relative's",
    "historical": "past",
    "uncertain": "uncertain",
}
LABELS = "labels of the model"
SCISPACY = ("en_ner_bc5cdr_md", "en_core_sci_sm", "en_core_sci_md", "en_core_sci_lg", "en_core_sci_scibert")
LONGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Entity:
    """One mention.

    Attributes:
        start: First character in the text.
        end: One past its last character.
        text: The words as written.
        status: "present", "negated", "family", "historical" or "uncertain".
        concepts: What they mean, one or more sources; the code tables first.
    """

    start: int
    end: int
    text: str
    status: Status
    concepts: tuple[Concept, ...]

    @property
    def name(self) -> str:
        """The preferred name in the first source."""
        return self.concepts[0].name

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return asdict(self)


def of_labels(names: Mapping[str, str]) -> Dictionary:
    """Return the dictionary of a model's labels: label -> what a user reads for it."""
    return made(LABELS, (Listed(label, name, (name,)) for label, name in names.items() if name != label))


def find(
    text: str,
    dictionaries: Sequence[Dictionary] = (),
    codes: Codes | None = "icd10cm",
    scispacy: str = "",
) -> list[Entity]:
    """Return the entities of a text in the order of their places; none lies within another.

    Args:
        text: The text.
        dictionaries: Terms beside those of the code tables.
        codes: The code table that is looked up; None for none.
        scispacy: A scispaCy model whose marks are added where nothing else was found; empty for none.

    Raises:
        MedbenchError: scispaCy or its model is not installed, or the text is too long.
    """
    if len(text) > LONGEST:
        raise MedbenchError(f"a text of at most {LONGEST:,} characters", f"{len(text):,}", "Send it in parts.")

    def known(key: str) -> bool:
        return (codes is not None and knows(key, codes)) or any(one.knows(key) for one in dictionaries)

    meant = [
        (begin, end, _concepts(key, text[begin:end], dictionaries, codes)) for begin, end, key in spotted(text, known)
    ]
    found = [one for one in meant if one[2]]
    if scispacy:
        taken = [(begin, end) for begin, end, _ in found]
        found += [
            (begin, end, (Concept("", name, scispacy),))
            for begin, end, name in _by_scispacy(text, scispacy)
            if all(end <= one or begin >= other for one, other in taken)
        ]
    scopes = assertions(text) if found else []
    return [
        Entity(begin, end, text[begin:end], read_mention(text, scopes, begin, end).status, concepts)
        for begin, end, concepts in sorted(found, key=lambda one: one[0])
    ]


def _concepts(key: str, written: str, dictionaries: Sequence[Dictionary], codes: Codes | None) -> tuple[Concept, ...]:
    code = code_of(key, codes) if codes is not None else None
    own = [Concept(code.label, code.text, TITLES[code.version])] if code is not None else []
    return (*own, *(concept for one in dictionaries for concept in one.concepts(key, written)))


# --- scispaCy --------------------------------------------------------------------------------------------------


def scispacy_models() -> list[str]:
    """Return the scispaCy models that are installed, those that name diseases and drugs first."""
    return [name for name in SCISPACY if find_spec(name) is not None] if find_spec("scispacy") is not None else []


def _by_scispacy(text: str, model: str) -> list[tuple[int, int, str]]:
    """Return (start, end, words) of what a scispaCy model marks (Neumann et al. 2019)."""
    if model not in scispacy_models():
        have = ", ".join(scispacy_models()) or "none"
        raise MedbenchError(
            "scispaCy with one of its models",
            f"{model!r}; installed: {have}",
            "Install scispacy and a model from its makers' page, or leave it out: the dictionaries answer without it.",
        )
    if model not in _loaded:
        _loaded[model] = import_module("spacy").load(model)
    return [(one.start_char, one.end_char, one.text) for one in _loaded[model](text).ents]


_loaded: dict[str, Any] = {}


# --- told ------------------------------------------------------------------------------------------------------

ROWS = ("start", "end", "words", "status", "id", "name", "source")
COLUMNS = tuple(f"medbench_terms{'' if one == 'present' else f'_{one}'}" for one in get_args(Status))


def rows(found: Sequence[Entity]) -> list[dict[str, Any]]:
    """Return one row for every concept of every entity, by `ROWS`."""
    return [
        {
            "start": one.start,
            "end": one.end,
            "words": one.text,
            "status": one.status,
            "id": concept.id,
            "name": concept.name,
            "source": concept.source,
        }
        for one in found
        for concept in one.concepts
    ]


def columns(found: Sequence[Entity]) -> dict[str, str]:
    """Return a text's entities as columns: for each status the names, each once, in the order of the text."""
    held: dict[str, dict[str, None]] = {column: {} for column in COLUMNS}
    for column, status in zip(COLUMNS, get_args(Status), strict=True):
        held[column] = {f"{one.name} [{one.concepts[0].id}]": None for one in found if one.status == status}
    return {column: "; ".join(names) for column, names in held.items()}
