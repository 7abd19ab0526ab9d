"""Searching a family's options: many short fits on the train split, each scored on the validation split.

The test split has no part in it. Trials are written down one by one, so that a stopped search goes on where it was:

    trials.jsonl    one object a trial: number, options, value, seconds, state
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np

from medbench import journal, metrics, trust
from medbench.comparing_verdict import title_of
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Family, FamilyOptions, Fitting, Model, check_searching
from medbench.records import Examples, RunSpec, TuneSpec

FILE = "trials.jsonl"
STARTS = 8
"""Trials drawn at random before the search leans on what it has seen, and before it breaks off poor ones."""


@dataclass(frozen=True)
class Trial:
    """One tried set of options.

    Attributes:
        number: From 0 on.
        options: What was tried, of the searched options only.
        value: The headline metric on the validation split; of a trial that was broken off, the last one seen.
        seconds: How long it took.
        state: "complete", "pruned" (broken off, poorer than the others at that point) or "failed".
    """

    number: int
    options: dict[str, Any]
    value: float | None
    seconds: float
    state: str


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        options: The best options, those that were held fixed included.
        trials: All trials.
        importance: Option -> its share in how the value varies, 0-1; empty for too few trials.
        headline: The metric that was searched for.
    """

    options: FamilyOptions
    trials: list[Trial]
    importance: dict[str, float]
    headline: str

    @property
    def best(self) -> Trial:
        """The trial with the highest value."""
        whole = [trial for trial in self.trials if trial.state == "complete"]
        return max(whole, key=lambda trial: trial.value or 0.0)

    def write_on(self, card: dict[str, Any]) -> None:
        """Add the trials, what mattered, and a sentence to a model's card."""
        card["tuning"] = {
            "headline": self.headline,
            "best": self.best.number,
            "importance": self.importance,
            "trials": [asdict(trial) for trial in self.trials],
        }
        card["notes"].append(self.sentence())

    def sentence(self) -> str:
        """Say what was found."""
        states = [trial.state for trial in self.trials]
        told = ", ".join(f"{name} {value}" for name, value in self.best.options.items())
        return (
            f"Its options are the best of {len(states)} trials ({states.count('pruned')} broken off) by "
            f"{title_of(self.headline)} on the validation split, {self.best.value:.4f}: {told}."
        )


Space = dict[str, dict[str, Any]]


def space_of(family: Family[Any], held: Mapping[str, Any]) -> Space:
    """Return what is searched: option -> {"low", "high", "log", "whole"} or {"choices"}.

    Options in `held` are the user's and stay as they are.

    Raises:
        MedbenchError: There is nothing to search.
    """
    check_searching(family, held)
    space: Space = {}
    for name, wanted in family.space.items():
        kind = family.Options.model_fields[name].annotation
        if name in held:
            continue
        if wanted is True:
            space[name] = {"choices": list(get_args(kind)) if get_origin(kind) is Literal else [False, True]}
        else:
            low, high, *more = wanted
            space[name] = {"low": low, "high": high, "log": "log" in more, "whole": kind is int}
    return space


@dataclass
class _TrialSay(Say):
    """Hears how a trial's training goes; breaks it off when it is poorer than others, late, or the user stops all."""

    outer: Say = field(default_factory=Say)
    trial: Any = None
    headline: str = ""
    until: float = float("inf")
    pruned: bool = False
    last: float | None = None

    def __call__(self, kind: str, **fields: Any) -> None:
        """Report a look at the validation split; everything else stays inside."""
        if kind == "metric" and self.headline in fields:
            self.last = float(fields[self.headline])
            self.trial.report(self.last, int(fields.get("step", 0)))
            if self.trial.should_prune():
                self.pruned = True
                self.stop.set()

    @property
    def stopping(self) -> bool:
        """True when this trial, or the whole run, should end."""
        return self.stop.is_set() or self.outer.stopping or time.monotonic() > self.until


def for_run(
    spec: RunSpec, family: Family[Any], parts: Mapping[str, Examples], fitting: Fitting, folder: Path
) -> Found | None:
    """Search the options that a run's spec leaves open; None when it asks for no search. Raises as `search`."""
    if spec.tune is None:
        return None
    fitting.say("stage", name="search", sentence=f"Searching options for at most {spec.tune.minutes:g} minutes.")
    found = search(family, spec.options, parts["train"], parts["validation"], spec.tune, fitting, folder)
    fitting.say("stage", name="found", sentence=found.sentence())
    return found


def search(
    family: Family[Any],
    fixed: Mapping[str, Any],
    train: Examples,
    validation: Examples,
    wanted: TuneSpec,
    fitting: Fitting,
    folder: Path,
) -> Found:
    """Try options until the time or the trials are used up, or the user stops; what was found so far is kept.

    Tree-structured Parzen estimator (Bergstra et al. 2011); poor trials are broken off at the median of the others.

    Args:
        family: The method.
        fixed: Options that the user gave; they are not searched.
        train: What every trial learns from.
        validation: What every trial is scored on.
        wanted: How long to search.
        fitting: Randomness, device, progress; every trial begins with the same seed.
        folder: Where trials are written down, and read again when the search goes on.

    Raises:
        MedbenchError: There is nothing to search, no validation split, or no trial succeeded.
        Stopped: The user cancelled before a trial was finished.
    """
    import optuna

    if not len(validation):
        raise MedbenchError("a validation split to search on", "none", "Save the dataset with a validation share.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, seed = space_of(family, fixed), int(fitting.rng.integers(2**31 - 1))
    past = read_trials(folder)
    study = _study(space, past, seed)
    begun = time.monotonic() - sum(trial.seconds for trial in past)
    until = begun + 60 * wanted.minutes
    best = max((trial.value for trial in past if trial.state == "complete" and trial.value is not None), default=None)
    for number in range(len(past), wanted.trials):
        if fitting.say.stopping or (number and time.monotonic() >= until):
            break
        fitting.say("progress", **_how_far(past, best, wanted, fitting.around.headline, time.monotonic() - begun))
        trial = _try(study, space, number, family, fixed, train, validation, fitting, seed, until if number else None)
        if trial is None:
            break
        past.append(trial)
        _write(folder, trial)
        if trial.state == "complete" and trial.value is not None:
            best = max(trial.value, best if best is not None else trial.value)
    return _found(study, past, family, fixed, fitting)


def _how_far(past: list[Trial], best: float | None, wanted: TuneSpec, headline: str, spent: float) -> dict[str, Any]:
    """Return what is told before a trial; a search ends by the clock or by the number of trials."""
    whole = 60 * wanted.minutes
    left = min(whole, (spent / len(past)) * wanted.trials if past else whole) - spent
    told = f"Searching options, trial {len(past) + 1}"
    told += f"; best {title_of(headline)} so far {best:.3f} on validation." if best is not None else "."
    share = max(len(past) / wanted.trials, min(spent / whole, 1.0))
    return {"step": len(past), "steps": wanted.trials, "share": share, "sentence": told, "eta": max(left, 0.0)}


def _study(space: Space, past: list[Trial], seed: int) -> Any:
    """Return an Optuna study that knows the trials of before."""
    import optuna

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed + len(past), n_startup_trials=STARTS, multivariate=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTS, n_warmup_steps=0),
    )
    ranges = {name: _range(each) for name, each in space.items()}
    for trial in past:
        if trial.state == "complete" and set(trial.options) == set(ranges):
            study.add_trial(optuna.trial.create_trial(params=trial.options, distributions=ranges, value=trial.value))
    return study


def _range(each: Mapping[str, Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in each:
        return CategoricalDistribution(each["choices"])
    kind = IntDistribution if each["whole"] else FloatDistribution
    return kind(each["low"], each["high"], log=each["log"])


def _try(
    study: Any,
    space: Space,
    number: int,
    family: Family[Any],
    fixed: Mapping[str, Any],
    train: Examples,
    validation: Examples,
    fitting: Fitting,
    seed: int,
    until: float | None,
) -> Trial | None:
    """Fit and score one set of options; None when the user, or the clock, ended it before it could be judged."""
    import optuna

    asked = study.ask({name: _range(each) for name, each in space.items()})
    tried = {name: _plain(value) for name, value in asked.params.items()}
    say = _TrialSay(outer=fitting.say, trial=asked, headline=fitting.around.headline, until=until or float("inf"))
    inside = replace(fitting, rng=np.random.default_rng(seed), say=say, checkpoints=None, resume=False)
    began = time.monotonic()
    value: float | None = None
    try:
        model = family.fit(train, validation, family.parse({**fixed, **tried}), inside)
        value = _value(model, validation, fitting.around.headline, seed)
    except (MedbenchError, Stopped):
        if say.stopping and not say.pruned:
            return None
    seconds = round(time.monotonic() - began, 2)
    if say.pruned:  # a family may end such a fit by an error or with what it has
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        return Trial(number, tried, say.last, seconds, "pruned")
    if value is None:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return Trial(number, tried, None, seconds, "failed")
    if say.stopping and say.last is not None:
        return None  # cut short: its value would be unfair to it
    study.tell(asked, value)
    return Trial(number, tried, round(value, 6), seconds, "complete")


def _plain(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _value(model: Model, validation: Examples, headline: str, seed: int) -> float:
    """Return the headline metric of a model on the validation split, calibrated and cut there."""
    rng = np.random.default_rng(seed)
    scores = model.held_out(validation.items)
    balanced = headline == "balanced_accuracy"
    confidence = trust.fit_trust(scores, validation.truth, validation.answer, None, None, rng, balanced=balanced)
    prob = confidence.calibrate(scores)
    found = metrics.evaluate(
        validation.truth, prob, confidence.decide(prob), answer=validation.answer, rng=rng, n_boot=0
    )
    return float(found[headline].value)


def _found(study: Any, trials: list[Trial], family: Family[Any], fixed: Mapping[str, Any], fitting: Fitting) -> Found:
    whole = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not whole and fitting.say.stopping:
        raise Stopped  # cancelled before there was anything to keep is no failure
    if not whole:
        told = f"{len(trials)} trial{'s' * (len(trials) != 1)}, none of them finished"
        raise MedbenchError("a finished trial", told, "Give the search more minutes, or fix some options.")
    found = Found(family.parse(dict(fixed)), trials, _importance(study, len(whole)), fitting.around.headline)
    return replace(found, options=family.parse({**fixed, **found.best.options}))


def _importance(study: Any, finished: int) -> dict[str, float]:
    """Return each option's share in the variation of the value (PED-ANOVA, Watanabe et al. 2023)."""
    import optuna

    if finished < STARTS:
        return {}
    try:
        shares = optuna.importance.get_param_importances(study)
    except (RuntimeError, ValueError):  # all values are equal: nothing varies
        return {}
    return {name: round(float(share), 4) for name, share in shares.items()}


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials that a search wrote down, damaged lines passed over, a torn last one cut off."""
    found = []
    for line in journal.whole_lines(folder / FILE):
        try:
            found.append(Trial(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def _write(folder: Path, trial: Trial) -> None:
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(trial)) + "\n")
