"""Where everything lies on disk. A `Workspace` is passed in; nobody imports a path."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench.errors import MedbenchError

_log = logging.getLogger("medbench.workspace")
_SHIPPED = Path(__file__).resolve().parent.parent / "models"  # resolved once: lists of models ask for it a lot
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The two folders medbench works in.

    `data/` holds what users bring and do (datasets, runs, history); `models/` holds what runs leave.
    The environment variable MEDBENCH_HOME names the folder that holds both; without it, the current folder does.
    """

    data: Path
    models: Path

    @classmethod
    def here(cls, root: Path | None = None) -> Workspace:
        """Return the workspace under `root`, else under $MEDBENCH_HOME, else under the current folder."""
        base = (root or Path(os.environ.get("MEDBENCH_HOME") or ".")).resolve()
        return cls(data=base / "data", models=base / "models")

    @property
    def datasets(self) -> Path:
        """Folder of saved datasets, one folder each."""
        return self.data / "datasets"

    @property
    def runs(self) -> Path:
        """Folder of runs, one folder each."""
        return self.data / "runs"

    @property
    def history(self) -> Path:
        """Folder of prediction history, one JSONL file per process and day."""
        return self.data / "history"

    @property
    def reviews(self) -> Path:
        """Folder of reviews, one folder each; deleted ones lie in `.deleted` below it."""
        return self.data / "reviews"

    @property
    def simulations(self) -> Path:
        """Folder of simulated reviews, one folder each."""
        return self.data / "simulations"

    @property
    def mimic(self) -> Path:
        """Folder of MIMIC databases, one DuckDB file each."""
        return self.data / "mimic"

    @property
    def device_lock(self) -> Path:
        """The file whose flock a training holds while it uses the device."""
        return self.data / "device.lock"

    def dataset(self, dataset_id: str) -> Path:
        """Return the folder of a dataset. Raises MedbenchError when the id is not one."""
        return self.datasets / checked_id(dataset_id)

    def run(self, run_id: str) -> Path:
        """Return the folder of a run. Raises MedbenchError when the id is not one."""
        return self.runs / checked_id(run_id)

    @property
    def shipped(self) -> Path:
        """Folder of the starter models that come with the source tree; the same as `models` unless that was moved."""
        return _SHIPPED

    def model(self, model_id: str) -> Path:
        """Return the folder of a model, own before shipped. Raises MedbenchError when the id is not one."""
        own = self.models / checked_id(model_id)
        starter = self.shipped / model_id
        return starter if model_id.startswith("starter-") and not own.exists() else own

    def model_cards(self) -> list[Path]:
        """Return the card of every complete model, newest name first, shipped starters last."""
        found = self.models.glob("*/model.json") if self.models.exists() else ()
        own = [path for path in found if not path.parent.name.startswith(".")]  # hidden: still being written
        names = {path.parent.name for path in own}
        starters = [path for path in own if path.parent.name.startswith("starter-")]
        starters += [path for path in self.shipped.glob("starter-*/model.json") if path.parent.name not in names]
        runs = sorted((path for path in own if path not in starters), key=lambda path: path.parent.name, reverse=True)
        return [*runs, *sorted(starters, key=lambda path: path.parent.name)]


def cache_folder(name: str) -> Path:
    """Return a folder for what can be made again at any time and is the same for all workspaces (made when missing).

    It lies in $MEDBENCH_CACHE, else in the user's cache folder, else, when that cannot be written, in the workspace.

    Raises:
        MedbenchError: When none of them can be written.
    """
    named, standard = os.environ.get("MEDBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    user = Path(standard) / "medbench" if standard else Path("~/.cache/medbench").expanduser()
    for base in [Path(named)] if named else [user, Workspace.here().data / "cache"]:
        folder = base.resolve() / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise MedbenchError(
        "a cache folder that can be written", f"none (tried {base})", "Name one in the variable MEDBENCH_CACHE."
    )


def checked_id(text: str) -> str:
    """Return `text` if it can name a folder of ours (lower-case letters, digits, . _ -); else raise MedbenchError."""
    if not _ID.fullmatch(text) or ".." in text:
        raise MedbenchError(
            "an id of lower-case letters, digits, dots, dashes and underscores",
            repr(text),
            "Copy the id from the list.",
        )
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises MedbenchError when the file is torn or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MedbenchError(
            f"JSON in {path.name}", str(error), f"Restore or delete the folder {path.parent}."
        ) from error
    if not isinstance(value, dict):
        raise MedbenchError(f"a JSON object in {path.name}", type(value).__name__, f"Restore the folder {path.parent}.")
    return value


def read_cards(paths: Iterable[Path], needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read the cards that are whole, in order; a damaged one must not hide the others.

    Args:
        paths: Cards of datasets or models.
        needed: Keys without which a card is damaged.

    Returns:
        The cards. Each damaged one is left out and named in the log.
    """
    cards = []
    for path in paths:
        try:
            card = read_json(path)
        except (MedbenchError, FileNotFoundError):  # FileNotFoundError: deleted between the two looks
            card = {}
        if all(key in card for key in needed):
            cards.append(card)
        elif path.exists():
            _log.warning("%s is damaged and left out. Restore or delete the folder %s.", path.name, path.parent)
    return cards


@contextmanager
def undamaged(folder: Path, what: str, *more: type[Exception]) -> Iterator[None]:
    """Say in one sentence that a file of ours is torn or missing, whatever library was reading it.

    Args:
        folder: The folder that is read inside.
        what: "model", "dataset" or "run".
        more: Errors that mean damage beside those of Python's own readers.

    Raises:
        MedbenchError: In place of such an error.
    """
    torn = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)
    damage: tuple[type[Exception], ...] = (*torn, *more)
    try:
        yield
    except damage as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise MedbenchError(
            f"an undamaged {what} in {folder}",
            f"a file in it that cannot be read ({cause})",
            "Restore that folder, or delete it and make it again.",
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n", encoding="utf-8")


def file_mark(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file path beside `path`; on success it is renamed onto `path`, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
