"""Does an exported file write elsewhere what the model writes in transformers? Greedy answers, token by token.

    python benchmarks/icd_gguf.py [--base smollm2] [--prompts 20] [--tokens 64] [--formats gguf-f32 gguf gguf-q8_0 onnx]

The base as it is gets the prompts of a run (chat format, instruction, labels) for invented sentences about patients. An
answer is the same when all its tokens are, up to the end or to 24 tokens. It also counts the prompts that
llama.cpp's own tokenizer cuts into the same tokens, and says how much of an answer is the same before the first token
that is not. GGUF files are read by llama.cpp (needs llama-cpp-python), ONNX files by OpenVINO.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from medbench.events import Say
from medbench.families import Fitting
from medbench.families.causal import FAMILY
from medbench.records import Device, Examples

LABELS = ("icd10cm:E11.9", "icd10cm:I10", "icd10cm:J18.1", "icd10cm:K76.9", "icd10cm:N28.9")
WHO = ("A 67-year-old woman", "The patient, 8 years old,", "Mr. O’Neill (b. 1950)", "A man of 45 years", "She")
WHAT = (
    "was admitted with lobar pneumonia; temperature 39.4 °C, CRP 212 mg/L.",
    "has type 2 diabetes and high blood pressure (150/95 mmHg), no chest pain.",
    "complains of right upper abdominal pain;\n\n- ALT 3x normal\n- liver cyst of 12 mm",
    "shows a creatinine of 1.9 mg/dl, β-blocker stopped, follow-up in 2–3 weeks.",
)


def main() -> None:
    """Export, read again, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--formats", nargs="+", default=["gguf-f32", "gguf", "gguf-q8_0", "onnx"])
    given = parser.parse_args()
    texts = [f"{who} {what}" for who, what in product(WHO, WHAT)][: given.prompts]
    few = Examples(texts, np.zeros((len(texts), len(LABELS)), dtype=bool), LABELS, "many")
    options = FAMILY.parse({"base": given.base, "max_tokens": given.tokens})
    model = FAMILY.untuned(few, options, Fitting(np.random.default_rng(0), Device(), Say()))
    for format in given.formats:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            model.export(format, Path(folder))
            megabytes = sum(file.stat().st_size for file in Path(folder).glob("model.*")) / 1e6
            found = model.try_export(Path(folder), texts)
        print(
            f"{format} ({megabytes:.0f} MB), {found['program']}: {found['same']} of {found['texts']} answers the same, "
            f"{found['shared']:.0%} of an answer before a difference, {found['tokens_same']} prompts cut into the same "
            f"tokens; {time.monotonic() - began:.0f} s",
            flush=True,
        )
        for theirs, ours in found["different"]:
            print(f"    llama.cpp {theirs!r}\n    medbench  {ours!r}")


if __name__ == "__main__":
    main()
