"""The reporting checklists TRIPOD+AI and CLAIM, filled as far as a run knows the answer; what it cannot know is a gap.

Item numbers follow Collins et al. (2024, BMJ 385:e078378) and Mongan, Moy & Kahn (2020, Radiol Artif Intell 2:e200029).
What an item asks is said here in words of our own: read the originals before you hand a checklist in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fill = Callable[["Facts"], str]
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
    """

    number: str
    topic: str
    asks: str
    answer: str

    @property
    def gap(self) -> bool:
        """Whether the authors still have to write it."""
        return not self.answer


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        card: Its `model.json`.
        dataset: The `dataset.json` of what it learnt from; empty when that is gone.
    """

    card: Mapping[str, Any]
    dataset: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        """What the card says of the dataset."""
        found: Mapping[str, Any] = self.card.get("dataset", {})
        return found

    def sources(self) -> str:
        """Say where the rows came from."""
        files = [str(one.get("name", one)) if isinstance(one, Mapping) else str(one) for one in self._files()]
        held = f"Files: {', '.join(files[:8])}. " if files else ""
        licence = self.data.get("licence") or self.card.get("licence")
        rows = self.data.get("n_rows", 0)
        return f"{held}Dataset “{self.data.get('name', '?')}”, {rows:,} rows" + (f"; {licence}." if licence else ".")

    def _files(self) -> Sequence[Any]:
        found = self.dataset.get("sources", ())
        return found if isinstance(found, list) else ()

    def splits(self) -> str:
        """Say how rows were parted."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.data.get("splits", {}).items())
        method = self.dataset.get("split", {}).get("method")
        how = {"stratified": "drawn at random, stratified by label", "file": "as the file names them"}
        part = f" ({how.get(str(method), method)}, seed {self.dataset.get('seed', 0)})" if method else ""
        return f"{counts}{part}." if counts else ""

    def disjoint(self) -> str:
        """Say at which level the parts are disjoint."""
        mapping = self.data.get("mapping", {})
        column = mapping.get("group") if isinstance(mapping, Mapping) else None
        kept = f"rows with the same “{column}” and near-duplicates" if column else "near-duplicates"
        return f"Splits keep {kept} together; other rows may share a patient unless a column says so."

    def findings(self) -> str:
        """Say what the dataset's check found."""
        return " ".join(str(one) for one in self.data.get("findings", ()))

    def outcome(self) -> str:
        """Say what is predicted."""
        labels = [str(self.card.get("label_names", {}).get(label, label)) for label in self.card.get("labels", ())]
        kind = "one label per item" if self.card.get("answer") == "one" else "any number of labels per item"
        more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
        return f"{len(labels):,} labels ({kind}): {', '.join(labels[:12])}{more}." if labels else ""

    def predictors(self) -> str:
        """Say what the model reads."""
        mapping = self.data.get("mapping", {})
        if self.card.get("item") == "image":
            extra = " and age, sex and site" if self.card.get("options", {}).get("metadata") else ""
            return f"The photograph{extra}."
        columns = [
            str(mapping[role]) for role in ("title", "text") if isinstance(mapping, Mapping) and mapping.get(role)
        ]
        return f"The words of: {', '.join(columns) or 'the text'}."

    def counts(self) -> str:
        """Say how many items carry each label."""
        learnt = self.card.get("learnt_from", {}).get("counts", ())
        pairs = list(zip(self.card.get("labels", ()), learnt, strict=False))
        shown = ", ".join(f"{label} {count:,}" for label, count in pairs[:20])
        return f"Items learnt from, by label: {shown}{' …' if len(pairs) > 20 else ''}." if shown else ""

    def options(self) -> str:
        """Say what was set."""
        told = ", ".join(f"{name}={value}" for name, value in self.card.get("options", {}).items())
        return f"Family {self.card.get('family')}, seed {self.card.get('seed', 0)}; {told}." if told else ""

    def software(self) -> str:
        """Say which versions ran."""
        told = ", ".join(f"{name} {value}" for name, value in self.card.get("versions", {}).items())
        return f"{told}." if told else ""

    def figures(self) -> str:
        """Say how well it did."""
        shown = ("micro_f1", "macro_f1", "balanced_accuracy", "auc", "ece")
        held = self.card.get("metrics", {})
        told = [f"{name.replace('_', ' ')} {_interval(held[name])}" for name in shown if name in held]
        return f"On {self.card.get('judged_on', 'unknown rows')}: {'; '.join(told)}." if told else ""

    def calibration(self) -> str:
        """Say how probabilities were calibrated."""
        facts = self.card.get("calibration", {})
        if "ece_after" not in facts:
            return ""
        method, before, after = facts.get("method"), facts.get("ece_before", 0), facts["ece_after"]
        return (
            f"Calibrated ({method}) without the test split; calibration error {before:.3f} before, {after:.3f} after."
        )

    def baselines(self) -> str:
        """Say what it was compared with."""
        rows = self.card.get("baselines", {})
        told = [f"{name} {_interval(table['micro_f1'])}" for name, table in rows.items() if "micro_f1" in table]
        return f"Micro-F1 of simpler rules on the same rows: {'; '.join(told)}." if told else ""

    def limits(self) -> str:
        """Say where it must not be trusted."""
        return " ".join(str(one) for one in [*self.card.get("limits", ()), *self.card.get("notes", ())])

    def judged(self) -> str:
        """Say whether the test rows were sealed."""
        return f"Judged on {self.card['judged_on']}." if self.card.get("judged_on") else ""

    def says(self, key: str) -> str:
        """Return a sentence of the card, "" when it has none."""
        return str(self.card.get(key) or "")


def _interval(figure: Mapping[str, Any]) -> str:
    value = f"{figure['value']:.3f}"
    return value if figure.get("low") is None else f"{value} ({figure['low']:.3f} to {figure['high']:.3f})"


def _authors(_: Facts) -> str:
    """Return nothing: only the authors can say."""
    return ""


def _joined(*fills: Fill) -> Fill:
    return lambda facts: " ".join(filter(None, (fill(facts) for fill in fills)))


_INTERVALS = "95 % percentile bootstrap intervals over groups (patient, article, near-duplicate cluster)."
_THRESHOLDS = "Calibrated probabilities of every label; decisions by thresholds tuned without the test split."
_SEALED = "Calibration, thresholds and early stopping saw no test rows; the test split was scored once."
_FAIL = "Figures of each label, and the judged answers item by item, are kept with the model (judged.npz)."

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
    (
        "11",
        "Missing data",
        "How missing data were handled",
        lambda _: "Rows without text or without labels were not learnt from.",
    ),
    ("12a", "Analysis", "How data were used in development and evaluation, with any partition", Facts.splits),
    ("12b", "Analysis", "How predictors were handled: form, scaling, transformation", Facts.predictors),
    ("12c", "Analysis", "Type of model, how it was built, tuned and checked internally", Facts.options),
    ("12d", "Analysis", "Differences between clusters such as hospitals, how handled", Facts.disjoint),
    ("12e", "Analysis", "Measures and plots of performance, and why these", lambda _: _INTERVALS),
    ("12f", "Analysis", "Any updating of the model after evaluation", lambda f: _refit(f)),
    ("12g", "Analysis", "How predictions were computed for the evaluation", lambda _: _SEALED),
    (
        "13",
        "Class imbalance",
        "Whether and how imbalance was handled, and recalibration after it",
        lambda f: _imbalance(f),
    ),
    ("14", "Fairness", "What was done for fairness, and why", _authors),
    ("15", "Model output", "What the model gives out, and how thresholds were found", lambda _: _THRESHOLDS),
    ("16", "Training and evaluation", "Differences between the two sets of data", Facts.disjoint),
    ("17", "Ethics", "Approval, consent or the reason for none", _authors),
    ("18a", "Open science", "Who paid, and their part", _authors),
    ("18b", "Open science", "Interests of the authors", _authors),
    ("18c", "Open science", "Where the protocol is", _authors),
    ("18d", "Open science", "Where the study is registered", _authors),
    ("18e", "Open science", "Whether data can be had", lambda f: str(f.data.get("licence") or "")),
    ("18f", "Open science", "Whether code can be had", lambda f: f"medbench; {f.says('command')}"),
    ("19", "Patients and public", "How they were involved", _authors),
    ("20a", "Participants", "Flow of participants, with and without the outcome", _joined(Facts.splits, Facts.counts)),
    ("20b", "Participants", "Characteristics, overall and by data source, missing values", _authors),
    ("20c", "Participants", "How evaluation data compare with development data", _authors),
    ("21", "Development", "Participants and events in each analysis", _joined(Facts.splits, Facts.counts)),
    ("22", "Specification", "All that is needed to predict for a new person", Facts.options),
    ("23a", "Performance", "Estimates with intervals, also for groups", _joined(Facts.figures, Facts.baselines)),
    ("23b", "Performance", "Heterogeneity between clusters, if examined", _authors),
    ("24", "Updating", "Results of any updating", lambda f: _refit(f)),
    ("25", "Discussion", "What the main results mean, fairness included", _authors),
    ("26", "Discussion", "Limits and what they do to the results", Facts.limits),
    (
        "27a",
        "Use",
        "How poor or missing input is handled",
        lambda _: "Empty and cut texts, and items unlike the training data, are flagged.",
    ),
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
    ("9", "Data", "Preparation of the pictures", Facts.options),
    ("10", "Data", "Subsets that were used", Facts.splits),
    ("11", "Data", "What each element means", Facts.outcome),
    ("12", "Data", "How identities were removed", _authors),
    ("13", "Data", "Missing data", lambda _: "Pictures that cannot be opened or carry no diagnosis were left out."),
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
    ("24", "Model", "How parameters began", lambda f: _started(f)),
    ("25", "Training", "Augmentation, hyper-parameters, number of models", Facts.options),
    ("26", "Training", "How the final model was chosen", lambda _: _SEALED),
    ("27", "Training", "Ensembles", lambda f: "An ensemble." if f.card.get("family") == "ensemble" else "None."),
    ("28", "Evaluation", "Measures of performance", Facts.figures),
    ("29", "Evaluation", "Significance and uncertainty", lambda _: _INTERVALS),
    ("30", "Evaluation", "Robustness or sensitivity", _authors),
    ("31", "Evaluation", "How it explains itself, and how that was checked", lambda f: _maps(f)),
    ("32", "Evaluation", "Test on data from elsewhere", _authors),
    ("33", "Results", "Flow of participants", _joined(Facts.splits, Facts.counts)),
    ("34", "Results", "Characteristics of each part", _authors),
    ("35", "Results", "Performance on all parts", _joined(Facts.figures, Facts.baselines)),
    ("36", "Results", "Diagnostic accuracy with intervals", Facts.figures),
    ("37", "Results", "Analysis of failures", lambda _: _FAIL),
    ("38", "Discussion", "Limits", Facts.limits),
    ("39", "Discussion", "What it means for practice", _authors),
    ("40", "Other", "Registration", _authors),
    ("41", "Other", "Where protocol, data and code are", lambda f: f.says("command")),
    ("42", "Other", "Who paid, and their part", _authors),
)


def _refit(facts: Facts) -> str:
    refitted = "test" in facts.card.get("learnt_from", {}).get("splits", ())
    return "The kept weights were fitted once more on all rows after the figures were taken." if refitted else "None."


def _imbalance(facts: Facts) -> str:
    names = ("class_weight", "imbalance", "sampling", "loss")
    told = ", ".join(f"{name}={facts.card['options'][name]}" for name in names if name in facts.card.get("options", {}))
    return f"{told}. {facts.calibration()}" if told else ""


def _started(facts: Facts) -> str:
    base = facts.card.get("options", {}).get("base") or facts.card.get("options", {}).get("network")
    return f"From the weights of {base}." if base else ""


def _maps(facts: Facts) -> str:
    if facts.card.get("item") != "image":
        return ""
    return "Heat maps; compared with those of random weights (heat_check.json), and judged by deletion."


def filled(card: Mapping[str, Any], dataset: Mapping[str, Any] | None = None) -> dict[str, list[Line]]:
    """Return the checklists that concern a model, filled as far as its run knows: CLAIM only for pictures.

    Args:
        card: The model's card.
        dataset: The card of its dataset; more items stay gaps without it.
    """
    facts = Facts(card, dataset or {})
    asked = {"TRIPOD+AI": TRIPOD, **({"CLAIM": CLAIM} if card.get("item") == "image" else {})}
    return {
        name: [Line(number, topic, asks, " ".join(fill(facts).split())) for number, topic, asks, fill in items]
        for name, items in asked.items()
    }


def summary(lines: Sequence[Line]) -> str:
    """Return how much is filled, in one sentence that names the gaps."""
    gaps = [line.number for line in lines if line.gap]
    told = f"{len(lines) - len(gaps)} of {len(lines)} items drafted from the run; read each before you hand it in."
    return f"{told} Gaps for the authors: {', '.join(gaps)}." if gaps else told
