"""The running mean of a network's weights while it trains: it judges better than the weights of any single step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FILE = "average.safetensors"


class Average:
    """An exponential running mean of what learns (Polyak & Juditsky 1992), its first steps weighted like a plain mean.

    Running averages of batch norms are averaged as well when the whole network is kept.
    """

    def __init__(self, network: Any, steps: int, *, whole: bool) -> None:
        """Start from the network's present weights.

        Args:
            network: A torch module; it is looked at, and changed only inside `worn` and by `wear`.
            steps: Length of the mean in optimizer steps: an older step weighs 1 / e after so many.
            whole: Average every floating tensor of the network; else only the trainable ones.
        """
        self._network, self._whole = network, whole
        self._decay = 1 - 1 / max(steps, 2)
        self._seen = 0
        self._mean = {name: value.detach().clone() for name, value in self._live().items()}

    def _live(self) -> dict[str, torch.Tensor]:
        if self._whole:
            return {name: value for name, value in self._network.state_dict().items() if value.is_floating_point()}
        return {name: value for name, value in self._network.named_parameters() if value.requires_grad}

    def update(self) -> None:
        """Take the weights after an optimizer step into the mean."""
        import torch

        keep = min(self._decay, (1 + self._seen) / (10 + self._seen))
        self._seen += 1
        with torch.no_grad():
            for name, value in self._live().items():
                self._mean[name].lerp_(value.detach(), 1 - keep)

    def wear(self) -> None:
        """Put the mean into the network for good."""
        _copy(self._mean, self._live())

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Let the network carry the mean inside the block and its own weights again after it."""
        own = {name: value.detach().clone() for name, value in self._live().items()}
        self.wear()
        try:
            yield
        finally:
            _copy(own, self._live())

    def save(self, folder: Path) -> None:
        """Write the mean and how many steps it has seen; nothing is pickled."""
        from safetensors.torch import save_file

        state = {name: value.to("cpu").contiguous() for name, value in self._mean.items()}
        save_file(state, folder / FILE, metadata={"format": "pt", "steps": str(self._seen)})

    def load(self, folder: Path) -> None:
        """Go on from a mean that `save` wrote; a checkpoint without one leaves the mean as it is."""
        from safetensors import safe_open

        if not (folder / FILE).exists():
            return
        with safe_open(folder / FILE, framework="pt") as stored:
            self._seen = int((stored.metadata() or {}).get("steps", "0"))
            _copy({name: stored.get_tensor(name) for name in stored.keys()}, self._mean)  # noqa: SIM118 - no mapping


def _copy(source: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for name, value in source.items():
            target[name].copy_(value)
