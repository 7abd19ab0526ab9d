"""Text networks: a base encoder, its pooling and its head; what of it is saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.families._label_attention import label_attention
from medbench.families._text_batches import Chunks, padded_chunks, sorted_batches

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "cls"]
Head = Literal["pooled", "label_attention"]
Criterion = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
# Configuration names of the architectures: BERT, RoBERTa and ELECTRA; DistilBERT; ModernBERT.
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "mlp_dropout", "embedding_dropout")
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet"}


def load_backbone(folder: Path, dropout: float | None = None) -> Any:
    """Return the encoder of a folder in float32, without pooler, its attention dropout set to 0.

    Args:
        folder: A folder with config.json and weights.
        dropout: Hidden dropout, 0-1; None leaves the folder's own.

    Raises:
        MedbenchError: When transformers cannot read the folder.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    config = _configured(folder, dropout)
    with _quiet():
        try:
            backbone = AutoModel.from_pretrained(str(folder), config=config, dtype="float32")
        except (OSError, ValueError, SafetensorError) as error:
            raise _unreadable(folder, error) from error
    if hasattr(backbone, "pooler"):
        backbone.pooler = None
    return backbone


def empty_backbone(folder: Path) -> Any:
    """Return the encoder that a folder's config.json describes, with random weights, without pooler."""
    from transformers import AutoModel

    loader: Any = AutoModel
    backbone = loader.from_config(_configured(folder, None)).float()
    if hasattr(backbone, "pooler"):
        backbone.pooler = None
    return backbone


def _configured(folder: Path, dropout: float | None) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, error) from error
    # Attention dropout keeps torch from its fast attention: 2.6 against 3.6 s a step on two cores.
    for names, value in ((_ATTENTION_DROPOUT, 0.0), (_HIDDEN_DROPOUT, dropout)):
        for name in names:
            if value is not None and hasattr(config, name):
                setattr(config, name, value)
    return config


def _unreadable(folder: Path, error: Exception) -> MedbenchError:
    return MedbenchError(
        "a text encoder that transformers can read",
        f"{folder} ({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})",
        "Choose another base, or give the folder of a BERT, RoBERTa, DistilBERT or ELECTRA model.",
    )


class _quiet:  # noqa: N801 - used like a statement
    """Keeps transformers' loading bars and weight reports out of the log while a base is loaded."""

    def __enter__(self) -> None:
        self._logging = _transformers_logging()
        logging = self._logging
        self._bars, self._level = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        self._logging.set_verbosity(self._level)
        if self._bars:
            self._logging.enable_progress_bar()


def _transformers_logging() -> Any:
    from transformers.utils import logging

    return logging


def longest_input(config: dict[str, Any]) -> int:
    """Return the most tokens a base can read, special ones included."""
    positions = int(config.get("max_position_embeddings") or 10**6)
    reserved = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in _OFFSET_POSITIONS else 0
    return max(positions - reserved, 1)


class _Forward:
    """What a text network computes; joined with torch's Module in `text_network`."""

    backbone: Any
    head: Any
    drop: Any
    pooling: Pooling
    criterion: Criterion | None
    attends: bool

    def states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, chunks, tokens, d) token states of (n, chunks, tokens) ids; each chunk is read by itself.

        Chunks that a text does not have cost nothing; their states are 0.
        """
        n, chunks, tokens = input_ids.shape
        mask = attention_mask.reshape(n * chunks, tokens)
        there = mask.any(dim=1).nonzero()[:, 0]
        ids = input_ids.reshape(n * chunks, tokens)[there]
        found: torch.Tensor = self.backbone(input_ids=ids, attention_mask=mask[there]).last_hidden_state
        if len(there) < n * chunks:
            found = found.new_zeros((n * chunks, *found.shape[1:])).index_copy(0, there, found)
        return found.reshape(n, chunks, tokens, -1)

    def pool(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, d): the mean over all tokens that are not padding, or over the first tokens of the chunks."""
        if self.pooling == "cls":
            states, attention_mask = states[:, :, :1], attention_mask[:, :, :1]
        weight = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, d) text vectors of (n, chunks, tokens) ids."""
        return self.pool(self.states(input_ids, attention_mask), attention_mask)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, n_labels) logits of (n, chunks, tokens, d) states."""
        if self.attends:
            logits: torch.Tensor = self.head(self.drop(states.flatten(1, 2)), attention_mask.flatten(1))
        else:
            logits = self.head(self.drop(self.pool(states, attention_mask)))
        return logits

    def answers(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, d + n_labels): the text vectors and beside them the logits, of one reading."""
        import torch

        states = self.states(input_ids, attention_mask)
        return torch.cat([self.pool(states, attention_mask), self.judge(states, attention_mask)], dim=1)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return "logits" (n, n_labels) and, given (n, n_labels) float truth, "loss"."""
        logits = self.judge(self.states(input_ids, attention_mask), attention_mask)
        if labels is None or self.criterion is None:
            return {"logits": logits}
        return {"loss": self.criterion(logits.float(), labels), "logits": logits}


def text_network(
    backbone: Any,
    n_labels: int,
    pooling: Pooling,
    dropout: float = 0.0,
    criterion: Criterion | None = None,
    head: Head = "pooled",
) -> Any:
    """Return a torch module: backbone, pooling, dropout, `head` (linear, or label attention), and what they compute."""
    from torch import nn

    width = int(backbone.config.hidden_size)
    top = label_attention(width, n_labels) if head == "label_attention" else nn.Linear(width, n_labels)

    class TextNetwork(_Forward, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.pooling, self.criterion = backbone, pooling, criterion
            self.drop = nn.Dropout(dropout)
            self.head, self.attends = top, head == "label_attention"

    return TextNetwork()


def trained_state(network: Any) -> dict[str, torch.Tensor]:
    """Return the trainable parameters by name, on the CPU: all that a checkpoint of this network needs."""
    return {
        name: parameter.detach().to("cpu").contiguous()
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


def whole_state(network: Any) -> dict[str, torch.Tensor]:
    """Return every tensor of a network by name, running averages too, on the CPU."""
    return {name: value.detach().to("cpu").contiguous() for name, value in network.state_dict().items()}


def read_texts(
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    width: int,
    texts: Sequence[Chunks],
    pad_id: int,
    device: str,
    tokens: int,
) -> npt.NDArray[np.float32]:
    """Return (n, width) float32 of what a network computes of texts, in their order, computed in sorted batches.

    Args:
        compute: `pooled` or `answers` of a text network in evaluation mode on `device`.
        width: Columns of what it returns.
        texts: Token ids of each text, chunk by chunk.
        pad_id: The token that fills.
        device: Torch device name.
        tokens: At most this many padded tokens a batch on a CPU.
    """
    import torch

    out = np.zeros((len(texts), width), dtype=np.float32)
    with torch.inference_mode():
        for rows in sorted_batches([len(text) * max(map(len, text)) for text in texts], tokens, device):
            matrix, mask = padded_chunks([texts[row] for row in rows], pad_id)
            found = compute(torch.from_numpy(matrix).to(device), torch.from_numpy(mask).to(device))
            out[rows] = found.float().cpu().numpy()
    return out


def label_shares(network: Any, chunks: Chunks, pad_id: int, device: str, column: int) -> npt.NDArray[np.float32]:
    """Return (tokens,) float32 what each token of a text, chunks in a row, adds to a label's logit by its attention."""
    import torch

    matrix, mask = (torch.from_numpy(part).to(device) for part in padded_chunks([chunks], pad_id))
    with torch.inference_mode():
        states = network.states(matrix, mask)[mask.bool()]
        shares: npt.NDArray[np.float32] = network.head.shares(states, column).float().cpu().numpy()
    return shares


def probabilities(logits: npt.NDArray[np.float32], answer: str) -> npt.NDArray[np.float32]:
    """Return sigmoids ("many") or softmax rows ("one") of (n, n_labels) logits."""
    if answer == "one":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        ratio: npt.NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return ratio
    half: npt.NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
    return half
