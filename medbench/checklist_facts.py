"""What is known of a model, in the sentences of a reporting checklist; "" wherever nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ENSEMBLES = {"ensemble": "An ensemble.", "cascade": "A cascade: a quick model answers first, a slower one the rest."}
# What handles imbalance, and nothing that only shares its name: "loss" is a loss in one family, a limit in another.
_IMBALANCE = ("imbalance", "class_weight", "balance")
_NOT_SET: tuple[Any, ...] = (None, "", [], {})
_METRICS = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC (mean over labels)",
    "ece": "expected calibration error",
}
_CHANGES = {
    "rotation": "turned by up to {:g} degrees",
    "zoom": "enlarged by up to {:.0%}",
    "stretch": "stretched by up to {:.0%}",
    "flips": "mirrored",
    "colour": "varied in brightness, contrast and saturation by up to {:.0%}",
}
_INTERVALS = "95 % percentile bootstrap intervals over groups (patient, article, near-duplicate cluster)."


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        card: Its `model.json`.
        dataset: The `dataset.json` of what it learnt from; empty when that is gone.
        answers_kept: Whether its judged answers lie beside it, item by item.
        heat: What the check of its heat maps found, in words; "" when none was made, or it failed.
        groups: Figures of groups of patients, in words; "" when none were taken.
    """

    card: Mapping[str, Any]
    dataset: Mapping[str, Any]
    answers_kept: bool = False
    heat: str = ""
    groups: str = ""

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
        plan = self.dataset.get("split", {})
        if plan.get("part_groups"):
            return "Rows were dealt out one by one: rows of one patient or lesion stand in several parts."
        if plan.get("method") == "file":
            return "The file names the parts; whether rows of one patient stand in several of them was not enforced."
        mapping = self.data.get("mapping", {})
        column = mapping.get("group") if isinstance(mapping, Mapping) else None
        kept = f"rows with the same “{column}” and near-duplicates" if column else "near-duplicates"
        return f"Splits keep {kept} together; other rows may share a patient unless a column says so."

    def findings(self) -> str:
        """Say what the dataset's check found."""
        told = " ".join(str(one) for one in self.data.get("findings", ()))
        return f"The check of the data before training found: {told}" if told else ""

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
        learnt, names = self.card.get("learnt_from", {}).get("counts", ()), self.card.get("label_names", {})
        pairs = list(zip(self.card.get("labels", ()), learnt, strict=False))
        shown = "; ".join(f"{names.get(label, label)} {count:,}" for label, count in pairs[:40])
        more = f"; and {len(pairs) - 40:,} labels more" if len(pairs) > 40 else ""
        return f"Items learnt from, by label: {shown}{more}." if shown else ""

    def options(self) -> str:
        """Say what was set."""
        options = {name: value for name, value in self.card.get("options", {}).items() if value not in _NOT_SET}
        told = ", ".join(f"{name}={value}" for name, value in options.items())
        return f"Family {self.card.get('family')}, seed {self.card.get('seed', 0)}; {told}." if told else ""

    def software(self) -> str:
        """Say which versions ran."""
        told = ", ".join(f"{name} {value}" for name, value in self.card.get("versions", {}).items())
        return f"{told}." if told else ""

    def figures(self) -> str:
        """Say how well it did."""
        held = self.card.get("metrics", {})
        told = [f"{words} {_interval(held[name])}" for name, words in _METRICS.items() if name in held]
        return f"On {self.card.get('judged_on', 'unknown rows')}: {'; '.join(told)}." if told else ""

    def calibration(self) -> str:
        """Say how probabilities were calibrated."""
        facts = self.card.get("calibration", {})
        if "ece_after" not in facts:
            return ""
        method, before, after = facts.get("method"), facts.get("ece_before", 0), facts["ece_after"]
        return (
            f"Calibrated ({method}) on rows that the model was not fitted on; "
            f"calibration error {before:.3f} before, {after:.3f} after."
        )

    def baselines(self) -> str:
        """Say what it was compared with."""
        rows = self.card.get("baselines", {})
        told = [f"{name} {_interval(table['micro_f1'])}" for name, table in rows.items() if "micro_f1" in table]
        return f"Micro-F1 of simpler rules on the same rows: {'; '.join(told)}." if told else ""

    def limits(self) -> str:
        """Say where it must not be trusted."""
        return " ".join(str(one) for one in [*self.card.get("limits", ()), *self.card.get("notes", ())])

    @property
    def sealed(self) -> bool:
        """Whether it was judged on a test split."""
        return str(self.card.get("judged_on", "")).startswith("the test split")

    def judged(self) -> str:
        """Say whether the judged rows were sealed."""
        if self.sealed:
            return "Calibration, thresholds and early stopping saw no test rows; this run scored the test split once."
        if on := self.card.get("judged_on"):
            return f"Judged on {on}. Calibration and thresholds saw these rows, so the figures are a little too kind."
        return ""

    def thresholds(self) -> str:
        """Say what comes out, and how decisions are made."""
        if not self.card.get("judged_on"):
            return ""
        rows = "without the test split" if self.sealed else "on the rows that it was judged on"
        return f"Calibrated probabilities of every label; decisions by thresholds tuned {rows}."

    def intervals(self) -> str:
        """Say how intervals were taken."""
        return _INTERVALS if self.card.get("metrics") else ""

    def measures(self) -> str:
        """Say which measures were taken, and how their intervals were."""
        told = [words for name, words in _METRICS.items() if name in self.card.get("metrics", {})]
        return f"Measures: {', '.join(told)}. {_INTERVALS}" if told else ""

    def one_source(self) -> str:
        """Say how the rows that were learnt from differ from those it was judged on."""
        same = "Both are parts of one dataset; no data from elsewhere." if self.card.get("judged_on") else ""
        return f"{same} {self.disjoint()}".strip()

    def preparation(self) -> str:
        """Say what is done to a picture before the network sees it."""
        options = self.card.get("options", {})
        if "size" not in options:
            return ""
        side, read = options["size"], options.get("read_size")
        if not options.get("epochs", 1):
            return (
                f"Pictures are brought to {read or side} by {read or side} pixels. This run trained nothing; "
                "how pictures were varied in training stands on the cards of the models that it began from."
            )
        answering = f", to {read} by {read} for answering" if read else ""
        sides = f"Pictures are brought to {side} by {side} pixels for training{answering}."
        chance = [words.format(options[name]) for name, words in _CHANGES.items() if options.get(name)]
        return f"{sides} In training each is {', '.join(chance)}, at random." if chance else sides

    def licence(self) -> str:
        """Say under which terms the data can be had."""
        licence = self.data.get("licence")
        return f"Licence of the data: {licence}." if licence else ""

    def code(self) -> str:
        """Say what runs the training again."""
        command = self.says("command")
        return f"Code: medbench; the command was: {command}" if command else ""

    def failures(self) -> str:
        """Say what helps to study failures."""
        labels = "Figures of each label stand on the model's card." if self.card.get("per_label") else ""
        kept = "The judged answers, item by item, are kept with the model (judged.npz)." if self.answers_kept else ""
        return f"{labels} {kept}".strip()

    def missing(self) -> str:
        """Say what was left out for want of data."""
        if self.card.get("item") == "image":
            return "Pictures that cannot be opened or carry no diagnosis were left out."
        return "Rows without text, or whose labels are not known, were not learnt from."

    def poor_input(self) -> str:
        """Say how poor input is handled."""
        if self.card.get("item") == "image":
            told = "Pictures that cannot be opened are refused; those that look unlike the training data are flagged"
        else:
            told = "Empty and cut texts are flagged, and texts that look unlike the training data"
        return f"{told}, as far as the detector notices."

    def says(self, key: str) -> str:
        """Return a sentence of the card, "" when it has none."""
        return str(self.card.get(key) or "")

    def performance(self) -> str:
        """Say how well it did, beside what, and for which groups."""
        return " ".join(filter(None, (self.figures(), self.baselines(), self.groups)))

    def refit(self) -> str:
        """Say whether it learnt more after its figures were taken."""
        refitted = "test" in self.card.get("learnt_from", {}).get("splits", ())
        return (
            "The kept weights were fitted once more on all rows after the figures were taken." if refitted else "None."
        )

    def imbalance(self) -> str:
        """Say what was done for rare labels."""
        options = self.card.get("options", {})
        known = {name: str(options[name]) for name in _IMBALANCE if name in options}
        told = ", ".join(f"{name}={value}" for name, value in known.items() if value not in ("none", "None"))
        said = f"Help for rare labels: {told}." if told else "Rare labels were neither weighted nor drawn more often."
        return f"{said} {self.calibration()}".strip() if known else ""

    def started(self) -> str:
        """Say what training began with; a model named in `start_from` comes before the base."""
        options = self.card.get("options", {})
        base, before = options.get("base"), options.get("start_from")
        if before:
            several = [str(before), *options.get("average_with", ())]
            which = f"the models {', '.join(several)}, averaged" if len(several) > 1 else f"the model {before}"
            return f"From the weights of {which} (network {base})."
        if base and options.get("weights") == "random":
            return f"From random weights (network {base})."
        return f"From the weights of {base}." if base else ""

    def ensembles(self) -> str:
        """Say whether several models answer together."""
        several = self.card.get("options", {}).get("average_with")
        alone = "None; one network whose weights are the mean of several models'." if several else "None."
        return _ENSEMBLES.get(str(self.card.get("family")), alone)

    def maps(self) -> str:
        """Say how it explains itself, and what the check of that found."""
        return self.heat if self.card.get("item") == "image" else ""


def _interval(figure: Mapping[str, Any]) -> str:
    value = f"{figure['value']:.3f}"
    return value if figure.get("low") is None else f"{value} ({figure['low']:.3f} to {figure['high']:.3f})"
