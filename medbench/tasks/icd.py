"""Clinical text in; ICD codes out. A label is a code with its version, `icd10cm:E11.9`: see `medbench.codes`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from medbench.codes import TITLES, VERSIONS, Tables, Version, tables
from medbench.codes_naming import restored
from medbench.errors import MedbenchError
from medbench.tasks import Task

_SPACE = re.compile(r"\s+")
# So many different ICD-9 codes none of which begins with 0 do not happen unless a spreadsheet took the zeros.
_ENOUGH_FOR_ZEROS = 20
_SHOWN = 5


class Icd(Task):
    """Which codes does a clinical note carry?"""

    name = "icd"
    title = "ICD coding: note → codes"
    item = "text"
    answers = ("many",)
    group = "patient or admission"
    metrics = ("micro_f1", "macro_f1", "map", "micro_precision", "micro_recall", "auc", "exact_match", "ece")

    def clean_label(self, label: str) -> str:
        """Return the label of the code that is meant ("e119", "E11.9" → "icd10cm:E11.9").

        A bare code counts as ICD-10-CM where it is one, else as ICD-9-CM. What stands in no table stays as it is
        written, without a version: it is kept, counted and never shown as a code.
        """
        plain = _SPACE.sub(" ", label).strip()
        found = tables().find(plain) if plain else None
        return found.label if found else plain

    def cleaner(self, raw: Collection[str], choice: str = "") -> Callable[[str], str]:
        """Return the cleaning of a file whose bare codes are of one version: the chosen one, else the one most fit.

        When an ICD-9 file has no code that begins with 0, spreadsheet software took the zeros, and those that make a
        billable code are put back.

        Raises:
            MedbenchError: When `choice` is no version.
        """
        held = tables()
        bare = Counter(_SPACE.sub(" ", label).strip() for label in raw if ":" not in label)
        version = _chosen(choice) or _most_fit(held, bare)
        zeros = version is not None and _zeros_were_lost(held, version, bare)

        def clean(label: str) -> str:
            plain = _SPACE.sub(" ", label).strip()
            if version is None or not plain or ":" in plain:
                return self.clean_label(plain)
            found = held.find(plain, version)
            if zeros and not (found and found.billable):
                fuller = held.find(restored(version, plain) or "", version)
                found = fuller if fuller and fuller.billable else found
            return found.label if found else self.clean_label(plain)

        return clean

    def remarks(self, labels: Sequence[str]) -> list[str]:
        """Return how many labels are in no table, are headings of a table, and which releases the rest is of."""
        held = tables()
        codes = {label: held.get(label) for label in labels}
        unknown = [label for label, code in codes.items() if code is None]
        headings = [label for label, code in codes.items() if code is not None and not code.billable]
        counted = Counter(code.version for code in codes.values() if code is not None)
        told = [
            f"{count:,} labels are codes of {TITLES[version]}, {held.release(version)}."
            for version, count in counted.most_common()
        ]
        if unknown:
            told.append(
                f"{len(unknown):,} of {len(codes):,} labels are in no code table of these releases ({_few(unknown)}):"
                " they are kept, but never shown as codes."
            )
        if headings:
            told.append(f"{len(headings):,} labels are not billable: finer codes exist ({_few(headings)}).")
        return told

    def tree(self, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Return the code tables' own tree above these codes: category, block, chapter."""
        held = tables()
        pairs: dict[str, str] = {}
        for label in labels:
            path = [label, *(code.label for code in held.ancestors(label))]
            pairs |= dict(pairwise(path))
        return list(pairs.items())

    def label_name(self, label: str) -> str:
        """Return a code's official text; a label that is in no table says so."""
        found = tables().get(label)
        return found.text if found else f"{label} (in no code table)"


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")


def _chosen(choice: str) -> Version | None:
    for version in VERSIONS:
        if choice == version:
            return version
    if choice:
        raise MedbenchError("a version of the codes", repr(choice), f"Choose one of {', '.join(VERSIONS)}.")
    return None


def _most_fit(held: Tables, bare: Collection[str]) -> Version | None:
    """Return the version in which most of these codes are billable, None when none is in any table."""
    fitting = Counter[Version]()
    for label in bare:
        for version in VERSIONS:
            found = held.find(label, version)
            if found:
                # Headings count little: 401 is one in many tables.
                fitting[version] += 10 if found.billable else 1
    return fitting.most_common(1)[0][0] if fitting else None


def _zeros_were_lost(held: Tables, version: Version, bare: Collection[str]) -> bool:
    numbers = [label for label in bare if label.replace(".", "").isdecimal()]
    if len(numbers) < _ENOUGH_FOR_ZEROS or any(label.startswith("0") for label in numbers):
        return False
    return any(restored(version, label) for label in numbers)


TASK = Icd()
