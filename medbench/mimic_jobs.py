"""A MIMIC database or its dataset being made in the background of this process: started, watched, stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medbench import mimic, mimic_dataset
from medbench.errors import MedbenchError, Stopped
from medbench.mimic import Order
from medbench.mimic_dataset import Wish
from medbench.workspace import Workspace

log = logging.getLogger("medbench.mimic_jobs")
UNEXPECTED = "The import met an error medbench did not expect. The details are in the log; nothing was left behind."


@dataclass
class MimicJob:
    """What is being made, shared by all pages and browsers of this process.

    Attributes:
        kind: "database" or "dataset".
        share: Share done, 0-1.
        sentence: What it does now.
        began: Unix time of the start.
        problem: Why it ended early, or None.
        database: The database, once it is there.
        dataset: Id of the dataset, once it is there.
        told: What was left out of the dataset.
        stopped: True when the user stopped it.
    """

    kind: Literal["database", "dataset"]
    share: float = 0.0
    sentence: str = "Looking at the folder."
    began: float = field(default_factory=time.time)
    problem: MedbenchError | str | None = None
    database: Path | None = None
    dataset: str = ""
    told: list[str] = field(default_factory=list)
    stopped: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """True while its thread works."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def can_stop(self) -> bool:
        """True for a database; a dataset is made in one go."""
        return self.kind == "database"

    def stop(self) -> None:
        """Ask it to stop; nothing is left behind."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def tell(self, share: float, sentence: str) -> None:
        """Note how far it is."""
        self.share, self.sentence = share, sentence

    def go(self, work: Callable[[], None]) -> None:
        """Do the work in a thread of its own."""

        def safely() -> None:
            try:
                work()
            except Stopped:
                self.stopped = True
            except MedbenchError as error:
                self.problem = error
            except OSError as error:
                self.problem = MedbenchError(
                    "files that can be read and written", str(error), "Free disk space, retry."
                )
            except Exception:  # the end of a thread: logged whole, told in one sentence
                log.exception("The MIMIC import failed.")
                self.problem = UNEXPECTED

        self._thread = threading.Thread(target=safely, name=f"mimic {self.kind}", daemon=True)
        self._thread.start()


_jobs: dict[Path, MimicJob] = {}
_lock = threading.Lock()


def current(workspace: Workspace) -> MimicJob | None:
    """Return the job of this workspace, at work or ended and not yet put away."""
    return _jobs.get(workspace.data)


def put_away(workspace: Workspace) -> None:
    """Forget an ended job."""
    with _lock:
        job = _jobs.get(workspace.data)
        if job is not None and not job.running:
            del _jobs[workspace.data]


def build(workspace: Workspace, order: Order, drop: bool) -> MimicJob:
    """Start to build a database. Raises MedbenchError when another job is at work."""
    job = MimicJob("database")

    def work() -> None:
        job.database = mimic.build(workspace, order, drop=drop, say=job.tell, stop=job._stop)[0]

    return _started(workspace, job, work)


def make_dataset(
    workspace: Workspace,
    database: Path,
    wish: Wish,
    name: str,
    clean_label: Callable[[str], str],
    label_name: Callable[[str], str],
) -> MimicJob:
    """Start to make a dataset of a database. Raises MedbenchError when another job is at work."""
    job = MimicJob("dataset", database=database)

    def work() -> None:
        made = mimic_dataset.to_dataset(
            workspace, database, wish, name=name, clean_label=clean_label, label_name=label_name, say=job.tell
        )
        job.told = made[1]
        job.dataset = made[0]

    return _started(workspace, job, work)


def _started(workspace: Workspace, job: MimicJob, work: Callable[[], None]) -> MimicJob:
    with _lock:
        before = _jobs.get(workspace.data)
        if before is not None and before.running:
            raise MedbenchError("one MIMIC import at a time", "another one at work", "Wait for it, or stop it.")
        _jobs[workspace.data] = job
        job.go(work)
    return job
