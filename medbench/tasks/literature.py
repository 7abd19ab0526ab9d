"""Title and abstract in; medical domains, cancer or not, specialty out."""

from __future__ import annotations

import re

from medbench.tasks import Task

_SPACE = re.compile(r"\s+")


class Literature(Task):
    """Which labels does an abstract (or a clinical text) carry?"""

    name = "literature"
    title = "Literature: abstract → domains"
    item = "text"
    answers = ("one", "many")
    group = "article or patient"
    metrics = ("micro_f1", "macro_f1", "micro_precision", "micro_recall", "map", "auc", "exact_match", "ece")

    def clean_label(self, label: str) -> str:
        """Return the label with white space folded; case is kept because it may carry meaning (MeSH codes)."""
        return _SPACE.sub(" ", label).strip()


TASK = Literature()
