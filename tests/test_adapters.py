"""Saved adapters that are torn, of another base or of another size are refused in one sentence, never half loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tiny_causal import save_tiny_lm

from medbench.errors import MedbenchError
from medbench.families import _adapters as adapters
from medbench.families._causal_network import load_lm
from medbench.families._training_options import AdapterOptions
from medbench.records import Device

WHOLE = "Expected a whole adapter for this base model, found "


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("bases") / "llama")


def adapted(base: Path, **options: Any) -> Any:
    return adapters.with_adapters(load_lm(base, Device()), adapters.lora_of(AdapterOptions(**options)), "tiny")


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an adapter whose every weight differs from what a new one begins with."""
    import torch

    network = adapted(base)
    with torch.no_grad():
        for name, part in network.named_parameters():
            if "lora_" in name:
                part.copy_(torch.randn_like(part))
    folder = tmp_path_factory.mktemp("saved")
    adapters.save_adapter(adapters.taken_out(network, "CAUSAL_LM"), folder)
    return folder


def test_what_was_saved_comes_back_whole(base: Path, saved: Path) -> None:
    tensors, config = adapters.read_adapter(saved)
    again, _ = adapters.taken_out(adapters.put_on(load_lm(base, Device()), (tensors, config), "CAUSAL_LM"), "CAUSAL_LM")
    assert set(again) == set(tensors) and all(np.array_equal(again[name], tensors[name]) for name in again)
    assert config["base_model_name_or_path"] == "tiny" and config["task_type"] == "CAUSAL_LM"


def test_targets_are_read_from_the_options() -> None:
    asked = {"auto": "all", "all": "all", " attention ": "attention", "q_proj, v_proj": ("q_proj", "v_proj")}
    for given, targets in asked.items():
        assert adapters.lora_of(AdapterOptions(lora_targets=given)).targets == targets
    with pytest.raises(ValueError, match="name at least one module"):
        AdapterOptions(lora_targets=" , ")


def test_attention_reaches_query_and_value_only(base: Path) -> None:
    tensors, config = adapters.taken_out(adapted(base, lora_targets="attention"), "CAUSAL_LM")
    assert config["target_modules"] == ["q_proj", "v_proj"] and len(tensors) == 2 * 2 * 2  # layers, modules, A and B
    with pytest.raises(MedbenchError, match=r"adapter targets that are modules of the base, found .*nowhere"):
        adapted(base, lora_targets="nowhere")


def test_an_adapter_that_lacks_weights_is_not_half_loaded(base: Path, saved: Path) -> None:
    tensors, config = adapters.read_adapter(saved)
    some = dict(list(tensors.items())[:-3])
    with pytest.raises(MedbenchError, match=WHOLE + "one that lacks 3 of its weights"):
        adapters.put_on(load_lm(base, Device()), (some, config), "CAUSAL_LM")
    name = next(iter(tensors))
    more = tensors | {name.replace("layers.0", "layers.7"): tensors[name]}
    with pytest.raises(MedbenchError, match=WHOLE + "one with 1 weights that have no place in it"):
        adapters.put_on(load_lm(base, Device()), (more, config), "CAUSAL_LM")


def test_an_adapter_of_another_size_or_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    wide = save_tiny_lm(tmp_path / "wide", width=64)
    adapter = adapters.read_adapter(saved)
    with pytest.raises(MedbenchError, match=WHOLE + "one whose weights do not fit it"):
        adapters.put_on(load_lm(wide, Device()), adapter, "CAUSAL_LM")
    strange = (adapter[0], adapter[1] | {"target_modules": ["query"]})
    with pytest.raises(MedbenchError, match=WHOLE + "one whose weights do not fit it"):
        adapters.put_on(load_lm(wide, Device()), strange, "CAUSAL_LM")


def test_torn_files_are_named(saved: Path, tmp_path: Path) -> None:
    def torn(name: str, content: bytes | None) -> Path:
        shutil.rmtree(tmp_path)
        shutil.copytree(saved, tmp_path)
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        return tmp_path

    half = (saved / adapters.ADAPTER_FILE).read_bytes()[:5000]
    with pytest.raises(MedbenchError, match=r"adapter_model\.safetensors of a saved adapter, found a damaged file"):
        adapters.read_adapter(torn(adapters.ADAPTER_FILE, half))
    for name in (adapters.ADAPTER_FILE, adapters.ADAPTER_CONFIG):
        with pytest.raises(MedbenchError, match=f"{name} of a saved adapter, found no such file".replace(".", r"\.")):
            adapters.read_adapter(torn(name, None))
    with pytest.raises(MedbenchError, match=r"JSON in adapter_config\.json"):
        adapters.read_adapter(torn(adapters.ADAPTER_CONFIG, b"{"))
    with pytest.raises(MedbenchError, match="found one without lora_alpha, target_modules"):
        adapters.read_adapter(torn(adapters.ADAPTER_CONFIG, json.dumps({"r": 8}).encode()))


def test_the_base_must_be_the_one_it_was_trained_on(base: Path, tmp_path: Path) -> None:
    card = {"base": "tiny", "base_sha256": adapters.weights_sha256(base)}
    assert adapters.own_base(card, lambda _: base) == base
    other = tmp_path / "other"
    shutil.copytree(base, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: part + 1 for name, part in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        MedbenchError, match="the base 'tiny' with the weights this adapter was trained on, found other"
    ):
        adapters.own_base(card, lambda _: other)
