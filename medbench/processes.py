"""Work in a process of its own that speaks through files: started, looked at, asked to stop. Remembers nothing.

Such work has a folder:

    events.jsonl   what happened; first line by the launcher, the rest by the worker
    log.txt        the worker's output, for engineers
    lock           held (flock) by the worker as long as it lives: the heartbeat

The launcher takes the lock and hands the open file to the worker, so the kernel frees it when the worker dies by any
cause. State = newest event + lock.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medbench.errors import MedbenchError
from medbench.events import Say, last_event, read_events

State = Literal["queued", "running", "finished", "failed", "cancelled", "lost"]
ENDS: dict[str, State] = {"finished": "finished", "failed": "failed", "cancelled": "cancelled"}
_WAITING = {"created", "resumed", "launched", "waiting"}
_PATIENCE = 10.0  # seconds
_started: list[subprocess.Popen[bytes]] = []


def launch(folder: Path, module: str, arguments: Sequence[str]) -> None:
    """Start `python -m MODULE FOLDER ARGUMENTS --lock FD` so that it outlives the caller.

    Raises:
        MedbenchError: Somebody works on the folder already.
    """
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    package_root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    with (folder / "lock").open("a") as lock, (folder / "log.txt").open("ab") as log:
        _take(lock.fileno(), folder.name)
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), *arguments, "--lock", str(lock.fileno())],
            pass_fds=[lock.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
    # Nobody waits for the worker; keeping the handle lets a later call reap it.
    _started.append(process)
    _started[:] = [child for child in _started if child.poll() is None]


def begin(folder: Path, lock: int | None) -> Say:
    """Return what the worker of a folder speaks through; a call to stop sets its `stop`. For the worker's first line.

    Args:
        folder: Its folder.
        lock: The open lock it was handed, or None when it runs by hand.
    """
    if lock is not None:
        os.set_inheritable(lock, False)  # the heartbeat must not outlive us in a child
    say = Say(folder / "events.jsonl")
    signal.signal(signal.SIGTERM, lambda *_: _stopping(say))
    say("launched", process=os.getpgid(0))
    return say


def _stopping(say: Say) -> None:
    say.stop.set()
    say("stopping", sentence="Stopping after the step in hand; what has been learnt is kept where possible.")


def _take(handle: int, name: str) -> None:
    for _ in range(20):  # a reader may hold the lock for a moment while it looks
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.05)
    raise MedbenchError("a run that nobody works on", f"{name} has a living worker", "Watch it or cancel it first.")


def is_locked(path: Path) -> bool:
    """Return True while a living process holds the flock on `path`."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def standing(folder: Path) -> tuple[State, Mapping[str, Any]] | None:
    """Return the state of a folder's work and its newest event; None when nothing was ever said there."""
    path = folder / "events.jsonl"
    last = last_event(path)
    if last is None:
        return None
    state = ENDS.get(str(last["kind"]))
    if state is not None:
        return state, last
    if is_locked(folder / "lock"):
        return ("queued" if last["kind"] in _WAITING else "running"), last
    # The worker may have ended between the two looks: look at the newest event once more.
    last = last_event(path) or last
    return ENDS.get(str(last["kind"]), "lost"), last


def stop(folder: Path) -> None:
    """Ask a folder's worker to stop.

    A worker that was asked over ten seconds ago is killed when it is asked again; it then shows as lost.

    Raises:
        MedbenchError: It is not alive, or has not started yet.
    """
    deadline = time.monotonic() + 5
    while True:
        state, last = standing(folder) or ("lost", {})
        if state not in ("queued", "running"):
            raise MedbenchError("a run that is queued or running", f"{folder.name} is {state}", "Nothing to cancel.")
        group = _group(folder)
        if group is not None and is_locked(folder / "lock"):
            asked = last["t"] if last["kind"] == "stopping" else None
            patient = asked is None or time.time() - float(asked) < _PATIENCE
            os.killpg(group, signal.SIGTERM if patient else signal.SIGKILL)
            return
        if time.monotonic() > deadline:
            raise MedbenchError("a worker that has started", f"{folder.name} has not", "Try again in a few seconds.")
        time.sleep(0.1)


def _group(folder: Path) -> int | None:
    """Return the process group of the living worker: the newest "launched" after the newest "created"/"resumed"."""
    group = None
    for event in read_events(folder / "events.jsonl")[0]:
        if event["kind"] in ("created", "resumed"):
            group = None
        elif event["kind"] == "launched":
            group = int(event["process"])
    return group
