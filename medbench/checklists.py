"""The reporting checklists TRIPOD+AI and CLAIM, filled as far as a run knows the answer; what it cannot know is a gap.

Item numbers follow Collins et al. (2024, BMJ 385:e078378) and Mongan, Moy & Kahn (2020, Radiol Artif Intell 2:e200029).
What an item asks is said here in words of our own: read the originals before you hand a checklist in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbench.checklist_facts import Facts

Fill = Callable[[Facts], str]
SOURCES = {
    "TRIPOD+AI": "Collins GS et al., TRIPOD+AI statement, BMJ 2024;385:e078378",
    "CLAIM": "Mongan J, Moy L, Kahn CE, CLAIM, Radiology: Artificial Intelligence 2020;2(2):e200029",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a checklist.

    Attributes:
        number: Its number in the checklist.
        topic: The part of a paper it belongs to.
        asks: What it asks, in our words.
        answer: What the run says; "" when only the authors can say.
        lacks: What the answer leaves out of what the item asks; "" when nothing.
    """

    number: str
    topic: str
    asks: str
    answer: str
    lacks: str = ""

    @property
    def gap(self) -> bool:
        """Whether the authors still have to write it."""
        return not self.answer

    @property
    def shown(self) -> str:
        """The answer, with what is still missing."""
        if self.gap:
            return "GAP: for the authors"
        return f"{self.answer} GAP: {self.lacks}." if self.lacks else self.answer


def _authors(_: Facts) -> str:
    """Return nothing: only the authors can say."""
    return ""


def _joined(*fills: Fill) -> Fill:
    return lambda facts: " ".join(filter(None, (fill(facts) for fill in fills)))


_NO_GROUPS = ("TRIPOD+AI", "23a")
_LACKS = {
    _NO_GROUPS: "estimates for groups of patients",
    ("TRIPOD+AI", "5a"): "why these data represent the patients",
    ("TRIPOD+AI", "12e"): "why these measures",
    ("TRIPOD+AI", "27b"): "how expert a user must be",
    ("CLAIM", "3"): "background and clinical role",
    ("CLAIM", "37"): "what the errors have in common",
    ("CLAIM", "41"): "where the protocol is",
}

TRIPOD: tuple[tuple[str, str, str, Fill], ...] = (
    ("1", "Title", "Says that a prediction model is developed or evaluated, for whom, and what it predicts", _authors),
    ("2", "Abstract", "Follows the checklist for abstracts", _authors),
    ("3a", "Introduction", "Health context, purpose of the model, earlier models", _authors),
    ("3b", "Introduction", "Who it is for, its place in care, who would use it", lambda f: f.says("intended_use")),
    ("3c", "Introduction", "Known inequalities between groups of patients", _authors),
    ("4", "Objectives", "Aim, and whether a model is developed, evaluated or both", _authors),
    ("5a", "Data", "Where the data for development and evaluation come from, and why they represent", Facts.sources),
    ("5b", "Data", "From when to when data were collected, end of follow-up", _authors),
    ("6a", "Participants", "Setting, number and place of centres", _authors),
    ("6b", "Participants", "Who was eligible", _authors),
    ("6c", "Participants", "Treatments received and how they were handled", _authors),
    ("7", "Data preparation", "What was done to the data and checked, alike for all groups", Facts.findings),
    ("8a", "Outcome", "What is predicted, over which time, how it was determined", Facts.outcome),
    ("8b", "Outcome", "Who determined it, with which training, if it takes judgement", _authors),
    ("8c", "Outcome", "Whether they were blind to the predictors", _authors),
    ("9a", "Predictors", "How candidate predictors were chosen", Facts.predictors),
    ("9b", "Predictors", "How and when predictors were measured", _authors),
    ("9c", "Predictors", "Who measured them, if it takes judgement", _authors),
    ("10", "Sample size", "How the size was arrived at, and why it is enough", _authors),
    ("11", "Missing data", "How missing data were handled", Facts.missing),
    ("12a", "Analysis", "How data were used in development and evaluation, with any partition", Facts.splits),
    ("12b", "Analysis", "How predictors were handled: form, scaling, transformation", Facts.predictors),
    ("12c", "Analysis", "Type of model, how it was built, tuned and checked internally", Facts.options),
    ("12d", "Analysis", "Differences between clusters such as hospitals, how handled", Facts.disjoint),
    ("12e", "Analysis", "Measures and plots of performance, and why these", Facts.measures),
    ("12f", "Analysis", "Any updating of the model after evaluation", Facts.refit),
    ("12g", "Analysis", "How predictions were computed for the evaluation", Facts.judged),
    ("13", "Class imbalance", "Whether and how imbalance was handled, and recalibration after it", Facts.imbalance),
    ("14", "Fairness", "What was done for fairness, and why", _authors),
    ("15", "Model output", "What the model gives out, and how thresholds were found", Facts.thresholds),
    ("16", "Training and evaluation", "Differences between the two sets of data", Facts.one_source),
    ("17", "Ethics", "Approval, consent or the reason for none", _authors),
    ("18a", "Open science", "Who paid, and their part", _authors),
    ("18b", "Open science", "Interests of the authors", _authors),
    ("18c", "Open science", "Where the protocol is", _authors),
    ("18d", "Open science", "Where the study is registered", _authors),
    ("18e", "Open science", "Whether data can be had", Facts.licence),
    ("18f", "Open science", "Whether code can be had", Facts.code),
    ("19", "Patients and public", "How they were involved", _authors),
    ("20a", "Participants", "Flow of participants, with and without the outcome", _joined(Facts.splits, Facts.counts)),
    ("20b", "Participants", "Characteristics, overall and by data source, missing values", _authors),
    ("20c", "Participants", "How evaluation data compare with development data", _authors),
    ("21", "Development", "Participants and events in each analysis", _joined(Facts.splits, Facts.counts)),
    ("22", "Specification", "All that is needed to predict for a new person", Facts.options),
    ("23a", "Performance", "Estimates with intervals, also for groups", Facts.performance),
    ("23b", "Performance", "Heterogeneity between clusters, if examined", _authors),
    ("24", "Updating", "Results of any updating", Facts.refit),
    ("25", "Discussion", "What the main results mean, fairness included", _authors),
    ("26", "Discussion", "Limits and what they do to the results", Facts.limits),
    ("27a", "Use", "How poor or missing input is handled", Facts.poor_input),
    ("27b", "Use", "What a user has to do, and how expert they must be", lambda f: f.says("intended_use")),
    ("27c", "Use", "Next steps of research", _authors),
)

CLAIM: tuple[tuple[str, str, str, Fill], ...] = (
    ("1", "Title", "Names the study as one of AI, and the kind of method", _authors),
    ("2", "Abstract", "Structured summary", _authors),
    ("3", "Introduction", "Background, intended use, clinical role", lambda f: f.says("intended_use")),
    ("4", "Introduction", "Objectives and hypotheses", _authors),
    ("5", "Design", "Prospective or retrospective", _authors),
    ("6", "Design", "Goal of the study", _authors),
    ("7", "Data", "Sources", Facts.sources),
    ("8", "Data", "Who and what was eligible, where and when", _authors),
    ("9", "Data", "Preparation of the pictures", Facts.preparation),
    ("10", "Data", "Subsets that were used", Facts.splits),
    ("11", "Data", "What each element means", Facts.outcome),
    ("12", "Data", "How identities were removed", _authors),
    ("13", "Data", "Missing data", Facts.missing),
    ("14", "Reference", "What counts as truth", _authors),
    ("15", "Reference", "Why this reference", _authors),
    ("16", "Reference", "Who annotated, with which training", _authors),
    ("17", "Reference", "Tools of annotation", _authors),
    ("18", "Reference", "How far readers vary", _authors),
    ("19", "Partitions", "Intended sample size and why", _authors),
    ("20", "Partitions", "How data were parted", Facts.splits),
    ("21", "Partitions", "At which level the parts are disjoint", Facts.disjoint),
    ("22", "Model", "Inputs, outputs, layers", Facts.options),
    ("23", "Model", "Software and versions", Facts.software),
    ("24", "Model", "How parameters began", Facts.started),
    ("25", "Training", "Augmentation, hyper-parameters, number of models", Facts.options),
    ("26", "Training", "How the final model was chosen", Facts.judged),
    ("27", "Training", "Ensembles", Facts.ensembles),
    ("28", "Evaluation", "Measures of performance", Facts.figures),
    ("29", "Evaluation", "Significance and uncertainty", Facts.intervals),
    ("30", "Evaluation", "Robustness or sensitivity", _authors),
    ("31", "Evaluation", "How it explains itself, and how that was checked", Facts.maps),
    ("32", "Evaluation", "Test on data from elsewhere", _authors),
    ("33", "Results", "Flow of participants", _joined(Facts.splits, Facts.counts)),
    ("34", "Results", "Characteristics of each part", _authors),
    ("35", "Results", "Performance on all parts", _joined(Facts.figures, Facts.baselines)),
    ("36", "Results", "Diagnostic accuracy with intervals", Facts.figures),
    ("37", "Results", "Analysis of failures", Facts.failures),
    ("38", "Discussion", "Limits", Facts.limits),
    ("39", "Discussion", "What it means for practice", _authors),
    ("40", "Other", "Registration", _authors),
    ("41", "Other", "Where protocol, data and code are", _joined(Facts.sources, Facts.code)),
    ("42", "Other", "Who paid, and their part", _authors),
)


def filled(
    card: Mapping[str, Any],
    dataset: Mapping[str, Any] | None = None,
    *,
    answers_kept: bool = False,
    heat: str = "",
    groups: str = "",
) -> dict[str, list[Line]]:
    """Return the checklists that concern a model, filled as far as its run knows: CLAIM only for pictures.

    Args:
        card: The model's card.
        dataset: The card of its dataset; more items stay gaps without it.
        answers_kept: As in `Facts`, like the next two.
        heat: What the check of its heat maps found.
        groups: Figures of groups of patients.
    """
    facts = Facts(card, dataset or {}, answers_kept, heat, groups)
    asked = {"TRIPOD+AI": TRIPOD, **({"CLAIM": CLAIM} if card.get("item") == "image" else {})}
    return {
        name: [_line(name, number, topic, asks, fill, facts) for number, topic, asks, fill in items]
        for name, items in asked.items()
    }


def _line(name: str, number: str, topic: str, asks: str, fill: Fill, facts: Facts) -> Line:
    answer = " ".join(fill(facts).split())
    known = (name, number) == _NO_GROUPS and bool(facts.groups)
    return Line(number, topic, asks, answer, _LACKS.get((name, number), "") if answer and not known else "")


def summary(lines: Sequence[Line]) -> str:
    """Return how much is filled, in one sentence that names the gaps."""
    gaps = [line.number for line in lines if line.gap]
    parts = "; ".join(f"{line.number} (lacks {line.lacks})" for line in lines if line.lacks)
    half = f" Only in part: {parts}." if parts else ""
    told = (
        f"{len(lines) - len(gaps)} of {len(lines)} items drafted from the run; read each before you hand it in.{half}"
    )
    return f"{told} Gaps for the authors: {', '.join(gaps)}." if gaps else told
