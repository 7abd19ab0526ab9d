"""The same run, or the same batch, on a Ray cluster (extra `ray`): nothing differs but where it is computed.

A run (`medbench train … --cluster ADDRESS`): its own worker stays here, holds the lock and writes the events; an actor
on the cluster does the run in a folder of its own, through `runs` like any other. Its events are told here as they
come; its model is brought here before the run says that it finished.

A file (`medbench predict … --cluster ADDRESS`): chunks go to as many actors as the cluster has processors, and come
back in their order, so that what is on disk is what one machine would have left, and can be gone on from anywhere.

A folder travels only to a machine that does not see it under the same path. Ray moves objects between its processes by
pickling; medbench itself still keeps nothing pickled.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from medbench import predicting, processes, runs
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.predicting import Answers, Loaded
from medbench.records import Item
from medbench.workspace import Workspace, read_json

LOCAL = "local"
"""The address that stands for a cluster of its own on this machine."""
_EVERY = 0.5  # seconds between two looks at a run
_PATIENCE = 10.0  # seconds that an actor has to clear its folder
_AHEAD = 2  # chunks on their way to each actor
_ARRAYS = tuple(each.name for each in fields(Answers) if each.name != "loaded")
_OWN_WORDS = ("created", "resumed", "launched", "waiting")  # events of the run there that are told here by others
_ENDS = tuple(processes.ENDS)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster, or start one on this machine for `local`; yield the module `ray` and leave it afterwards.

    Raises:
        MedbenchError: Ray is not installed, or no cluster answers at that address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray reports its use to its makers
    try:
        import ray
    except ImportError as error:
        todo = 'Install it with: pip install "medbench[ray]", or leave --cluster out.'
        raise MedbenchError("Ray, for work on a cluster", "it is not installed", todo) from error
    ours, on_stop = not ray.is_initialized(), signal.getsignal(signal.SIGTERM)
    try:
        if ours:
            where: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_stop)  # Ray puts its own in place, which leaves at once
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        todo = f'Give its address (ray start --head shows it), "auto", or "{LOCAL}" for this machine alone.'
        raise MedbenchError("the address of a running Ray cluster", repr(address), todo) from error
    try:
        yield ray
    except (ray.exceptions.RayError, ConnectionError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, MedbenchError):
            raise cause from None
        found = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        raise MedbenchError("a cluster that stays up", found, "What is done is kept; start it again.") from error
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _released(ray: Any, actors: Sequence[Any]) -> Iterator[None]:
    """Take actors down at the end, with their folders: whoever still holds one would keep its processor busy."""
    try:
        yield
    finally:
        for actor in actors:
            with suppress(ray.exceptions.RayError):  # it is gone, or its machine is: nothing is left to take down
                ray.get(actor.clear.remote(), timeout=_PATIENCE)
            ray.kill(actor)


class _Place:
    """A folder on a machine of the cluster, and what is brought to it. Runs there, as an actor."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="medbench-cluster-")
        self.workspace = Workspace.here(Path(self._folder.name))
        for folder in (self.workspace.data, self.workspace.models, self.workspace.datasets, self.workspace.runs):
            folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def _at(self, name: str) -> Path:
        root = Path(self._folder.name).resolve()
        place = (root / name).resolve()
        if not place.is_relative_to(root):
            raise ValueError(f"a path inside the folder, not {name!r}")
        return place

    def sees(self, name: str, folder: str, card: bytes | None) -> bool:
        """Use a folder under its own path when it is the same one here: its card has the same bytes."""
        cards = [Path(folder) / each for each in ("dataset.json", "model.json")]
        if card is None or not any(each.is_file() and each.read_bytes() == card for each in cards):
            return False
        place = self._at(name)
        if not place.exists():
            place.symlink_to(folder)
        return True

    def take(self, name: str, data: bytes) -> None:
        """Write a file that was sent."""
        place = self._at(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def files(self, name: str) -> list[str]:
        """Return the files of a folder, relative to it; its card last."""
        root = self._at(name)
        found = [path for path in root.rglob("*") if path.is_file()]
        return [str(path.relative_to(root)) for path in sorted(found, key=lambda path: path.name == "model.json")]

    def give(self, name: str) -> bytes:
        """Return a file's bytes; none for a file that is not there."""
        place = self._at(name)
        return place.read_bytes() if place.is_file() else b""


class _Runner(_Place):
    """Does one run in a process of its own, as on any machine."""

    def begin(self, run_id: str) -> None:
        """Start the run whose folder was brought."""
        runs.resume(self.workspace, run_id)

    def news(self, run_id: str, offset: int) -> tuple[list[dict[str, Any]], int, bool]:
        """Return the events behind `offset`, the next offset, and whether the run still works."""
        alive = runs.get(self.workspace, run_id).alive  # asked first: an event that ends it cannot be missed
        events, offset = runs.events(self.workspace, run_id, offset)
        return events, offset, alive

    def stop(self, run_id: str) -> None:
        """Ask the run to stop."""
        runs.cancel(self.workspace, run_id)


class _Scorer(_Place):
    """Answers for chunks of a file with one model."""

    def load(self, model: str) -> None:
        """Load the model whose folder was brought."""
        self.loaded = predicting.load(self.workspace, model)

    def answer(self, chunk: Sequence[Item]) -> dict[str, Any]:
        """Return the answers as arrays."""
        answers = predicting.answer(self.loaded, chunk)
        return {name: getattr(answers, name) for name in _ARRAYS}


# --- a run -------------------------------------------------------------------------------------------------------


def carry(workspace: Workspace, folder: Path, say: Say, address: str) -> int:
    """Have a run done on a cluster and bring its model here; return 0 when it finished or was cancelled, else 1.

    Args:
        workspace: Where the dataset lies and the model goes.
        folder: The run's folder here; its lock is held by the caller.
        say: Where its events go, and where a stop is heard.
        address: Of the cluster.
    """
    try:
        with connected(address) as ray:
            spec = runs.read_spec(folder / "run.yaml", [])
            gpu = spec.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
            runner = ray.remote(_Runner).options(num_cpus=1, num_gpus=1 if gpu else 0, max_concurrency=2).remote()
            with _released(ray, [runner]):
                say("stage", name="cluster", sentence="Bringing the dataset to the cluster.")
                sent = _bring(ray, runner, workspace, spec.dataset, folder)
                ray.get(runner.begin.remote(folder.name))
                ending = _told(ray, runner, folder.name, sent, say)
                return _ended(ray, runner, workspace, folder, say, ending)
    except MedbenchError as error:
        say("failed", sentence=str(error), line=str(error), remedy=None, **error.parts())
        return 1


def _bring(ray: Any, runner: Any, workspace: Workspace, dataset: str, folder: Path) -> int:
    """Bring a run's spec and events, its dataset, and its dataset's models: a run may build on them.

    Returns:
        The size of the events in bytes: what comes behind is news.
    """
    from medbench import datasets

    place, events = f"data/runs/{folder.name}", (folder / "events.jsonl").read_bytes()
    ray.get(runner.take.remote(f"{place}/run.yaml", (folder / "run.yaml").read_bytes()))
    ray.get(runner.take.remote(f"{place}/events.jsonl", events))
    found = datasets.load(workspace, dataset)
    _send(ray, runner, f"data/datasets/{found.id}", found.folder, "dataset.json")
    for card in workspace.model_cards():
        facts = read_json(card)
        if facts.get("dataset", {}).get("id") == found.id:
            _send(ray, runner, f"models/{card.parent.name}", card.parent, "model.json")
    return len(events)


def _send(ray: Any, actor: Any, name: str, folder: Path, card: str) -> None:
    """Send a folder file by file, its card last, unless the actor's machine sees it."""
    folder = folder.resolve()
    if ray.get(actor.sees.remote(name, str(folder), (folder / card).read_bytes())):
        return
    for path in sorted(folder.rglob("*"), key=lambda path: path.name == card):
        if path.is_file():
            ray.get(actor.take.remote(f"{name}/{path.relative_to(folder)}", path.read_bytes()))


def _told(ray: Any, runner: Any, run_id: str, offset: int, say: Say) -> dict[str, Any] | None:
    """Tell the run's events here as they come; return the one that ends it, None when it ended without a word."""
    ending, asked = None, False
    while True:
        if say.stopping and not asked:
            ray.get(runner.stop.remote(run_id))
            asked = True
        events, offset, alive = ray.get(runner.news.remote(run_id, offset))
        for event in events:
            kind = str(event["kind"])
            if kind in _ENDS:
                ending = event
            elif kind not in (*_OWN_WORDS, "stopping"):
                say(kind, **{name: value for name, value in event.items() if name not in ("t", "kind")})
        if not alive and not events:
            return ending
        time.sleep(_EVERY)


def _ended(ray: Any, runner: Any, workspace: Workspace, folder: Path, say: Say, ending: dict[str, Any] | None) -> int:
    """Bring the log and the model here, then tell how the run ended."""
    with (folder / "log.txt").open("ab") as log:
        log.write(ray.get(runner.give.remote(f"data/runs/{folder.name}/log.txt")))
    if ending is None:
        raise MedbenchError("a run that ends by itself", "its process died on the cluster", "Look into its log.")
    facts = {name: value for name, value in ending.items() if name not in ("t", "kind")}
    if facts.get("model"):
        _fetch(ray, runner, workspace, str(facts["model"]))
    say(str(ending["kind"]), **facts)
    return 1 if ending["kind"] == "failed" else 0


def _fetch(ray: Any, runner: Any, workspace: Workspace, model: str) -> None:
    """Bring a model here under a hidden name and rename it, so that it is seen whole or not at all."""
    import shutil

    building, final = workspace.models / f".{model}.partial", workspace.model(model)
    shutil.rmtree(building, ignore_errors=True)
    for name in ray.get(runner.files.remote(f"models/{model}")):
        place = building / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(ray.get(runner.give.remote(f"models/{model}/{name}")))
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)


# --- a file ------------------------------------------------------------------------------------------------------


@contextmanager
def answering(loaded: Loaded, address: str) -> Iterator[Any]:
    """Yield what answers for chunks of items on a cluster, in their order: for `Batch.run`.

    Raises:
        MedbenchError: As `connected` does.
    """
    with connected(address) as ray:
        count = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        actors = [ray.remote(_Scorer).options(num_cpus=1).remote() for _ in range(count)]
        with _released(ray, actors):
            for actor in actors:
                _send(ray, actor, f"models/{loaded.id}", loaded.folder, "model.json")
            ray.get([actor.load.remote(loaded.id) for actor in actors])
            yield lambda chunks: _in_order(ray, actors, loaded, chunks)


def _in_order(ray: Any, actors: Sequence[Any], loaded: Loaded, chunks: Iterator[Sequence[Item]]) -> Iterator[Answers]:
    """Yield the answers for chunks in their order; a few chunks an actor are under way, the rest stays unread."""
    under_way: deque[Any] = deque()
    for number, chunk in enumerate(chunks):
        under_way.append(actors[number % len(actors)].answer.remote(list(chunk)))
        if len(under_way) >= _AHEAD * len(actors):
            yield Answers(loaded, **ray.get(under_way.popleft()))
    while under_way:
        yield Answers(loaded, **ray.get(under_way.popleft()))
