"""The one error a user ever sees: what was expected, what was found, what to do."""

from __future__ import annotations

import errno


class MedbenchError(Exception):
    """A problem the user can solve, told in three parts.

    Every door tells it in its own way: the app shows the sentence, the command line prints it and exits with 2,
    the API answers 4xx with the three fields, the worker records it. Anything else that is raised is a bug.

    Attributes:
        expected: What the code needed, as a noun phrase ("a CSV file with a header row").
        found: What it got instead, with the value quoted ("an empty file 'a.csv'").
        todo: The next step, as an imperative sentence ("Export the search again and drop the new file.").
    """

    def __init__(self, expected: str, found: str, todo: str) -> None:
        """Store the three parts; the message joins them into one sentence and a next step."""
        self.expected = expected
        self.found = found
        self.todo = todo
        super().__init__(f"Expected {expected}, found {found}. {todo}")

    def __reduce__(self) -> tuple[type[MedbenchError], tuple[str, str, str]]:
        """Let it cross to another process (a cluster) with its three parts."""
        return type(self), (self.expected, self.found, self.todo)

    def parts(self) -> dict[str, str]:
        """Return the three parts as a JSON-ready mapping."""
        return {"expected": self.expected, "found": self.found, "todo": self.todo}


class OversizedError(MedbenchError):
    """What was given is sound but too large or too much at once; over HTTP that has a status of its own (413)."""


class MissingError(MedbenchError):
    """There is nothing of the name that was given (a model, a job); over HTTP that is status 404."""


class FullDiskError(MedbenchError):
    """There is no room to write; over HTTP that is status 507."""


class Stopped(Exception):  # noqa: N818 - it is an outcome, not an error
    """Raised inside a fit when the user cancelled and nothing usable exists yet."""


def full_disk(error: BaseException) -> FullDiskError | None:
    """Return what the user is told when the disk, or their share of it, is full; None for any other error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FullDiskError("room on the disk", "a full one", "Free some space, then try again.")
    return None
