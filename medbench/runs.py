"""Start, watch, stop and resume runs. Remembers nothing: a run's state is derived from its files.

A run is a folder `data/runs/<id>/`:

    run.yaml       the spec, written by the launcher before anything else
    events.jsonl   what happened; first line by the launcher, the rest by the worker
    log.txt        the worker's output, for engineers
    lock           held (flock) by the worker as long as it lives: the heartbeat
    checkpoints/   written by the worker
    folds/         written by the worker: finished folds of a cross-validation

How the worker is started, seen to live and asked to stop is told in `processes`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medbench import processes
from medbench.errors import MedbenchError, full_disk
from medbench.events import Say, read_events
from medbench.processes import State
from medbench.records import RunSpec
from medbench.workspace import Workspace, read_json, replacing, write_json

_HEAD = 8192
_LOOKUP = re.compile(r"\$\{[^}:]*:")  # ${oc.env:HOME}: a spec from elsewhere must not read this machine


@dataclass(frozen=True, slots=True)
class Run:
    """What the list of runs shows of one run.

    Attributes:
        id: Folder name; sorts by creation time.
        state: queued, running, finished, failed, cancelled or lost (the worker died without a word).
        spec: Task, family, dataset, name and seed as the launcher noted them.
        created: Unix time in seconds.
        last: The newest event.
        model: Model id, once the run has left one.
    """

    id: str
    state: State
    spec: Mapping[str, Any]
    created: float
    last: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None

    @property
    def alive(self) -> bool:
        """True while a worker works or waits on it."""
        return self.state in ("queued", "running")


def start(workspace: Workspace, spec: RunSpec, cluster: str = "") -> str:
    """Write the run's folder, start its worker in a process of its own, and return the run id.

    The worker outlives the caller. With `cluster`, the address of a Ray cluster, it has the run done there. Raises
    MedbenchError when the folder cannot be written.
    """
    run_id = _new_id(spec)
    folder = workspace.run(run_id)
    try:
        folder.mkdir(parents=True)
        with replacing(folder / "run.yaml") as temporary:
            temporary.write_text(to_yaml(spec), encoding="utf-8")
        summary = spec.model_dump(include={"task", "family", "dataset", "name", "seed"})
        Say(folder / "events.jsonl")("created", spec=summary)
    except OSError as error:
        refused = full_disk(error) or MedbenchError(
            f"a folder that can be written, {workspace.runs}", str(error.strerror).lower(), "Fix its permissions."
        )
        raise refused from error
    _launch(workspace, folder, resume=False, cluster=cluster)
    return run_id


def resume(workspace: Workspace, run_id: str) -> str:
    """Start the worker of a lost, failed or cancelled run again, from its newest checkpoint; return the run id.

    Raises:
        MedbenchError: There is no such run, or it is alive or finished.
    """
    run = get(workspace, run_id)
    if run.alive or run.state == "finished":
        raise MedbenchError("a run that was lost, failed or cancelled", f"{run_id} is {run.state}", "Start a new run.")
    folder = workspace.run(run_id)
    Say(folder / "events.jsonl")("resumed")
    _launch(workspace, folder, resume=True)
    return run_id


def _launch(workspace: Workspace, folder: Path, *, resume: bool, cluster: str = "") -> None:
    arguments = ["--data", str(workspace.data), "--models", str(workspace.models), *(["--resume"] if resume else [])]
    processes.launch(folder, "medbench.worker", [*arguments, *(["--cluster", cluster] if cluster else [])])


def get(workspace: Workspace, run_id: str) -> Run:
    """Return one run. Raises MedbenchError when there is no such run."""
    folder = workspace.run(run_id)
    run = _read(folder)
    if run is None:
        raise MedbenchError("the id of a run", repr(run_id), "List the runs and copy an id.")
    return run


def list_runs(workspace: Workspace) -> list[Run]:
    """Return all runs, newest first. Reads the first and last lines of each, never whole files."""
    if not workspace.runs.exists():
        return []
    names = sorted((entry.name for entry in os.scandir(workspace.runs) if entry.is_dir()), reverse=True)
    return [run for name in names if (run := _read(workspace.runs / name))]


def _read(folder: Path) -> Run | None:
    path = folder / "events.jsonl"
    try:
        with path.open("rb") as file:
            first = json.loads(file.read(_HEAD).split(b"\n", 1)[0])
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(first, dict) or not {"t", "kind"} <= first.keys():
        return None
    state, last = processes.standing(folder) or ("lost", first)
    return Run(folder.name, state, first.get("spec", {}), float(first["t"]), last, last.get("model"))


def events(workspace: Workspace, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the run's events from byte `offset` on, and the next offset."""
    return read_events(workspace.run(run_id) / "events.jsonl", offset)


def follow(workspace: Workspace, run_id: str, every: float = 0.2) -> Iterator[dict[str, Any]]:
    """Yield the run's events as they come, until it ends or is lost; `every` is the poll interval in seconds."""
    offset = 0
    while True:
        run = get(workspace, run_id)
        fresh, offset = events(workspace, run_id, offset)
        yield from fresh
        if not run.alive:
            return
        time.sleep(every)


def cancel(workspace: Workspace, run_id: str) -> None:
    """Ask the run's worker to stop; what it has learnt so far stays usable. Waiting runs end at once.

    A worker that was asked over ten seconds ago is killed when it is asked again; it then shows as lost, and can be
    resumed from its newest checkpoint.

    Raises MedbenchError when the run is not alive.
    """
    get(workspace, run_id)
    processes.stop(workspace.run(run_id))


def queue(workspace: Workspace) -> list[str]:
    """Return the ids of queued runs in the order they will start: moved-up ones first, then oldest first."""
    waiting = sorted(run.id for run in list_runs(workspace) if run.state == "queued")
    first = _moved_up(workspace)
    return [run_id for run_id in first if run_id in waiting] + [run_id for run_id in waiting if run_id not in first]


def move_up(workspace: Workspace, run_id: str) -> None:
    """Put a queued run at the head of the queue."""
    get(workspace, run_id)
    first = [run_id, *(other for other in queue(workspace) if other != run_id and other in _moved_up(workspace))]
    write_json(workspace.data / "queue.json", {"first": first})


def _moved_up(workspace: Workspace) -> list[str]:
    path = workspace.data / "queue.json"
    return [str(entry) for entry in read_json(path).get("first", [])] if path.exists() else []


@contextmanager
def device_turn(workspace: Workspace, run_id: str, say: Say) -> Iterator[bool]:
    """Wait for the run's turn, hold the device lock, yield True; yield False when the user stopped the wait."""
    workspace.data.mkdir(parents=True, exist_ok=True)
    with workspace.device_lock.open("a") as lock:
        waited = False
        while not say.stopping:
            if next(iter(queue(workspace)), run_id) == run_id:
                try:
                    fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another training holds the device; said below
                else:
                    yield True
                    return
            if not waited:
                say("waiting", reason="Another training uses the device; this one starts when it ends.")
                waited = True
            say.stop.wait(0.3)
        yield False


def read_spec(path: Path, overrides: list[str]) -> RunSpec:
    """Read a YAML spec and merge `key=value` overrides into it. Raises MedbenchError naming all problems at once."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MedbenchError("a run spec in YAML", f"{str(path)!r}: {error.strerror}", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise MedbenchError("a run spec in YAML", f"no text in {str(path)!r}", "See configs/ for examples.") from error
    return parse_spec(text, overrides, source=path.name)


def parse_spec(text: str, overrides: list[str] | None = None, source: str = "the spec") -> RunSpec:
    """Parse YAML text into a spec, overrides merged. A bare key that is no field of the spec means `options.<key>`.

    Raises:
        MedbenchError: It is no YAML, or values do not fit; all problems at once.
    """
    import yaml
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError

    fields = RunSpec.model_fields
    dotted = [entry if entry.split("=")[0].split(".")[0] in fields else f"options.{entry}" for entry in overrides or []]
    bare = [entry for entry in dotted if "=" not in entry]
    if bare:
        raise MedbenchError("overrides like epochs=5", ", ".join(map(repr, bare)), "Write key=value.")
    try:
        base = OmegaConf.create(text.strip() or "{}")
        if not isinstance(base, DictConfig):
            raise MedbenchError(f"keys and values in {source}", repr(text[:40]), "See configs/ for examples.")
        if found := _LOOKUP.search("\n".join([text, *dotted])):
            raise MedbenchError(f"plain values in {source}", repr(found[0]), "Write the value itself.")
        merged = OmegaConf.to_container(OmegaConf.merge(base, OmegaConf.from_dotlist(dotted)), resolve=True)
        return RunSpec.model_validate(merged)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, entry['loc']))[:80]}: {entry['msg']}" for entry in error.errors())
        raise MedbenchError(f"a valid run spec in {source}", problems, f"Known keys: {', '.join(fields)}.") from error
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())[:300]
        raise MedbenchError(f"readable YAML in {source}", cause, "Correct the line named.") from error


def to_yaml(spec: RunSpec) -> str:
    """Return the spec as YAML that `read_spec` reads back."""
    import yaml

    return yaml.safe_dump(spec.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True)


def command_line(spec: RunSpec) -> str:
    """Return the shell command that repeats the run."""
    import shlex

    parts = ["medbench", "train", "--task", spec.task, "--family", spec.family, "--dataset", spec.dataset]
    plain = spec.model_dump(exclude={"task", "family", "dataset", "options", "tune"}, exclude_defaults=True)
    parts += [f"{key}={value}" for key, value in plain.items()]
    parts += [f"tune.{key}={value}" for key, value in spec.tune or ()]
    parts += [f"options.{key}={json.dumps(value)}" for key, value in spec.options.items()]
    return shlex.join(parts)


def _new_id(spec: RunSpec) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    name = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in (spec.name or spec.family).lower()
    )
    return f"{stamp}-{name.strip('-')[:30] or 'run'}-{secrets.token_hex(2)}"
