"""A tree of labels: what a label implies, and probabilities that agree with it.

A dataset may have one (`hierarchy.json` in its folder, written by `save`); a run copies it into its model's folder, so
that a model answers by the tree it was trained with. The leaves are labels. What stands above them is either a label
too, which then is true wherever one below it is, or a group: a name without examples, whose answer comes from below.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.records import AnswerKind, Truth
from medbench.workspace import read_json, undamaged, write_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FILE = "hierarchy.json"
VERSION = 1
_SHOWN = 5
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hierarchy:
    """A checked tree (or several) over the labels of a dataset.

    Attributes:
        labels: The dataset's labels in column order; those that the tree does not name stand alone.
        answer: Whether an item has "one" label or "many".
        parents: Node -> the node right above it; roots are not in it.
        names: What a user reads for a node that has others below it.
        source: Where it came from: a file's name, or "code tables".
        notes: What was left out when it was made, one sentence each.
    """

    labels: tuple[str, ...]
    answer: AnswerKind
    parents: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    def name_of(self, node: str) -> str:
        """Return what a user reads for a node that has others below it."""
        return self.names.get(node, node)

    def above(self, node: str) -> tuple[str, ...]:
        """Return the ancestors of a node, the nearest first."""
        found = []
        while node in self.parents:
            node = self.parents[node]
            found.append(node)
        return tuple(found)

    @cached_property
    def _column(self) -> dict[str, int]:
        return {label: at for at, label in enumerate(self.labels)}

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Node -> the nodes right below it, labels in column order."""
        held: dict[str, list[str]] = {}
        for node in sorted(self.parents, key=lambda one: (self._column.get(one, len(self._column)), one)):
            held.setdefault(self.parents[node], []).append(node)
        return held

    @cached_property
    def inner(self) -> tuple[str, ...]:
        """The nodes that are no labels, from the leaves up: a group stands after the groups inside it."""
        own = set(self.labels)
        return tuple(sorted((node for node in self.children if node not in own), key=self._order))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The nodes that get an answer of their own, from the leaves up.

        Where items have one label, a label with others below it is one: its column says "this and nothing finer".
        """
        return self.inner if self.answer == "many" else tuple(sorted(self.children, key=self._order))

    def _order(self, node: str) -> tuple[int, str]:
        return -len(self.above(node)), node

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The nodes with others below and none above, largest first."""
        tops = [node for node in self.children if node not in self.parents]
        return tuple(sorted(tops, key=lambda node: (-len(self.below(node)), node)))

    def below(self, node: str) -> list[int]:
        """Return the columns of the labels under a node, its own column first when it is a label."""
        found, waiting = [], [node]
        while waiting:
            one = waiting.pop()
            found += [self._column[one]] if one in self._column else []
            waiting += reversed(self.children.get(one, []))
        return found

    @cached_property
    def implied(self) -> csr_matrix:
        """(L, L + inner) float64, 1 where a label implies a node: the node is the label itself or stands above it."""
        from scipy.sparse import csr_matrix

        place = {node: at for at, node in enumerate((*self.labels, *self.inner))}
        pairs = [(at, place[node]) for at, label in enumerate(self.labels) for node in (label, *self.above(label))]
        rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(self.labels), len(place)))

    @cached_property
    def label_above(self) -> npt.NDArray[np.int64]:
        """(L,) the column of the nearest label above each label, -1 for none."""
        column = self._column
        nearest = [next((column[one] for one in self.above(label) if one in column), -1) for label in self.labels]
        return np.array(nearest, dtype=np.int64)

    @property
    def nests_labels(self) -> bool:
        """Whether a label stands above another one."""
        return bool((self.label_above >= 0).any())

    def closed(self, truth: Truth) -> Truth:
        """Return (n, L) bool with every label true that a true one implies; for "one" the array as it is.

        Where items have one label, the finest one stands for those above it.
        """
        if self.answer == "one" or not self.nests_labels:
            return truth
        inside = self.implied[:, : len(self.labels)]
        return np.asarray((truth.astype(np.float64) @ inside) > 0)

    def implied_counts(self, truth: Truth, decided: Truth) -> Floats:
        """Return (n, 3): how many nodes an item's true and decided labels both imply, the true ones, the decided ones.

        What hierarchical precision, recall and F1 are made of (Kiritchenko, Matwin, Nock & Famili 2006).
        """
        from scipy.sparse import csr_matrix

        true, said = ((csr_matrix(part, dtype=np.float64) @ self.implied).sign() for part in (truth, decided))
        counts = (true.multiply(said), true, said)
        return np.hstack([np.asarray(part.sum(axis=1)).reshape(-1, 1) for part in counts])

    def with_labels(self, labels: Sequence[str]) -> Hierarchy:
        """Return the tree for other labels of the same data; labels that it does not name stand alone."""
        return replace(self, labels=tuple(labels))

    @property
    def digest(self) -> str:
        """Eight letters that say "the same tree"; names and source do not enter."""
        told = json.dumps([self.labels, self.answer, sorted(self.parents.items())], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def as_csv(self) -> bytes:
        """Return it as the table that `hierarchy_reading` reads: child, parent."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([("child", "parent"), *self.parents.items()])
        return out.getvalue().encode()

    def facts(self) -> dict[str, Any]:
        """Return what a card says of it, JSON-ready."""
        depth = max((len(self.above(label)) for label in self.labels), default=0) + 1
        return {"source": self.source, "digest": self.digest, "groups": len(self.groups), "levels": depth}

    def outline(self, names: Mapping[str, str]) -> list[tuple[int, str, str]]:
        """Return (depth, node, what a user reads) of every node in the order of a printed tree; lone labels last."""
        lines: list[tuple[int, str, str]] = []
        waiting = [(0, node) for node in reversed(self.roots)]
        while waiting:
            depth, node = waiting.pop()
            lines.append((depth, node, names.get(node) or self.name_of(node)))
            waiting += [(depth + 1, child) for child in reversed(self.children.get(node, []))]
        placed = {node for _, node, _ in lines}
        return lines + [(0, label, names.get(label, label)) for label in self.labels if label not in placed]


# --- making one ------------------------------------------------------------------------------------------------


def build(
    labels: Sequence[str],
    answer: AnswerKind,
    pairs: Sequence[tuple[str, str]],
    *,
    names: Mapping[str, str] | None = None,
    label_names: Mapping[str, str] | None = None,
    source: str = "",
    leave_out: bool = False,
) -> Hierarchy:
    """Check pairs of a node and the node right above it, and make the tree.

    Args:
        labels: The dataset's labels.
        answer: Whether an item has "one" label or "many".
        pairs: (child, parent); a label may be written as its code or its name, upper and lower case alike.
        names: What a user reads for nodes that are no labels.
        label_names: What a user reads for labels.
        source: Where the pairs came from.
        leave_out: Leave out leaves that are no labels of the dataset, instead of refusing them.

    Raises:
        MedbenchError: A node has two parents or is its own ancestor, a leaf is no label, or no label is under a node.
    """
    known = _spellings(labels, label_names or {})
    placed = [(known.get(_plain(child), child.strip()), known.get(_plain(up), up.strip())) for child, up in pairs]
    parents = _one_parent_each([pair for pair in placed if all(pair)])
    _refuse_circles(parents)
    parents, notes = _only_labels(parents, labels, label_names or {}, leave_out)
    parents, more = _without_idle_roots(parents, labels)
    if not parents:
        raise MedbenchError(
            "a tree that puts labels under groups",
            "no label under any name",
            "Write one line for each label: label,group.",
        )
    told = {**(names or {}), **(label_names or {})}
    shown = {node: told[node] for node in sorted(set(parents.values())) if told.get(node, node) != node}
    lone = [label for label in labels if label not in parents and label not in parents.values()]
    if lone:
        more.append(f"{_counted(lone, 'label')} in no group: {_few(lone)}.")
    return Hierarchy(tuple(labels), answer, parents, shown, source, (*notes, *more))


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _spellings(labels: Sequence[str], label_names: Mapping[str, str]) -> dict[str, str]:
    """Return name or code without case -> code; codes win over names, and a name that two labels share is none."""
    held: dict[str, str] = {}
    shared = set()
    for label in labels:
        name = _plain(label_names.get(label, label))
        shared |= {name} if held.setdefault(name, label) != label else set()
    return {
        **{name: label for name, label in held.items() if name not in shared},
        **{_plain(one): one for one in labels},
    }


def _one_parent_each(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    parents: dict[str, str] = {}
    for child, parent in pairs:
        if child == parent:
            continue  # "A,A" is how some tables write a root
        if parents.setdefault(child, parent) != parent:
            raise MedbenchError(
                f"one parent for {child!r}",
                f"two, {parents[child]!r} and {parent!r}",
                "Keep one of them: with two, its items would count twice in what stands above both.",
            )
    return parents


def _refuse_circles(parents: Mapping[str, str]) -> None:
    fine: set[str] = set()
    for start in parents:
        path, node = [start], start
        while node in parents and node not in fine:
            node = parents[node]
            if node in path:
                circle = " under ".join(map(repr, [*path[path.index(node) :], node]))
                raise MedbenchError("a tree", f"a circle: {circle}", "Take one of these lines out.")
            path.append(node)
        fine.update(path)


def _only_labels(
    parents: dict[str, str], labels: Sequence[str], label_names: Mapping[str, str], leave_out: bool
) -> tuple[dict[str, str], list[str]]:
    """Take out branches that end in no label; refuse them unless they may be left out."""
    own, kept = set(labels), dict(parents)
    gone: list[str] = []
    while strays := sorted(set(kept) - set(kept.values()) - own):
        gone += strays
        for node in strays:
            del kept[node]
    if gone and not leave_out:
        readable = [*labels, *label_names.values()]
        near = get_close_matches(gone[0], readable, 1, 0.7)
        meant = f"did you mean {near[0]!r}?" if near else f"its labels are {_few(list(labels))}."
        raise MedbenchError(
            "labels of the dataset at the ends of the tree",
            f"{_few(gone)}, which {'is no label' if len(gone) == 1 else 'are no labels'} of it",
            f"Correct the spelling ({meant.rstrip('.')}), or ask for such names to be left out.",
        )
    return kept, [f"{_counted(gone, 'name')} without a label of this dataset left out: {_few(gone)}."] if gone else []


def _without_idle_roots(parents: dict[str, str], labels: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Take out a name above every label: it is true of every item and would only lift every figure."""
    kept, notes = dict(parents), list[str]()
    while True:
        tops = set(kept.values()) - set(kept)
        under = set(kept) | tops
        if len(tops) != 1 or not set(labels) <= under or tops & set(labels):
            return kept, notes
        root = tops.pop()
        kept = {node: parent for node, parent in kept.items() if parent != root}
        notes.append(f"{root!r} stands above every label, says nothing, and was left out.")


def _counted(found: Sequence[str], what: str) -> str:
    return f"{len(found):,} {what}{'s' if len(found) != 1 else ''}"


def _few(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return ", ".join(map(repr, found[:_SHOWN])) + more


# --- files -----------------------------------------------------------------------------------------------------


def save(folder: Path, tree: Hierarchy, **more: Any) -> None:
    """Write a tree into the folder of a dataset or a model; `more` goes into the same file."""
    told = {
        "labels": list(tree.labels),
        "answer": tree.answer,
        "parents": dict(tree.parents),
        "names": dict(tree.names),
        "source": tree.source,
        "notes": list(tree.notes),
    }
    write_json(folder / FILE, {"version": VERSION, **told, **more})


def load(folder: Path) -> Hierarchy | None:
    """Return the tree in a folder, None when there is none. Raises MedbenchError when its file is damaged."""
    if not (folder / FILE).exists():
        return None
    facts = read_json(folder / FILE)
    with undamaged(folder, "label tree"):
        labels, answer = tuple(facts["labels"]), facts["answer"]
        return Hierarchy(labels, answer, facts["parents"], facts["names"], facts["source"], tuple(facts["notes"]))


def remove(folder: Path) -> None:
    """Take the tree out of a folder; nothing happens when there is none."""
    (folder / FILE).unlink(missing_ok=True)
