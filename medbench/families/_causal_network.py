"""The causal language model itself: loaded, given adapters, and wrapped so that it learns answers and scores labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import MedbenchError
from medbench.families import _adapters as adapters
from medbench.families import _networks as networks
from medbench.families._causal_prompts import Prompts
from medbench.families._causal_scoring import Reading, label_chances
from medbench.records import Device

if TYPE_CHECKING:
    import torch

    from medbench.families.causal import CausalOptions

IGNORED = -100


def load_lm(folder: Path, device: Device, quantize: str = "none", precision: str = "auto") -> Any:
    """Return the causal language model of a folder in evaluation mode on a device.

    float32 on a CPU; bfloat16 on a GPU that has it, unless `precision` asks otherwise; `quantize` packs its matrices
    into 8 or 4 bits (bitsandbytes; Dettmers et al. 2023), which needs CUDA.

    Raises:
        MedbenchError: When transformers cannot read it, or k-bit weights are asked for where they cannot be had.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    half = device.name != "cpu" and precision in ("auto", "bf16") and torch.cuda.is_bf16_supported()
    settings: dict[str, Any] = {"dtype": torch.bfloat16 if half else torch.float32}
    if quantize != "none":
        settings |= {"quantization_config": _packed(quantize, device), "device_map": {"": device.name}}
    with networks._quiet():
        try:
            lm: Any = AutoModelForCausalLM.from_pretrained(str(folder), **settings)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise MedbenchError(
                "a causal language model that transformers can read", f"{folder} ({said})", "Choose another base."
            ) from error
    return lm.eval() if quantize != "none" else lm.to(device.name).eval()


def _packed(quantize: str, device: Device) -> Any:
    from importlib.util import find_spec

    import torch
    import transformers

    if device.name == "cpu" or not find_spec("bitsandbytes"):
        raise MedbenchError(
            f"a CUDA device and the package bitsandbytes for {quantize} weights",
            "no CUDA device" if device.name == "cpu" else "no bitsandbytes",
            "Set quantize to none, or install bitsandbytes where a GPU is.",
        )
    config: Any = transformers.BitsAndBytesConfig
    if quantize == "8bit":
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def with_adapters(lm: Any, options: CausalOptions, base: str) -> Any:
    """Return the model frozen, with trainable low-rank adapters (float32) in its linear layers.

    Raises:
        MedbenchError: When the targets name no module of this architecture.
    """
    import peft

    if options.quantize != "none":
        prepare: Any = peft.prepare_model_for_kbit_training
        lm = prepare(lm, use_gradient_checkpointing=options.gradient_checkpointing)
    adapted = adapters.with_adapters(lm, adapters.lora_of(options), base)
    if options.gradient_checkpointing:
        adapted.enable_input_require_grads()
        adapted.activation_checkpointing_enable({"use_reentrant": False})
    return adapted


class _Forward:
    """What the wrapped model computes; joined with torch's Module in `causal_network`."""

    lm: Any
    prompts: Prompts
    reading: Reading
    width: int | None
    training: bool

    def forward(
        self,
        input_ids: torch.Tensor,
        targets: torch.Tensor,
        keep: torch.Tensor,
        position_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        asked: torch.Tensor | None = None,
        asked_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return "loss", the mean negative log-likelihood of the answers' tokens; given prompts, "logits" too.

        Args:
            input_ids: (n, length) prompts and answers.
            targets: (n, answer) the tokens to be predicted at the positions in `keep`; IGNORED fills.
            keep: (answer,) positions whose next token counts: no vocabulary is computed anywhere else.
            position_ids: (n, length); several counts from 0 in one row say that texts are packed.
            attention_mask: (n, length), None when packed.
            asked: (n, prompt) prompts to score labels for.
            asked_mask: Their mask.
            labels: (n, n_labels), the truth; not used here.

        Returns:
            "loss", and with `asked` the chances of the labels as "logits" (n, n_labels).
        """
        import torch
        from torch.nn import functional

        out = self.lm(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
            logits_to_keep=keep,
        )
        scores = out.logits.float().flatten(0, 1)
        loss = functional.cross_entropy(scores, targets.flatten(), ignore_index=IGNORED)
        if self.training or asked is None or asked_mask is None:
            return {"loss": loss}
        rows = [ids[mask.bool()].tolist() for ids, mask in zip(asked, asked_mask, strict=True)]
        chances, _ = label_chances(self.lm, rows, self.prompts.trie, self.reading, self.width)
        if self.prompts.wording.answer == "many":
            chances = chances[:, :-1]  # the last is "none of them"
        return {"loss": loss, "logits": torch.from_numpy(chances).to(loss.device)}


def causal_network(lm: Any, prompts: Prompts, reading: Reading, width: int | None) -> Any:
    """Return a torch module around a language model, with `forward` as above."""
    from torch import nn

    class CausalNetwork(_Forward, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lm, self.prompts, self.reading, self.width = lm, prompts, reading, width

    return CausalNetwork()


def merged_tensors(lm: Any) -> Mapping[str, torch.Tensor]:
    """Return the weights of a merged model by name on the CPU, a tied output layer left out."""
    state = {name: part.detach().cpu().contiguous() for name, part in lm.state_dict().items()}
    if lm.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state
