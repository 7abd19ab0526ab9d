"""What the card of a run's model says: how it was made, how well it does, what was promised, what it is not for."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from medbench import code_metrics, group_answers, runs, trust_figures
from medbench.datasets import Dataset
from medbench.families import FamilyOptions
from medbench.judging import Judged
from medbench.records import Examples, Metric, RunSpec

VERSION = 1
INTENDED_USE = {
    "text": "Research use: a second look at texts that a person also reads. Not a medical device.",
    "image": "Research use: a second look at photographs that a dermatology reader also judges. Not a medical device.",
}


def card(
    run_id: str,
    spec: RunSpec,
    options: FamilyOptions,
    dataset: Dataset,
    judged: Judged,
    baselines: dict[str, dict[str, Any]],
    cost: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    """Return a run's card, JSON-ready: what was asked for, the options, the figures, what it took and where."""
    facts = dataset.card
    return {
        "version": VERSION,
        "id": run_id,
        "name": spec.name or f"{spec.family} on {facts['name']}",
        "task": spec.task,
        "family": spec.family,
        "item": facts.get("item", "text"),
        "answer": dataset.answer,
        "labels": list(dataset.labels),
        "label_names": facts.get("label_names", {}),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "run": run_id,
        "dataset": _dataset_facts(dataset),
        "options": options.model_dump(mode="json"),
        "seed": spec.seed,
        "device": device,
        "learnt_from": _learnt_from(judged),
        "metrics": {name: numbers(metric) for name, metric in judged.metrics.items()},
        "judged_on": judged.judged_on,
        "per_label": judged.per_label,
        "baselines": baselines,
        **trust_facts(judged),
        **_tree_facts(judged),
        "cost": {**cost, "peak_memory": _peak_memory(), "size": 0},
        "versions": _versions(),
        "command": runs.command_line(spec),
        "intended_use": INTENDED_USE[dataset.item],
        "limits": _limits(facts, judged),
        "licence": facts.get("licence", ""),
        "notes": [*_verdicts(judged.metrics, baselines), *judged.model.notes(), *judged.notes],
    }


def _learnt_from(judged: Judged) -> dict[str, Any]:
    counts = judged.known.truth.sum(axis=0).tolist()
    return {"rows": len(judged.known), "splits": list(judged.known_splits), "counts": counts}


def _dataset_facts(dataset: Dataset) -> dict[str, Any]:
    facts = {key: dataset.card.get(key, "") for key in ("id", "name", "n_rows", "splits", "licence")}
    findings = [entry["sentence"] for entry in dataset.card.get("findings", []) if entry["severity"] != "info"]
    return {**facts, "mapping": asdict(dataset.mapping), "findings": findings}


BOUNDS = {
    "text": "Labels, language and time of its training data bound what it knows. Other text is not refused, and only "
    "flagged where it looks different.",
    "image": "The cameras, body sites, skin types and diagnoses of its training pictures bound what it knows. Other "
    "pictures are not refused, and only flagged where they look different.",
}


def _limits(facts: dict[str, Any], judged: Judged) -> list[str]:
    limits = [BOUNDS[facts.get("item", "text")]]
    rare = [row["label"] for row in judged.per_label if row["n"] < 10]
    if rare:
        limits.append(f"Fewer than 10 judged items carry {', '.join(rare[:12])}: figures for these say little.")
    limits += [entry["sentence"] for entry in facts.get("findings", []) if entry["severity"] == "stop"]
    return limits


def _verdicts(metrics: dict[str, Metric], baselines: dict[str, dict[str, Any]]) -> list[str]:
    """Return a plain sentence for every baseline that the model does not beat in macro-F1."""
    own = metrics["macro_f1"].value
    return [
        f"It is NOT better than the {name} baseline in macro-F1: {own:.3f} against {table['macro_f1']['value']:.3f}."
        for name, table in baselines.items()
        if own < table["macro_f1"]["value"]
    ]


def numbers(metric: Metric) -> dict[str, Any]:
    """Return a metric as it stands on a card."""
    facts = asdict(metric)
    facts.pop("name")
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in facts.items()}


def trust_facts(judged: Judged) -> dict[str, Any]:
    """Return how scores were calibrated, and what was promised beside the test items' answers and what it came to."""
    fitted, outcome, labels = judged.trust, judged.outcome, judged.model.labels
    measured = trust_figures.measured(fitted, outcome.probabilities, outcome.truth, labels, outcome.groups)
    if judged.foreign:
        measured["strangers"] = judged.foreign
    return {
        "calibration": {
            "method": fitted.method,
            "losses": fitted.losses,
            "ece_before": round(fitted.ece_before, 5),
            "ece_after": round(fitted.ece_after, 5),
        },
        "coverage": fitted.coverage,
        "promises": measured if outcome.split == "test" else {},
    }


def _tree_facts(judged: Judged) -> dict[str, Any]:
    """Return the facts of the label tree, its groups' figures and how far off they are (ECE); nothing without one."""
    groups, outcome = judged.groups, judged.outcome
    if groups is None:
        return {}
    rows = group_answers.figures(groups, outcome.probabilities, outcome.truth, outcome.decided)
    error = group_answers.calibration_error(groups, outcome.probabilities, outcome.truth)
    return {"hierarchy": {**groups.tree.facts(), "ece": round(error, 5), "per_group": rows}}


def code_figures(judged: Judged, parts: dict[str, Examples], rng: np.random.Generator) -> dict[str, Any]:
    """Return what the coding field reports of the judged items: see `code_metrics.card_figures`.

    Where annotators marked evidence, "evidence" says how far the model's agrees (`evidence_figures`).
    """
    outcome = judged.outcome
    fitted = [parts[split] for split in judged.known_splits if split != "test"]
    learnt = np.sum([part.truth.sum(axis=0) for part in fitted], axis=0)
    where = {"test": ["test"], "validation": ["validation"]}.get(outcome.split, ["train", "validation"])
    groups = tuple(group for split in where for group in parts[split].groups)
    figures = code_metrics.card_figures(
        judged.model.labels,
        outcome.truth,
        outcome.probabilities,
        outcome.decided,
        learnt=learnt.tolist(),
        rng=rng,
        groups=groups or None,
    )
    return {**figures, "evidence": judged.evidence} if judged.evidence else figures


def _peak_memory() -> int:
    scale = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _versions() -> dict[str, str]:
    import importlib.metadata as metadata
    import platform

    packages = ("medbench", "numpy", "scikit-learn", "torch", "transformers", "peft", "timm")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
