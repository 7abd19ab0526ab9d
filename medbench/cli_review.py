"""`medbench review`: replay a review on a labelled dataset; begin, look at and take out reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

review_app = typer.Typer(help="Read records in the order that helps most (active learning).", no_args_is_help=True)


@review_app.command("simulate")
def simulate_review(
    dataset: Annotated[str, typer.Argument(help="Id or name of a labelled dataset of texts.")],
    label: Annotated[str, typer.Option(help="The label that counts as relevant; all other records do not.")],
    strategy: Annotated[str, typer.Option(help="mixed, certainty, uncertainty or diversity.")] = "certainty",
    family: Annotated[str, typer.Option(help="Who ranks: linear, embedding or keywords.")] = "linear",
    every: Annotated[int, typer.Option(min=1, help="Learn again after this many records.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many starts to draw.")] = 3,
    as_json: Json = False,
) -> None:
    """Replay a review: how much reading would the ranking have saved at 95 % recall?

    For example:

      medbench review simulate ohsumed --label C14
    """
    from medbench.review_simulation import Asked, checked, labelled, replay

    with told(as_json):
        asked = Asked(dataset, label, checked(strategy, family), family, every, seeds)
        items, relevant = labelled(Workspace.here(), dataset, label)
        found = replay(items, relevant, asked, None if as_json else _Told())
    lines = [f"{found.relevant:,} of {found.records:,} records carry {label}."]
    lines += [_line(one) for one in found.replays]
    lines.append(f"Work saved over reading at random, at 95 % recall: {found.saved:.1%} on average.")
    give(found.facts(), as_json, lambda: "\n".join(lines))


def _line(replay: dict[str, float | int | None]) -> str:
    stop = "the stop advice never came"
    if replay["stop_at"] is not None:
        stop = f"stop advice after {replay['stop_at']:,} with {replay['recall_at_stop']:.1%} found"
    return (
        f"start {replay['seed']:.0f}: 95 % found after {replay['read_for_95']:,} (saves {replay['saved_at_95']:.1%}), "
        f"{replay['recall_at_10_percent']:.1%} after a tenth; {stop}"
    )


class _Told:
    """Says every tenth of the way."""

    def __init__(self) -> None:
        self._said = -1

    def __call__(self, share: float, sentence: str) -> None:
        if int(share * 10) > self._said:
            self._said = int(share * 10)
            note(sentence)


@review_app.command("begin")
def begin(
    dataset: Annotated[str, typer.Argument(help="Id or name of a dataset of texts, labelled or not.")],
    name: Annotated[str, typer.Option(help="What the review is called.")],
    label: Annotated[list[str] | None, typer.Option(help="A label to decide on; give several for several.")] = None,
    question: Annotated[str, typer.Option(help="What is looked for, in words.")] = "",
    family: Annotated[str, typer.Option(help="Who ranks: linear, embedding or keywords.")] = "linear",
    strategy: Annotated[str, typer.Option(help="mixed, certainty, uncertainty or diversity.")] = "mixed",
    readers: Annotated[int, typer.Option(help="How many people read each record.")] = 1,
    begin_labelled: Annotated[bool, typer.Option("--begin-labelled", help="Labels there already count.")] = False,
    as_json: Json = False,
) -> None:
    """Begin a review, to be read on the Review page, and print its id.

    For example:

      medbench review begin my-search --name Statins --label include --question "statins in children"
    """
    from dataclasses import asdict

    from medbench import review

    with told(as_json):
        plan = review.create(
            Workspace.here(), dataset, name, label or ["include"], question=question, family=family,
            strategy=strategy, readers=readers, begin_labelled=begin_labelled,
        )  # fmt: skip
    give(asdict(plan), as_json, lambda: plan.id)


@review_app.command("list")
def list_reviews(as_json: Json = False) -> None:
    """List the reviews, newest first. Example: medbench review list --json."""
    from dataclasses import asdict

    from medbench import review

    with told(as_json):
        plans = review.list_reviews(Workspace.here())
    lines = [f"{plan.id}  {plan.dataset}  {', '.join(plan.labels)}  {plan.name}" for plan in plans]
    give([asdict(plan) for plan in plans], as_json, lambda: "\n".join(lines) or "No reviews: medbench review begin")


@review_app.command("status")
def status(
    review_id: Annotated[str, typer.Argument(metavar="REVIEW", help="Id; see: medbench review list.")],
    as_json: Json = False,
) -> None:
    """Say how far a review is, whether reading may stop, and how well readers agree.

    For example:

      medbench review status statins-1a2b3c4d --json
    """
    from dataclasses import asdict

    from medbench import review
    from medbench.review_readers import agreement_of

    with told(as_json):
        held = review.load(Workspace.here(), review_id)
        standing = held.journal.standing()
        facts = {
            "records": len(held),
            "decided": len(standing.by_record),
            "disagreements": len(standing.disagreements),
            "advice": {
                label: {**asdict(advice), "may_stop": advice.may_stop}
                for label in held.plan.labels
                for advice in [held.advice(standing, label)]
            },
            "sample": {
                label: asdict(found)
                for label in held.plan.labels
                if (found := held.sampled(standing, label)) is not None
            },
            "agreement": [asdict(one) for one in agreement_of(standing, held.plan.labels)],
        }
        lines = [f"{len(standing.by_record):,} of {len(held):,} records decided."]
        lines += [held.told(standing, label) for label in held.plan.labels]
    give(facts, as_json, lambda: "\n".join(lines))


@review_app.command("export")
def export(
    review_id: Annotated[str, typer.Argument(metavar="REVIEW", help="Id; see: medbench review list.")],
    to: Annotated[str, typer.Option(help="csv, ris or dataset.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write; empty means REVIEW.csv or REVIEW.ris.")] = None,
    as_json: Json = False,
) -> None:
    """Take the answers out: a table, RIS with labels, or a dataset to train on.

    For example:

      medbench review export statins-1a2b3c4d --to ris --out read.ris

      medbench review export statins-1a2b3c4d --to dataset
    """
    from medbench import review, review_exports

    with told(as_json):
        workspace = Workspace.here()
        held = review.load(workspace, review_id)
        if to == "dataset":
            made = review_exports.as_dataset(workspace, held)
        elif to in ("csv", "ris"):
            data = review_exports.as_csv(held) if to == "csv" else review_exports.as_ris(held)
            path = out or Path(f"{review_id}.{to}")
            path.write_bytes(data)
            made = str(path)
        else:
            raise MedbenchError("csv, ris or dataset", repr(to), "Choose one of these.")
    give({"made": made}, as_json, lambda: made)


@review_app.command("delete")
def delete(
    review_id: Annotated[str, typer.Argument(metavar="REVIEW", help="Id; see: medbench review list.")],
    for_good: Annotated[
        bool, typer.Option("--for-good", help="Remove it from the disk: there is no way back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete a review; unless it is for good, `medbench review restore` brings it back.

    For example:

      medbench review delete statins-1a2b3c4d
    """
    from medbench import review

    with told(as_json):
        workspace = Workspace.here()
        if review_id not in {plan.id for plan in review.list_deleted(workspace)} or not for_good:
            review.delete(workspace, review_id)
        if for_good:
            review.delete_for_good(workspace, review_id)
    back = "" if for_good else f" Bring it back: medbench review restore {review_id}"
    give({"deleted": review_id, "for_good": for_good}, as_json, lambda: f"Deleted {review_id}.{back}")


@review_app.command("restore")
def restore(
    review_id: Annotated[str, typer.Argument(metavar="REVIEW", help="Id of a deleted review.")], as_json: Json = False
) -> None:
    """Bring a deleted review back with all its decisions. Example: medbench review restore statins-1a2b3c4d."""
    from medbench import review

    with told(as_json):
        review.restore(Workspace.here(), review_id)
    give({"restored": review_id}, as_json, lambda: f"{review_id} is back.")
