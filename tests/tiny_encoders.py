"""Tiny encoders with random weights, saved to disk: the architectures people use, small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

# fmt: off
WORDS = [
    "the", "of", "and", "with", "patients", "heart", "liver", "tumour", "fever", "cough",
    "renal", "study", "group", "was", "after", "drug", "risk", "bone", "skin", "lung",
]
# fmt: on


def save_tiny(folder: Path, architecture: str = "bert", seed: int = 0) -> Path:
    """Save a 2-layer, 16-wide encoder and a WordPiece tokenizer of a few words and all letters; return the folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        DistilBertConfig,
        DistilBertModel,
        ElectraConfig,
        ElectraModel,
        RobertaConfig,
        RobertaModel,
    )

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    size = {"vocab_size": len(vocabulary), "pad_token_id": 0}
    bert = {**size, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    distil = {**size, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    if architecture == "bert":
        model = BertModel(BertConfig(**bert, max_position_embeddings=64))
    elif architecture == "roberta":
        model = RobertaModel(RobertaConfig(**bert, max_position_embeddings=66, bos_token_id=2, eos_token_id=3))
    elif architecture == "electra":
        model = ElectraModel(ElectraConfig(**bert, embedding_size=8, max_position_embeddings=64))
    else:
        model = DistilBertModel(DistilBertConfig(**distil, max_position_embeddings=64))
    model.save_pretrained(str(folder))
    return folder
