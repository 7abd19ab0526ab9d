"""Labels scored by the likelihood of their tokens: the prompt is read once, the labels' tree is read on top of it.

All labels that share a beginning share its computation, and each step may only choose among tokens that lead to one.
So the probabilities of all labels sum to 1 over the tree, and a label that does not exist cannot get any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.families._causal_trie import Ids, Ints, Trie
from medbench.families._text_batches import sorted_batches

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
MOST_NAMED = 64


@dataclass(frozen=True)
class Reading:
    """How prompts are read: on which device, at most how many tokens at once, and which token fills."""

    device: str
    tokens: int
    pad_id: int
    terminators: Ids
    frame: tuple[int, int]


@dataclass
class _Branch:
    """What one row's search has in hand.

    `nodes` are to be read next, `chances` their log-probabilities, `seen` which tree tokens in the cache each may see.
    """

    nodes: Ints
    chances: Floats
    seen: npt.NDArray[np.bool_]


def label_chances(
    lm: Any, prompts: Sequence[Ids], trie: Trie, reading: Reading, width: int | None, only: Ints | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the chance of each label to be written first, and the mean hidden state of each text.

    Args:
        lm: A causal language model of transformers in evaluation mode.
        prompts: Token ids of each prompt.
        trie: The labels.
        reading: How prompts are read.
        width: At most this many beginnings are followed at each step (beam search over the tree); None follows all.
        only: Nodes to follow and no others, when few labels are asked about.

    Returns:
        (n, n_labels) float32 in [0, 1], rows sum to 1 when all is followed; labels not reached have 0.
        (n, d) float32, the mean over the text's tokens (over the prompt's for an empty text).
    """
    import torch

    chances = np.zeros((len(prompts), trie.n_labels), dtype=np.float32)
    pooled = np.zeros((len(prompts), lm.config.get_text_config().hidden_size), dtype=np.float32)
    wide = int(trie.inner.sum()) if only is None else len(only)
    extra = min(wide, 8 * width) if width else wide
    with torch.inference_mode():
        for rows in sorted_batches([len(ids) + extra for ids in prompts], reading.tokens, reading.device):
            chances[rows], pooled[rows] = _batch([prompts[row] for row in rows], lm, trie, reading, width, only)
    return chances, pooled


def left_padded(rows: Sequence[Ids], pad_id: int) -> tuple[Ints, Ints, Ints]:
    """Return token ids, mask and positions, each (n, longest) int64, filled on the left so that all ends meet."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for at, row in enumerate(rows):
        ids[at, longest - len(row) :] = row
        mask[at, longest - len(row) :] = 1
    return ids, mask, np.maximum(mask.cumsum(axis=1) - 1, 0)


def _batch(
    prompts: list[Ids], lm: Any, trie: Trie, reading: Reading, width: int | None, only: Ints | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    import torch
    from transformers import DynamicCache

    ids, mask, places = left_padded(prompts, reading.pad_id)
    cache = DynamicCache()
    read = lm(
        input_ids=torch.from_numpy(ids).to(reading.device),
        attention_mask=torch.from_numpy(mask).to(reading.device),
        position_ids=torch.from_numpy(places).to(reading.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        output_hidden_states=True,
    )
    pooled = _pooled(read.hidden_states[-1], prompts, reading.frame)
    found = np.full((len(prompts), trie.n_labels), -np.inf)
    root = np.zeros(1, dtype=np.int64)
    branches = [_Branch(root, np.zeros(1), np.zeros((1, 0), dtype=bool)) for _ in prompts]
    logits, depth, columns = read.logits[:, -1:], 0, 0
    while True:
        branches = [
            _step(branch, logits[row], trie, reading.terminators, found[row], width, only)
            for row, branch in enumerate(branches)
        ]
        most = max(len(branch.nodes) for branch in branches)
        if not most:
            return np.exp(found).astype(np.float32), pooled
        logits = _read_on(lm, branches, trie, cache, mask, places[:, -1] + 1 + depth, columns, most, reading)
        for branch in branches:
            own = np.eye(len(branch.nodes), most, dtype=bool)
            branch.seen = np.concatenate([branch.seen, own], axis=1)
        depth, columns = depth + 1, columns + most


def _pooled(states: torch.Tensor, prompts: list[Ids], frame: tuple[int, int]) -> npt.NDArray[np.float32]:
    before, after = frame
    rows = []
    for state, ids in zip(states, prompts, strict=True):
        start, end = len(ids) - before, after
        inside = state[-start : len(state) - end] if start > end else state[-len(ids) :]
        rows.append(inside.float().mean(0).cpu().numpy())
    return np.stack(rows)


def _step(
    branch: _Branch,
    logits: torch.Tensor,
    trie: Trie,
    terminators: Ids,
    found: Floats,
    width: int | None,
    only: Ints | None,
) -> _Branch:
    """Spread each node's chance over what may follow it; write down labels that ended; return what to read next."""
    nodes = branch.nodes
    if not len(nodes):
        return branch
    parents, children = trie.edges(nodes)
    ended = np.flatnonzero(trie.ends[nodes] >= 0)
    table = logits[: len(nodes)].float()
    chances = table[parents, trie.tokens[children]].double().cpu().numpy()
    stops = table[ended][:, terminators].double().logsumexp(1).cpu().numpy()
    total = np.full(len(nodes), -np.inf)
    np.logaddexp.at(total, parents, chances)
    np.logaddexp.at(total, ended, stops)
    found[trie.ends[nodes[ended]]] = branch.chances[ended] + stops - total[ended]
    onward = branch.chances[parents] + chances - total[parents]
    leaves = ~trie.inner[children]
    found[trie.ends[children[leaves]]] = onward[leaves]
    kept = np.flatnonzero(~leaves if only is None else ~leaves & np.isin(children, only))
    if width is not None and len(kept) > width:
        kept = kept[np.argsort(-onward[kept], kind="stable")[:width]]
    return _Branch(children[kept], onward[kept], branch.seen[parents[kept]])


def _read_on(
    lm: Any,
    branches: list[_Branch],
    trie: Trie,
    cache: Any,
    mask: Ints,
    places: Ints,
    columns: int,
    most: int,
    reading: Reading,
) -> torch.Tensor:
    """Read the next tokens of all rows at once; each sees its prompt and the tokens that led to it."""
    import torch

    n, length = mask.shape
    tokens = np.full((n, most), reading.pad_id, dtype=np.int64)
    sees = np.zeros((n, most, length + columns + most), dtype=bool)
    sees[:, :, :length] = mask[:, None, :].astype(bool)
    sees[:, np.arange(most), length + columns + np.arange(most)] = True
    for row, branch in enumerate(branches):
        tokens[row, : len(branch.nodes)] = trie.tokens[branch.nodes]
        sees[row, : len(branch.nodes), length : length + columns] = branch.seen
    lowest = torch.finfo(lm.dtype).min
    bias = torch.zeros(sees.shape, dtype=lm.dtype).masked_fill_(torch.from_numpy(~sees), lowest)
    where = np.repeat(places[:, None], most, axis=1)
    read = lm(
        input_ids=torch.from_numpy(tokens).to(reading.device),
        attention_mask=bias[:, None].to(reading.device),
        position_ids=torch.from_numpy(where).to(reading.device),
        past_key_values=cache,
        use_cache=True,
    )
    logits: torch.Tensor = read.logits
    return logits


def named_labels(
    lm: Any, prompt: Ids, trie: Trie, separator: Ids, reading: Reading, nothing: int | None
) -> list[tuple[int, float]]:
    """Write an answer greedily, label after label, never leaving the tree and never twice the same label.

    Returns:
        (label, mean probability of its tokens among all tokens), in the order written; empty for "none of them".
    """
    import torch
    from transformers import DynamicCache

    cache, named = DynamicCache(), list[tuple[int, float]]()
    used: set[int] = set()
    given, node, chances = prompt, 0, list[float]()
    with torch.inference_mode():
        while len(named) < min(MOST_NAMED, trie.n_labels):
            ids = torch.tensor([given], device=reading.device)
            read = lm(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            shares = read.logits[0, -1].float().softmax(0).cpu().numpy()
            after = [child for child in trie.children(node) if not _spent(trie, child, used)]
            best = max(after, key=lambda child: shares[trie.tokens[child]], default=None)
            token = None if best is None else int(trie.tokens[best])
            label = int(trie.ends[node])
            if label >= 0 and label not in used:
                stop = max(reading.terminators, key=lambda each: shares[each])
                if token is None or shares[stop] >= shares[token]:
                    used.add(label)
                    if label != nothing or not named:
                        named.append((label, float(np.mean(chances))))
                    if stop == reading.terminators[0] or label == nothing:
                        break
                    given, node, chances = separator, 0, []
                    continue
            if best is None or token is None:
                break
            chances.append(float(shares[token]))
            given, node = [token], best
    return [pair for pair in named if pair[0] != nothing]


def _spent(trie: Trie, node: int, used: set[int]) -> bool:
    """Return whether every label at or under a node was written already."""
    if trie.ends[node] >= 0 and int(trie.ends[node]) not in used:
        return False
    return all(_spent(trie, child, used) for child in trie.children(node))
