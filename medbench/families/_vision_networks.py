"""Picture networks: a timm base, attention and pooling over its last map, patient facts, and a head.

Every base, convolutional or transformer, ends in one feature map (n, C, h, w) that passes through `network.map`: what
explains a convolutional network explains a transformer the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from medbench.errors import MedbenchError

if TYPE_CHECKING:
    import torch

Attention = Literal["none", "se", "cbam"]
Pooling = Literal["average", "attention"]
Criterion = Callable[..., "torch.Tensor"]
"""Logits, truth and, while a teacher is followed, its scores (all (n, L)) -> the loss."""
_FACTS_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """What a picture network looks like, apart from its weights.

    Attributes:
        base: timm's name of the base.
        size: Side of the square the base is made for, pixels.
        n_labels: Number of labels.
        attention: Attention on the last map: none, squeeze-and-excitation (Hu 2018) or CBAM (Woo 2018).
        pooling: The map's mean, or the mean beside a mean weighted by learnt attention.
        multi_scale: Pool two earlier maps as well.
        n_facts: Numbers that stand for the patient's facts; 0 for none.
        dropout: Share of the head's inputs silenced, 0-1.
        batch_norm: Normalise the head's inputs over the batch.
    """

    base: str
    size: int
    n_labels: int
    attention: Attention = "none"
    pooling: Pooling = "average"
    multi_scale: bool = False
    n_facts: int = 0
    dropout: float = 0.2
    batch_norm: bool = True


def timm_base(name: str, size: int, *, pretrained: bool = False) -> Any:
    """Return a timm network without classifier for square pictures of `size` pixels.

    Raises:
        MedbenchError: timm does not know the name, cannot make it at this size, or its weights cannot be fetched.
    """
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:6]) or "tf_efficientnet_lite0, resnet50"
        raise MedbenchError("the name of a timm network", repr(name), f"Choose one such as: {near}.")
    attempts: tuple[dict[str, Any], ...] = ({"img_size": size}, {})
    for more in attempts:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **more)
        except TypeError:
            continue  # this architecture does not take these arguments
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            told = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
            raise MedbenchError(
                f"a network {name!r} for {size} × {size} pixels" + (" with ImageNet weights" if pretrained else ""),
                told,
                "Choose tf_efficientnet_lite0, another size, or set weights to random.",
            ) from error
    raise MedbenchError("a network that takes pictures", repr(name), "Choose another base.")


def picture_network(shape: Shape, base: Any, criterion: Criterion | None = None) -> Any:
    """Return a torch module over a timm base.

    `forward(pixels, facts, labels)` takes (n, 3, H, W) float32 in [0, 1], (n, n_facts) float32 or None, and (n, L)
    truth or None; it gives "logits" and, with labels, "loss". `pooled` gives the (n, d) vectors under the head.
    """
    import torch
    from torch import nn

    width = int(base.num_features)
    earlier = _earlier(base) if shape.multi_scale else []
    pooled_width = width * (2 if shape.pooling == "attention" else 1) + sum(count for _, count in earlier)

    class PictureNetwork(_Forward, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.shape, self.criterion = base, shape, criterion
            self.earlier = [index for index, _ in earlier]
            self.refine = _attention(shape.attention, width)
            self.map = nn.Identity()
            self.look = nn.Conv2d(width, 1, 1) if shape.pooling == "attention" else None
            facts = nn.Sequential(nn.Linear(shape.n_facts, _FACTS_WIDTH), nn.ReLU()) if shape.n_facts else None
            self.facts = facts
            inputs = pooled_width + (_FACTS_WIDTH if shape.n_facts else 0)
            norm = nn.BatchNorm1d(inputs) if shape.batch_norm else nn.Identity()
            self.head = nn.Sequential(norm, nn.Dropout(shape.dropout), nn.Linear(inputs, shape.n_labels))
            config = base.pretrained_cfg
            for name in ("mean", "std"):
                values = torch.tensor(config.get(name, (0.5, 0.5, 0.5)), dtype=torch.float32)
                self.register_buffer(name, values.view(1, 3, 1, 1))

    return PictureNetwork()


class _Forward:
    """What a picture network computes; joined with torch's Module in `picture_network`."""

    base: Any
    shape: Shape
    criterion: Criterion | None
    earlier: list[int]
    refine: Any
    map: Any
    look: Any
    facts: Any
    head: Any
    mean: torch.Tensor
    std: torch.Tensor

    def pooled(self, pixels: torch.Tensor, facts: torch.Tensor | None = None) -> torch.Tensor:
        """Return (n, d) vectors of (n, 3, H, W) pictures in [0, 1]."""
        import torch

        inputs = (pixels - self.mean) / self.std
        maps: list[torch.Tensor] = []
        if self.earlier:
            last, maps = self.base.forward_intermediates(inputs, indices=self.earlier, output_fmt="NCHW")
        else:
            last = self.base.forward_features(inputs)
        found = self.map(self.refine(as_map(last, self.base)))
        parts = [found.mean((2, 3))]
        if self.look is not None:
            weight = self.look(found).flatten(2).softmax(-1)
            parts.append((found.flatten(2) * weight).sum(-1))
        parts += [each.mean((2, 3)) for each in maps]
        if self.facts is not None:
            parts.append(self.facts(facts))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def forward(
        self,
        pixels: torch.Tensor,
        facts: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        soft: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return "logits" (n, L) and, given (n, L) float truth and perhaps a teacher's (n, L) scores, "loss"."""
        logits = self.head(self.pooled(pixels, facts))
        if labels is None or self.criterion is None:
            return {"logits": logits}
        given = (labels,) if soft is None else (labels, soft)
        return {"loss": self.criterion(logits.float(), *given), "logits": logits}


def as_map(features: torch.Tensor, base: Any) -> torch.Tensor:
    """Return a base's last features as (n, C, h, w): tokens become their grid, channels come second."""
    if features.ndim == 3:
        tokens = features[:, int(getattr(base, "num_prefix_tokens", 0)) :]
        side = round(int(tokens.shape[1]) ** 0.5)
        return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], side, -1)
    if getattr(base, "output_fmt", "NCHW") == "NHWC":
        return features.permute(0, 3, 1, 2)
    return features


def _earlier(base: Any) -> list[tuple[int, int]]:
    """Return (index, channels) of the two maps before the last one."""
    if not hasattr(base, "forward_intermediates") or not hasattr(base, "feature_info"):
        raise MedbenchError("a base with maps at several scales", type(base).__name__, "Set multi_scale to false.")
    info = base.feature_info
    channels = list(info.channels()) if hasattr(info, "channels") else [int(each["num_chs"]) for each in info]
    return [(at, int(channels[at])) for at in range(max(len(channels) - 3, 0), len(channels) - 1)]


def _attention(kind: Attention, width: int) -> Any:
    """Return squeeze-and-excitation (Hu et al. 2018), CBAM (Woo et al. 2018), or nothing."""
    import torch
    from torch import nn

    squeezed = max(width // 16, 8)

    class Channels(nn.Module):
        def __init__(self, with_max: bool) -> None:
            super().__init__()
            self.with_max = with_max
            self.weigh = nn.Sequential(nn.Linear(width, squeezed), nn.ReLU(), nn.Linear(squeezed, width))

        def forward(self, found: torch.Tensor) -> torch.Tensor:
            weight = self.weigh(found.mean((2, 3)))
            if self.with_max:
                weight = weight + self.weigh(found.amax((2, 3)))
            weighed: torch.Tensor = found * weight.sigmoid()[:, :, None, None]
            return weighed

    class Places(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weigh = nn.Conv2d(2, 1, 7, padding=3)

        def forward(self, found: torch.Tensor) -> torch.Tensor:
            seen = torch.cat([found.mean(1, keepdim=True), found.amax(1, keepdim=True)], dim=1)
            return found * torch.sigmoid(self.weigh(seen))

    if kind == "se":
        return Channels(with_max=False)
    return nn.Sequential(Channels(with_max=True), Places()) if kind == "cbam" else nn.Identity()
