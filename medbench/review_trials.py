"""Simulations of a review in the background: begun, watched, stopped, kept. A process each, like a training.

`data/simulations/<id>/` holds, beside what `processes` says of such folders,
    simulation.json   what is replayed; written once, by `start`
    found.npz         "found" (n_starts, n) int32; written by the worker
    result.json       what came out; written by the worker, last

`python -m medbench.review_trials FOLDER --data DIR --models DIR --lock FD`, started by `start`.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import datasets, processes
from medbench.errors import MedbenchError, Stopped, full_disk
from medbench.events import Say
from medbench.processes import State
from medbench.review_simulation import Asked, Replays, checked, labelled, replay
from medbench.workspace import Workspace, checked_id, read_cards, read_json, replacing, write_json

VERSION = 1
TARGET = 0.95
_EVERY = 0.5  # seconds between two lines of progress
_UNEXPECTED = "The simulation met an error medbench did not expect. The details are in its log."


@dataclass(frozen=True, slots=True)
class Trial:
    """One simulation as it stands.

    Attributes:
        id: Its folder's name.
        asked: What is replayed.
        created: When, Unix seconds.
        state: queued, running, finished, failed, cancelled or lost.
        last: The newest event: share (0-1) and sentence while it runs.
    """

    id: str
    asked: Asked
    created: float
    state: State
    last: Mapping[str, Any]

    @property
    def alive(self) -> bool:
        """True while it is worked on."""
        return self.state in ("queued", "running")


def start(workspace: Workspace, asked: Asked) -> str:
    """Begin a simulation in a process of its own, which outlives the caller; return its id.

    Raises:
        MedbenchError: Dataset, label, order or family are not there, or the label parts nothing.
    """
    asked = replace(asked, strategy=checked(asked.strategy, asked.family))
    _, relevant = labelled(workspace, asked.dataset, asked.label)
    if not 0 < relevant.sum() < len(relevant):
        raise MedbenchError(
            "records that carry the label and records that do not",
            f"{relevant.sum():,} of {len(relevant):,} carry it",
            "Choose another label.",
        )
    asked = replace(asked, dataset=datasets.load(workspace, asked.dataset).id)
    folder = workspace.simulations / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    created = {"version": VERSION, "id": folder.name, "created": round(time.time(), 3), **asdict(asked)}
    write_json(folder / "simulation.json", created)
    Say(folder / "events.jsonl")("created")
    processes.launch(
        folder, "medbench.review_trials", ["--data", str(workspace.data), "--models", str(workspace.models)]
    )
    return folder.name


def list_trials(workspace: Workspace) -> list[Trial]:
    """Return all simulations, newest first."""
    cards = read_cards(sorted(workspace.simulations.glob("*/simulation.json")), ("id", "created", "dataset", "label"))
    trials = [_trial(workspace.simulations / str(card["id"]), card) for card in cards]
    return sorted(trials, key=lambda one: (one.created, one.id), reverse=True)


def get(workspace: Workspace, trial_id: str) -> Trial:
    """Return a simulation. Raises MedbenchError when there is none."""
    folder = workspace.simulations / checked_id(trial_id)
    if not (folder / "simulation.json").exists():
        raise MedbenchError("the id of a simulation", repr(trial_id), "Choose one of the list.")
    return _trial(folder, read_json(folder / "simulation.json"))


def _trial(folder: Path, card: Mapping[str, Any]) -> Trial:
    state, last = processes.standing(folder) or ("lost", {})
    asked = Asked(**{name: card[name] for name in Asked.__slots__ if name in card})
    return Trial(folder.name, asked, float(card["created"]), state, last)


def stop(workspace: Workspace, trial_id: str) -> None:
    """Ask a simulation to stop. Raises MedbenchError when it is not alive."""
    get(workspace, trial_id)
    processes.stop(workspace.simulations / trial_id)


def delete(workspace: Workspace, trial_id: str) -> None:
    """Remove a simulation from the disk. Raises MedbenchError when there is none, or it is at work."""
    if get(workspace, trial_id).alive:
        raise MedbenchError("a simulation that has ended", "one at work", "Stop it first.")
    shutil.rmtree(workspace.simulations / trial_id)


def result(workspace: Workspace, trial_id: str) -> Replays:
    """Return what a finished simulation found. Raises MedbenchError when it left nothing."""
    folder = workspace.simulations / checked_id(trial_id)
    if not (folder / "result.json").exists():
        raise MedbenchError("a finished simulation", f"{trial_id} left no result", "Begin it again.")
    facts = read_json(folder / "result.json")
    with np.load(folder / "found.npz", allow_pickle=False) as kept:
        found = np.asarray(kept["found"], dtype=np.int32)
    return Replays(int(facts["records"]), int(facts["relevant"]), tuple(facts["replays"]), found)


def sentence(found: Replays, label: str) -> str:
    """Say what the ranking saved, in one sentence with its range over the starts."""
    read = [int(one["read_for_95"] or 0) for one in found.replays]
    saved = sorted(float(one["saved_at_95"] or 0) for one in found.replays)
    mean = round(float(np.mean(read)))
    low, high = f"{100 * saved[0]:.0f}", f"{100 * saved[-1]:.0f}"
    starts = f"{len(saved)} start{'s' if len(saved) > 1 else ''}"
    told = f" ({low} to {high} % over {starts})" if low != high else f" (from {starts})"
    first = (
        f"95 % of the {found.relevant:,} records with “{label}” are found after {mean:,} of {found.records:,} read "
        f"({100 * mean / found.records:.0f} %), where a random order takes 95 %"
    )
    if found.saved <= 0:
        return f"{first}: this order saves nothing{told}."
    return f"{first}: it saves {100 * found.saved:.0f} % of the reading{told}."


def curve(found: Replays, points: int = 201) -> npt.NDArray[np.float64]:
    """Return (points, 1 + n_starts): the share of records read, and the share of relevant ones found from each start.

    Shares lie in 0-1; the first row is 0 throughout. With fewer records than points there is a row for each.
    """
    at = np.unique(np.linspace(0, found.records, min(points, found.records + 1)).round().astype(np.int64))
    heads = np.concatenate([np.zeros((len(found.found), 1), dtype=np.int32), found.found], axis=1)
    return np.column_stack([at / found.records, (heads[:, at] / found.relevant).T])


# --- in the process of its own ------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Carry one simulation to its result; return 0 when it finished or was stopped, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="medbench.review_trials")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--lock", type=int, default=None)
    given = parser.parse_args(arguments)
    say = processes.begin(given.folder, given.lock)
    try:
        _carry(Workspace(given.data, given.models), given.folder, say)
    except Stopped:
        say("cancelled", sentence="Stopped before there was a result.")
    except MedbenchError as error:
        say("failed", sentence=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - logged whole, told in one sentence
        traceback.print_exc()
        say("failed", sentence=str(full_disk(error) or _UNEXPECTED))
        return 1
    return 0


def _carry(workspace: Workspace, folder: Path, say: Say) -> None:
    asked = get(workspace, folder.name).asked
    say("progress", share=0.0, sentence="Counting the words of every record.")
    items, relevant = labelled(workspace, asked.dataset, asked.label)
    said = 0.0

    def tell(share: float, words: str) -> None:
        nonlocal said
        if say.stopping:
            raise Stopped
        if time.monotonic() - said > _EVERY:
            said = time.monotonic()
            say("progress", share=round(share, 4), sentence=words)

    found = replay(items, relevant, asked, tell)
    with replacing(folder / "found.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, found=found.found)
    write_json(folder / "result.json", {"version": VERSION, **found.facts()})
    say("finished", sentence=sentence(found, asked.label))


if __name__ == "__main__":
    sys.exit(main())
