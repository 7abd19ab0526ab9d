"""A prefix tree over the labels' tokens: what may be written next, so that no label can appear that does not exist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError

Ids = list[int]
Ints = npt.NDArray[np.int64]


class Trie:
    """Token paths of labels. Nodes stand in breadth-first order, the root first; a node's children are neighbours.

    Attributes:
        tokens: (n_nodes,) int64, the token that leads to each node; -1 for the root.
        first: (n_nodes + 1,) int64, the children of node i are nodes first[i] to first[i + 1] - 1.
        ends: (n_nodes,) int64, the label whose path ends at a node, else -1.
        n_labels: How many labels there are.
    """

    def __init__(self, paths: Sequence[Ids], names: Sequence[str] | None = None) -> None:
        """Take each label's tokens, and names to tell a clash in.

        Raises:
            MedbenchError: When two labels have the same tokens, or one has none.
        """
        self.n_labels = len(paths)
        tree: list[dict[int, int]] = [{}]
        ends: dict[int, int] = {}
        for label, path in enumerate(paths):
            at = 0
            for token in path:
                if token not in tree[at]:
                    tree[at][token] = len(tree)
                    tree.append({})
                at = tree[at][token]
            if at == 0 or at in ends:
                told = [names[each] if names else str(each) for each in (ends.get(at, label), label)]
                raise MedbenchError(
                    "labels that the base model's vocabulary can tell apart",
                    " and ".join(map(repr, dict.fromkeys(told))),
                    "Rename one of them, or choose another base.",
                )
            ends[at] = label
        self._lay_out(tree, ends)

    def _lay_out(self, tree: list[dict[int, int]], ends: dict[int, int]) -> None:
        order, tokens, first = [0], [-1], []
        for at in order:  # grows while it is read: breadth first
            first.append(len(order))
            for token, child in sorted(tree[at].items()):
                order.append(child)
                tokens.append(token)
        self.tokens: Ints = np.array(tokens, dtype=np.int64)
        self.first: Ints = np.array([*first, len(order)], dtype=np.int64)
        self.ends: Ints = np.array([ends.get(node, -1) for node in order], dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of nodes, the root included."""
        return len(self.tokens)

    @property
    def inner(self) -> npt.NDArray[np.bool_]:
        """(n_nodes,) bool, the nodes that have children: those a network must read to score all labels."""
        return np.diff(self.first) > 0

    def children(self, node: int) -> range:
        """Return the nodes that may follow a node."""
        return range(int(self.first[node]), int(self.first[node + 1]))

    def edges(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Return for all children of some nodes: the position of the parent in `nodes`, and the child node."""
        counts = np.diff(self.first)[nodes]
        parents = np.repeat(np.arange(len(nodes)), counts)
        ranks = np.arange(len(parents)) - np.repeat(np.cumsum(counts) - counts, counts)
        return parents, self.first[nodes][parents] + ranks

    def path(self, label: int) -> list[int]:
        """Return the nodes that lead to a label, the root left out."""
        parent = np.zeros(len(self), dtype=np.int64)
        for at in np.flatnonzero(self.inner):
            parent[self.first[at] : self.first[at + 1]] = at
        found: list[int] = []
        node = int(np.flatnonzero(self.ends == label)[0])
        while node:
            found.append(node)
            node = int(parent[node])
        return found[::-1]
