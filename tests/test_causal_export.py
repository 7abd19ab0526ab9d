"""Language models leave medbench and are read again: adapter, merged folder, GGUF with the right tensors and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_causal import save_tiny_lm

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting
from medbench.families._causal_export import shared
from medbench.families._causal_network import load_lm
from medbench.families._causal_onnx import read_onnx, write_onnx
from medbench.families._causal_scoring import left_padded
from medbench.families._gguf import pre_tokenizer, read_gguf, write_gguf
from medbench.families.causal import FAMILY, CausalModel
from medbench.records import Device, Examples

TEXTS = ["fever and cough", "the liver of patients with tumour", "renal drug 250.00", ""]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: save_tiny_lm(folder / name, name, spread=0.1) for name in ("llama", "qwen2")}


@pytest.fixture(scope="module")
def tuned(bases: dict[str, Path]) -> CausalModel:
    truth = np.eye(3, dtype=bool)[[0, 1, 2, 0]]
    few = Examples(TEXTS, truth, ("icd10cm:R50", "icd10cm:K76.9", "icd10cm:N28"), "many")
    options = FAMILY.parse({"base": str(bases["llama"]), "epochs": 4, "learning_rate": 0.05, "max_tokens": 24})
    model = FAMILY.fit(few, few, options, Fitting(np.random.default_rng(0), Device(), Say()))
    assert isinstance(model, CausalModel)
    return model


@pytest.mark.parametrize("format", ["adapter", "merged", "onnx"])
def test_an_export_is_read_again_and_writes_the_same(tuned: CausalModel, tmp_path: Path, format: str) -> None:
    tuned.export(format, tmp_path)
    found = tuned.try_export(tmp_path, TEXTS)
    assert (found["format"], found["texts"], found["same"], found["shared"]) == (format, 4, 4, 1.0), found
    use = json.loads((tmp_path / "use.json").read_text())
    assert use["words"] == ["R50", "K76.9", "N28"] and "Possible labels" in use["before"]


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0"])
def test_gguf_holds_the_weights_under_its_own_names(tuned: CausalModel, tmp_path: Path, precision: str) -> None:
    import gguf

    tuned.export("gguf" if precision == "f16" else f"gguf-{precision}", tmp_path)
    reader = gguf.GGUFReader(str(tmp_path / "model.gguf"))
    facts = {key: field.contents() for key, field in reader.fields.items()}
    assert facts["general.architecture"] == "llama" and facts["llama.block_count"] == 2
    assert facts["llama.attention.head_count_kv"] == 2 and facts["tokenizer.ggml.pre"] == "smollm"
    assert facts["tokenizer.ggml.tokens"][:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert facts["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1] and facts["tokenizer.ggml.eos_token_id"] == 2
    assert "add_generation_prompt" in facts["tokenizer.chat_template"]
    assert len(reader.tensors) == 2 + 2 * 9  # tied: no output layer
    tensors, config, _, _ = read_gguf(tmp_path / "model.gguf")
    own = tuned.lm.state_dict()
    slack = {"f32": 1e-6, "f16": 2e-3, "q8_0": 2e-2}[precision]
    for name, value in tensors.items():
        assert value == pytest.approx(own[name].numpy(), abs=slack * max(1.0, float(own[name].abs().max()))), name
    assert config["num_key_value_heads"] == 2 and config["tie_word_embeddings"]


def test_a_written_gguf_computes_the_same_logits(bases: dict[str, Path], tmp_path: Path) -> None:
    """Names, the order of query and key, positions and norms: one slip in them would change the logits."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    base = bases["llama"]
    weights = {name: value.numpy() for name, value in load_file(base / "model.safetensors").items()}
    config, words = (json.loads((base / name).read_text()) for name in ("config.json", "tokenizer.json"))
    write_gguf(tmp_path / "m.gguf", weights, config, words, name="tiny", precision="f32")
    tensors, found, again, _ = read_gguf(tmp_path / "m.gguf")
    save_file({name: torch.from_numpy(value.copy()) for name, value in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(found))
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        one, other = (AutoModelForCausalLM.from_pretrained(str(at))(ids).logits for at in (base, tmp_path))
    assert torch.allclose(one, other, atol=1e-4)
    assert again["model"]["vocab"] == words["model"]["vocab"] and len(again["model"]["merges"]) > 20


def test_qwen2_keeps_the_order_of_its_rows_and_its_biases(bases: dict[str, Path], tmp_path: Path) -> None:
    import gguf
    from safetensors.torch import load_file

    base = bases["qwen2"]
    weights = {name: value.numpy() for name, value in load_file(base / "model.safetensors").items()}
    config, words = (json.loads((base / name).read_text()) for name in ("config.json", "tokenizer.json"))
    write_gguf(tmp_path / "m.gguf", weights, config, words, name="tiny", precision="f32")
    reader = gguf.GGUFReader(str(tmp_path / "m.gguf"))
    found = {each.name: each.data for each in reader.tensors}
    assert np.array_equal(found["blk.1.attn_q.weight"], weights["model.layers.1.self_attn.q_proj.weight"])
    assert np.array_equal(found["blk.0.attn_k.bias"], weights["model.layers.0.self_attn.k_proj.bias"])


def test_what_gguf_does_not_cover_is_refused_by_name(bases: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((bases["llama"] / "config.json").read_text())
    words = json.loads((bases["llama"] / "tokenizer.json").read_text())

    def write(**changed: Any) -> None:
        write_gguf(tmp_path / "m.gguf", {}, config | changed, words, name="x")

    with pytest.raises(MedbenchError, match="'gpt_neox'"):
        write(model_type="gpt_neox")
    with pytest.raises(MedbenchError, match=r"plain rotary positions for GGUF, found .*llama3"):
        write(rope_parameters={"rope_type": "llama3", "rope_theta": 1e4})
    with pytest.raises(MedbenchError, match=r"a way of cutting words that llama\.cpp knows"):
        pre_tokenizer({"pre_tokenizer": {"type": "Whitespace"}})
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}| ?\p{L}+"}}
    assert pre_tokenizer({"pre_tokenizer": {"pretokenizers": [split, {"type": "ByteLevel"}]}}) == "llama-bpe"
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}| ?\p{L}+"}}
    assert pre_tokenizer({"pre_tokenizer": {"pretokenizers": [split, {"type": "ByteLevel"}]}}) == "qwen2"


def test_a_folder_that_is_no_export_of_this_model_is_refused(tuned: CausalModel, tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match="a folder that medbench export wrote"):
        tuned.try_export(tmp_path, TEXTS)
    with pytest.raises(MedbenchError, match="--to adapter, merged"):
        tuned.export("docx", tmp_path)
    tuned.export("adapter", tmp_path)
    use = json.loads((tmp_path / "use.json").read_text())
    (tmp_path / "use.json").write_text(json.dumps(use | {"base_sha256": "0"}))
    with pytest.raises(MedbenchError, match="an export of this model, found one of another model"):
        tuned.try_export(tmp_path, TEXTS)


def test_llama_cpp_writes_what_the_model_writes(tuned: CausalModel, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    tuned.export("gguf-f32", tmp_path)
    found = tuned.try_export(tmp_path, TEXTS)
    assert found["same"] == found["tokens_same"] == 4, found


def test_without_llama_cpp_it_is_named(tuned: CausalModel, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("llama_cpp"):
        pytest.skip("llama.cpp is installed here")
    tuned.export("gguf", tmp_path)
    with pytest.raises(MedbenchError, match="pip install llama-cpp-python"):
        tuned.try_export(tmp_path, TEXTS)


def test_an_onnx_file_reads_rows_of_several_lengths_at_once(bases: dict[str, Path], tmp_path: Path) -> None:
    """The mask is written into the graph: what fills a row on the left changes nothing, here with Qwen2."""
    import torch

    lm = load_lm(bases["qwen2"], Device())
    write_onnx(lm, tmp_path / "m.onnx")
    file = read_onnx(tmp_path / "m.onnx")
    short, long = [5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 3]
    rows, mask, _ = left_padded([short, long], 0)
    found = file({"input_ids": rows, "attention_mask": mask})[0]
    with torch.no_grad():
        wanted = np.stack([lm(torch.tensor([ids])).logits[0, -1].numpy() for ids in (short, long)])
    assert found == pytest.approx(wanted, abs=1e-4)
    (tmp_path / "m.onnx").write_bytes(b"torn")
    with pytest.raises(MedbenchError, match=r"a whole ONNX file, found .*damaged"):
        read_onnx(tmp_path / "m.onnx")


def test_weights_that_one_onnx_file_cannot_hold_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match="a model whose weights fit one ONNX file"):
        write_onnx(load_lm(bases["llama"], Device()), tmp_path / "m.onnx", most_bytes=1000)
    assert not (tmp_path / "m.onnx").exists()


def test_how_far_two_answers_go_together() -> None:
    pairs = [([5, 6, 7], [5, 6, 7]), ([5, 6, 9, 9], [5, 6, 7]), ([], [5]), ([], [])]
    assert [shared(*pair) for pair in pairs] == [1.0, 2 / 4, 0.0, 1.0]
