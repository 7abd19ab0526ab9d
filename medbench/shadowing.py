"""Challengers in the shadow answer after the answer that is shown has been given: on one thread, a step at a time.

What has to be answered waits as a chain of steps, each a handful of items; the thread takes a step of each chain in
turn, so that a long file holds up no single text, and between steps it waits while another model is answering somebody
who looks at the page. The command line waits until it is done (`finish`). A server that ends leaves what still waits:
the history tells which of its texts have no unseen answer, and the next server goes on with those (`go_on`). Pictures
are not kept, nor texts with MEDBENCH_KEEP_TEXT=0: what waits of these is lost with the server, and `contest` counts it.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medbench import aliases, gathering, history, job_history, predicting, uploads
from medbench.aliases import Job
from medbench.errors import MedbenchError
from medbench.records import Item, ItemKind, join_image, part_image
from medbench.workspace import Workspace

log = logging.getLogger("medbench.shadowing")
PART = 16
"""Items of a step: whoever else asks the challenger's model waits for no more than these."""
_PATIENCE = 20.0  # seconds that a step waits for the models that are answering somebody
_LOOK = 0.05

_chains: deque[Iterator[None]] = deque()
_changed = threading.Condition()
_thread: list[threading.Thread] = []
_working = [0]


def seen(job: Job | None) -> str:
    """Return the id of the challenger that answers a job unseen, "" when there is none."""
    challenger = job.challenger if job is not None else None
    return challenger.model if challenger is not None and challenger.mode == "shadow" else ""


def ask(workspace: Workspace, job: Job, ids: Sequence[str], items: Sequence[Item], kind: ItemKind = "text") -> None:
    """Let the challenger in the shadow answer, later, for items that have been answered; without one, do nothing.

    Args:
        workspace: Where models and the history lie.
        job: The job they were asked of.
        ids: n ids of the answers in the history.
        items: The n items. Pictures are copied at once, since they may be gone when their turn comes.
        kind: What the items are.
    """
    model = seen(job)
    if not model or not items:
        return
    if kind == "text":
        later(parts(workspace, job, model, ids, items))
        return
    folder = uploads.folder_for(workspace)
    copies = [_copy(item, folder / f"{at:05d}") for at, item in enumerate(items)]
    later(_of_copies(parts(workspace, job, model, ids, copies, kind), folder))


def later(steps: Iterator[None]) -> None:
    """Have a chain of steps done on the thread, one after another."""
    with _changed:
        _chains.append(steps)
        if not _thread or not _thread[0].is_alive():
            _thread[:] = [threading.Thread(target=_work, name="shadow", daemon=True)]
            _thread[0].start()
        _changed.notify_all()


def go_on(workspace: Workspace) -> None:
    """Have challengers answer, later, what earlier servers left; of servers that start at once, one does."""
    later(_left(workspace))


def _left(workspace: Workspace) -> Iterator[None]:
    """Answer for the texts that champions answered and challengers in the shadow have not, job after job."""
    if not workspace.history.exists():
        return
    with (workspace.data / "shadow.lock").open("a") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another server is at it
        for job in aliases.jobs(workspace):
            if model := seen(job):
                left = job_history.unanswered(workspace, job.name, job.champion, model, job.since(model))
                yield from _texts(workspace, job, model, left)


def _texts(workspace: Workspace, job: Job, model: str, ids: Sequence[str]) -> Iterator[None]:
    """Answer for texts of the history; one job's trouble is logged and holds up no other."""
    try:
        for at in range(0, len(ids), PART):
            part = ids[at : at + PART]
            yield from parts(workspace, job, model, part, [history.reopen(workspace, name) for name in part])
    except MedbenchError as error:  # the challenger is gone, or the disk is full: it counts as still to come
        log.warning("An answer in the shadow for %s was left out: %s", job.alias, error)


def waiting() -> bool:
    """Return whether something is still to be answered unseen."""
    with _changed:
        return bool(_chains) or bool(_working[0])


def finish(seconds: float | None = None) -> bool:
    """Wait until all of it is answered, at most so long; return whether it is."""
    with _changed:
        return _changed.wait_for(lambda: not _chains and not _working[0], seconds)


def _work() -> None:
    while True:
        with _changed:
            _changed.wait_for(lambda: bool(_chains))
            steps = _chains.popleft()
            _working[0] = 1
        more = _step(steps)
        with _changed:
            _working[0] = 0
            if more:
                _chains.append(steps)
            _changed.notify_all()


def _step(steps: Iterator[None]) -> bool:
    """Do one step; return whether there are more. What goes wrong is logged: nobody waits for it."""
    try:
        next(steps)
    except StopIteration:
        return False
    except (MedbenchError, OSError) as error:  # the challenger, the file or the pictures are gone by now
        log.warning("An answer in the shadow was left out: %s", error)
        return False
    except Exception:  # on a thread of its own: logged whole, the next chain goes on
        log.exception("An answer in the shadow failed.")
        return False
    return True


def parts(
    workspace: Workspace, job: Job, model: str, ids: Sequence[str], items: Sequence[Item], kind: ItemKind = "text"
) -> Iterator[None]:
    """Answer for items with a challenger and keep that, `PART` items a step."""
    loaded = predicting.load_for(workspace, model, kind)
    for at in range(0, len(items), PART):
        until = time.monotonic() + _PATIENCE
        while predicting.others_at_work(loaded) and time.monotonic() < until:
            time.sleep(_LOOK)
        unseen = gathering.predict(loaded, items[at : at + PART])
        job_history.shadow(workspace, ids[at : at + PART], unseen, job.name)
        yield


def _copy(item: Item, to: Path) -> Item:
    path, facts = part_image(item.text)
    shutil.copyfile(path, to)
    return replace(item, text=join_image(str(to), facts))


def _of_copies(steps: Iterator[None], folder: Path) -> Iterator[None]:
    """Yield the steps, and delete the copied pictures behind the last one."""
    try:
        yield from steps
    finally:
        shutil.rmtree(folder, ignore_errors=True)
