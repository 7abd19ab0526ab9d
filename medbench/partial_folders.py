"""The folder that keeps answers beside the file they will be written to, so that a killed command can go on."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medbench.errors import MedbenchError

CHUNKS = "[0-9][0-9][0-9][0-9][0-9].npz"
"""How answered chunks are called."""
KEPT = "*.history.json"
"""How that is called which the history knows of them."""


@contextmanager
def folder_beside(out: Path, file: Path) -> Iterator[Path]:
    """Yield the folder that keeps the answers for `out` until it is written, `<out>.partial`, held by one process.

    Once `out` is written its chunks are removed; after a failure they stay, and so does what somebody else put there.

    Args:
        out: Where the labelled file will go.
        file: The file that is labelled.

    Raises:
        MedbenchError: `out` is a folder or the file itself, or another process is writing it.
    """
    if out.is_dir():
        raise MedbenchError("the name of a file to write", f"the folder {str(out)!r}", "Name a file inside it.")
    if out.exists() and file.exists() and out.samefile(file):
        raise MedbenchError(
            "another file to write than the one to read", repr(str(out)), "Choose another name, so that yours stays."
        )
    folder = out.with_name(f"{out.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "lock"
    with lock.open("a") as held:
        try:
            fcntl.flock(held.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MedbenchError(
                f"nobody else writing {out.name}", "another medbench that does", "Wait for it, or choose another name."
            ) from None
        written = False
        try:
            yield folder
            written = True
        finally:
            chunks = list(folder.glob(CHUNKS))
            if written or not chunks:
                for ours in [
                    *chunks,
                    *folder.glob(".*"),
                    *folder.glob(KEPT),
                    folder / "batch.json",
                    lock,
                ]:  # ".*": left by a kill
                    ours.unlink(missing_ok=True)
                if not any(folder.iterdir()):
                    folder.rmdir()
