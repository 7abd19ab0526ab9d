"""A photograph of a skin lesion in; one of the HAM10000 diagnoses, or benign or malignant, out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medbench.tasks import Task

_SPACE = re.compile(r"\s+")
# Names of the seven classes (Tschandl et al. 2018), and the spellings that the ISIC files use for them.
NAMES = {
    "akiec": "Actinic keratosis / Bowen's disease",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
    "scc": "Squamous cell carcinoma",
    "benign": "Benign",
    "malignant": "Malignant",
}
_SPELLINGS = {
    "melanoma": "mel",
    "nevus": "nv",
    "melanocytic nevus": "nv",
    "melanocytic nevi": "nv",
    "basal cell carcinoma": "bcc",
    "ak": "akiec",  # ISIC 2019 names it without Bowen's disease
    "actinic keratosis": "akiec",
    "actinic keratoses": "akiec",
    "bowen's disease": "akiec",
    "benign keratosis": "bkl",
    "benign keratosis-like lesions": "bkl",
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichenoid keratosis": "bkl",
    "dermatofibroma": "df",
    "vascular lesion": "vasc",
    "vascular lesions": "vasc",
    "squamous cell carcinoma": "scc",
}
MALIGNANT = frozenset({"akiec", "bcc", "mel", "scc", "malignant"})
"""Labels that call for treatment: cancer and its precursors."""


class Lesion(Task):
    """Which diagnosis does a photograph of a skin lesion show?"""

    name = "lesion"
    title = "Skin lesion: photograph → diagnosis"
    item = "image"
    answers = ("one",)
    group = "lesion or patient"
    metrics = ("balanced_accuracy", "auc", "macro_f1", "accuracy", "ece")

    def clean_label(self, label: str) -> str:
        """Return the HAM10000 code of a diagnosis, lower case; a diagnosis without a code stays as it is written."""
        plain = _SPACE.sub(" ", label).strip().lower()
        return _SPELLINGS.get(plain, plain)

    def tree(self, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Return the diagnoses under malignant and benign; labels that are not diagnoses of these files stand alone."""
        kinds = {"malignant", "benign"}
        if kinds & set(labels):
            return []
        return [
            (label, "malignant" if label in MALIGNANT else "benign") for label in labels if label in set(NAMES) - kinds
        ]

    def label_name(self, label: str) -> str:
        """Return the diagnosis that a code stands for."""
        return NAMES.get(label, label)


TASK = Lesion()
