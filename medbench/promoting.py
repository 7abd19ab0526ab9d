"""Before a model becomes the champion of a job: is it as good as the present one, on the same sealed items?

Where both were judged by their runs on the same test split their kept answers are compared, and no model is asked
again. Otherwise both answer the test split of the candidate's dataset, or else of the champion's, without the rows that
either learnt from (`holding_out`): so a starter, or a model of a dataset that has grown, can be compared too. The
comparison is that of the Compare page: a paired permutation test decides, a paired bootstrap gives the interval. Where
there is no such split, or the candidate is worse, the user is warned with the reason and decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from medbench import aliases, appointing, comparing, comparing_judged, comparing_verdict, holding_out
from medbench.aliases import Job
from medbench.comparing_judged import Answered, Ints
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

SEED = 7
Tell = Callable[[int, int], None]
Verdict = Literal["first", "better", "even", "lower", "worse", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """What is known of a candidate beside the champion of a job.

    Attributes:
        job: Name of the job.
        model: Id of the candidate.
        champion: Id of the present champion, "" when there is none.
        verdict: "first" champion; "better", "even" (not lower, within chance), "lower" (within chance) or "worse", by
            the paired permutation test at 5 %, as the Compare page tells runs apart; "unknown" when the two cannot be
            compared.
        sentence: The verdict in words, with the interval.
        metric: What was compared, the headline of the job's task; "" when nothing was.
        values: (champion's, candidate's) value; empty when they were not compared.
        difference: How much better the candidate is; negative when it is worse.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: p of the paired permutation test.
        items: Test items that both answered.
    """

    job: str
    model: str
    champion: str
    verdict: Verdict
    sentence: str
    metric: str = ""
    values: tuple[float, ...] = ()
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    items: int = 0

    @property
    def warns(self) -> bool:
        """Whether the user has to confirm."""
        return self.verdict in ("lower", "worse", "unknown")

    def figures(self) -> dict[str, Any]:
        """Return what is kept with the promotion, JSON-ready."""
        return {key: value for key, value in asdict(self).items() if key not in ("job", "model", "champion")}


def check(workspace: Workspace, model_id: str, name: str = "", tell: Tell | None = None) -> Check:
    """Compare a candidate with the champion of a job on test items that neither learnt from.

    Args:
        workspace: Where models, datasets and jobs lie.
        model_id: The candidate.
        name: The job; task and dataset of the model when empty. It need not exist yet.
        tell: Told (items answered, items to answer) over the models that have to be asked.

    Raises:
        MedbenchError: No such model, other labels than the job's, or it is the champion already.
    """
    card = aliases.card_of(workspace, model_id)
    name = name.removeprefix(aliases.SIGN) or aliases.default_name(card)
    job = next((one for one in aliases.jobs(workspace) if one.name == name), None)
    if job is None:
        split = "" if _sealed(card) else " It was not judged on a test split, so its figures may flatter it."
        sentence = f"It would be the first champion of {aliases.SIGN}{name}, so there is nothing to compare it with."
        return Check(name, model_id, "", "first", sentence + split)
    aliases.fits(job, card)
    if job.champion == model_id:
        raise MedbenchError(f"another model than the champion of {job.alias}", repr(model_id), "Nothing to do.")
    try:
        return _compared(workspace, job, model_id, tell)
    except MedbenchError as error:
        sentence = f"It cannot be told whether it is better than {job.champion}: expected {error.expected}, found "
        return Check(name, model_id, job.champion, "unknown", f"{sentence}{error.found}.")


def _compared(workspace: Workspace, job: Job, model_id: str, tell: Tell | None) -> Check:
    """Return the comparison. Raises MedbenchError when the two cannot be compared."""
    both, groups, where = _answers(workspace, job.champion, model_id, tell)
    metric = comparing_judged.headline(both[1].card)
    found = comparing.compare(both, groups, rng=np.random.default_rng(SEED))
    [pair] = found.pairs(metric)
    verdict = _verdict(pair)
    values = tuple(float(value) for value in found.point[metric])
    told = {
        "worse": "It is worse than {0}",
        "better": "It is better than {0}",
        "lower": "It is lower than {0}, though chance can do that",
        "even": "It cannot be told from {0}",
    }[verdict].format(both[0].name)
    title, n = comparing_verdict.title_of(metric), len(both[0].truth)
    spread = f"{100 * pair.value:+.1f} points ({100 * pair.low:+.1f} to {100 * pair.high:+.1f}, {_p(pair.p)})"
    sentence = (
        f"{told}: {title} {values[1]:.3f} against {values[0]:.3f}, {spread}, on the same {n:,} test items{where}."
    )
    return Check(
        job.name,
        model_id,
        job.champion,
        verdict,
        sentence,
        metric,
        values,
        pair.value,
        pair.low,
        pair.high,
        pair.p,
        n,
    )


def _answers(
    workspace: Workspace, champion: str, model_id: str, tell: Tell | None
) -> tuple[Sequence[Answered], Ints, str]:
    """Return what champion and candidate answered for the same items, the items' groups, and where these come from."""
    kept = _kept(workspace, (champion, model_id))
    if kept is not None:
        return kept, comparing_judged.items_of(workspace, kept[0]).groups, ""
    learnt = [str(aliases.card_of(workspace, one)["dataset"]["id"]) for one in (model_id, champion)]
    problem: MedbenchError | None = None
    for dataset in dict.fromkeys(learnt):
        try:
            found = holding_out.answers(workspace, (champion, model_id), dataset, tell)
        except MedbenchError as error:
            problem = problem or error
            continue
        left_out = f" ({found.left_out:,} left out that one of them learnt from)" if found.left_out else ""
        return found.models, found.groups, f" of {found.dataset}{left_out}"
    raise problem or MedbenchError("a dataset with a test split", "none", "Train the candidate on one.")


def _kept(workspace: Workspace, ids: Sequence[str]) -> list[Answered] | None:
    """Return the answers of two runs that were judged on the same test split; None when they were not."""
    try:
        both = [comparing_judged.answered(workspace, one) for one in ids]
        comparing_judged.same_items(both)
    except MedbenchError:
        return None
    same = both[0].card["dataset"]["id"] == both[1].card["dataset"]["id"]
    return both if same and all(one.split == "test" for one in both) else None


def _verdict(pair: comparing_verdict.Pair) -> Verdict:
    if pair.told:
        return "better" if pair.value > 0 else "worse"
    return "lower" if pair.value < 0 else "even"


def _p(p: float) -> str:
    return comparing_verdict.p_words(p)


def _sealed(card: Mapping[str, Any]) -> bool:
    return str(card.get("judged_on", "")).startswith("the test")


def promote(
    workspace: Workspace,
    model_id: str,
    name: str = "",
    *,
    who: str = "",
    why: str = "",
    anyway: bool = False,
    tell: Tell | None = None,
) -> tuple[Job, Check]:
    """Check a candidate, and make it the champion of a job unless the check warns.

    Args:
        workspace: Where models, datasets and jobs lie.
        model_id: The candidate.
        name: The job; task and dataset of the model when empty.
        who: Who promotes it.
        why: Their reason.
        anyway: Promote it in spite of a warning.
        tell: As for `check`.

    Raises:
        MedbenchError: The check warns and `anyway` is not set, or what `appointing.promote` raises.
    """
    found = check(workspace, model_id, name, tell)
    if found.warns and not anyway:
        raise MedbenchError(
            "a candidate that is known to be no worse than the champion",
            f"this: {found.sentence.removesuffix('.')}",
            "Promote it all the same with --anyway, or a tick on the page.",
        )
    job = appointing.promote(workspace, model_id, found.job, who=who, why=why, figures=found.figures())
    return job, found
