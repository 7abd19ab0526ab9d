"""Does LoRA on a small language model really learn? Loss and held-out figures before and after.

    python benchmarks/icd_lora.py [--data cancer codiesp] [--base smollm2] [--texts 400] [--judged 150] [--tokens 128]
    python benchmarks/icd_lora.py --speed [--base smollm2] [--device cuda:0] [--batch 16] [--tokens 512]

Data of $MEDBENCH_SHARED: cancer or not (800 abstracts; train and dev as given) and CodiEsp (English case reports, the
most frequent three-character ICD-10 categories as labels; train and dev as given). "before" is the base with the same
prompts and the same tree of labels, "after" is the tuned model; "keywords", "linear" and "how often in training" (every
text gets each label's share of the training texts) learnt from the same texts. Calibration and
thresholds come from a third of the `--judged` rows, figures from the rest. "loss" is nats a token of the right answer.

`--speed` trains for some steps on texts of mixed lengths and states tokens a second of prompts and answers (padding not
counted) and model-FLOPs utilisation, beside a plain loop of transformers and peft: float32 padding to the longest,
logits of all positions, no grouping by length.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medbench import metrics, trust
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families._causal_cost import lm_shape
from medbench.families.causal import FAMILY, CausalModel
from medbench.records import Device, Examples, Scores

SHARED = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data"
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16, from the makers' sheets


def cancer() -> tuple[Examples, Examples]:
    """Return train and dev rows of the cancer corpus."""
    with gzip.open(SHARED / "text/cancer_noncancer_train_dev.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = tuple(sorted({row["label"] for row in rows}))
    names = {"0": "not cancer", "1": "cancer"} if set(labels) == {"0", "1"} else {}
    return _parted(
        [(f"{row['title']}\n{row['abstract']}", {row["label"]}, row["split"]) for row in rows],
        labels,
        tuple(names.get(label, label) for label in labels),
        "one",
    )


def codiesp(n_labels: int) -> tuple[Examples, Examples]:
    """Return train and dev rows of CodiEsp with their most frequent three-character categories."""
    rows = [json.loads(line) for line in (SHARED / "icd/codiesp_train_dev.jsonl").open(encoding="utf-8")]
    found = [(row["text"], {code[:3].upper() for code in row["dx"]}, row["split"]) for row in rows]
    counts = Counter(code for _, codes, split in found if split == "train" for code in codes)
    labels = tuple(sorted(code for code, _ in counts.most_common(n_labels)))
    return _parted(found, labels, tuple(f"icd10cm:{label}" for label in labels), "many")


def _parted(rows: list[tuple[str, set[str], str]], keys: tuple[str, ...], labels: tuple[str, ...], answer: Any) -> Any:
    parts = []
    for name in ("train", "dev"):
        inside = [row for row in rows if row[2] == name]
        truth = np.array([[key in row[1] for key in keys] for row in inside], dtype=bool)
        parts.append(Examples([row[0] for row in inside], truth, labels, answer))
    return tuple(parts)


class Heard(Say):
    """Prints what a training says."""

    def __call__(self, kind: str, **fields: Any) -> None:
        """Print progress and validation figures."""
        super().__call__(kind, **fields)
        if kind in ("metric", "progress"):
            told = {key: value for key, value in fields.items() if key not in ("split", "gpu_memory", "rate")}
            print(f"    {kind} {told}", flush=True)


def answer_loss(model: CausalModel, examples: Examples) -> float:
    """Return the mean negative log-likelihood of an answer's token, in nats; labels by name, as no order is given."""
    import torch

    from medbench.families._causal_fit import aligned, causal_network

    network = causal_network(model.lm, model.prompts, None, None).eval()  # type: ignore[arg-type]
    lost, counted = 0.0, 0
    for asked, truth in zip(model.prompts.prompts(examples.items), examples.truth, strict=True):
        answer = model.prompts.written(np.flatnonzero(truth).tolist())
        batch = {name: torch.from_numpy(value) for name, value in aligned([asked], [answer], 0).items()}
        with torch.inference_mode():
            lost += float(network(**{key: value.to(model.lm.device) for key, value in batch.items()})["loss"]) * len(
                answer
            )
        counted += len(answer)
    return lost / counted


def judged(score: Callable[[list[str]], Scores], validation: Examples, test: Examples) -> str:
    """Return held-out figures in words; calibration and thresholds come from the validation rows."""
    rng = np.random.default_rng(0)
    held, raw = score(list(validation.items)), score(list(test.items))
    confidence = trust.fit_trust(held, validation.truth, test.answer, None, None, rng)
    found = confidence.calibrate(raw)
    decided = metrics.evaluate(test.truth, found, confidence.decide(found), answer=test.answer, rng=rng)
    # Ranks are of the scores as they are: calibration is by label and may change the order of labels.
    ranked = metrics.evaluate(test.truth, raw, confidence.decide(found), answer=test.answer, rng=rng)
    told = [decided["micro_f1"], decided["macro_f1"], *([ranked["map"]] if test.answer == "many" else [ranked["auc"]])]
    return ", ".join(f"{each.name} {each.value:.3f} ({each.low:.3f}–{each.high:.3f})" for each in told)


def learn(name: str, given: argparse.Namespace) -> None:
    """Tune on one corpus and print loss and figures before and after."""
    train, dev = cancer() if name == "cancer" else codiesp(given.labels)
    rng = np.random.default_rng(0)
    train = train.take(rng.permutation(len(train))[: given.texts])
    held = rng.permutation(len(dev))[: given.judged]
    validation, test = dev.take(held[: len(held) // 3]), dev.take(held[len(held) // 3 :])
    options = FAMILY.parse(
        {
            "base": given.base,
            "max_tokens": given.tokens,
            "epochs": given.epochs,
            "batch": given.batch,
            "accumulation": given.accumulation,
            "evals_per_epoch": given.looks,
            "best_by": "loss",
            "watched": 24,
            **({"instruction": "Predict the medical codes for the following text:"} if name == "codiesp" else {}),
            **({"learning_rate": given.rate} if given.rate else {}),
            **({"scoring": given.scoring} if given.scoring else {}),
            **({"order": given.order} if given.order else {}),
        }
    )
    print(f"{name}: {len(train)} texts to learn from, {len(validation)} for thresholds, {len(test)} judged", flush=True)
    for other in ("keywords", "linear"):
        print(f"  {other}: {judged(_peer(other, train, validation), validation, test)}", flush=True)
    usual = train.truth.mean(axis=0).astype(np.float32)
    print(
        f"  how often in training: {judged(lambda texts: np.tile(usual, (len(texts), 1)), validation, test)}",
        flush=True,
    )
    fitting = Fitting(np.random.default_rng(0), Device(given.device, given.memory), Heard())
    began = time.process_time()
    base = FAMILY.untuned(train, options, fitting)
    print(f"  before: loss {answer_loss(base, test):.3f}, {judged(base.scores, validation, test)}", flush=True)
    del base
    model = FAMILY.fit(train, validation, options, fitting)
    print(f"  after: loss {answer_loss(model, test):.3f}, {judged(model.scores, validation, test)}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  {time.process_time() - began:.0f} core-seconds, {peak:.1f} GB", flush=True)


def _peer(name: str, train: Examples, validation: Examples) -> Callable[[list[str]], Scores]:
    """Return what another family scores that learnt from the same texts."""
    family = get_family(name)
    return family.fit(train, validation, family.parse({}), Fitting(np.random.default_rng(0), Device(), Say())).scores


def speed(given: argparse.Namespace) -> None:
    """Time training steps, ours and plain."""
    import torch

    from medbench.families import _causal_fit as fit
    from medbench.families._training import LengthSampler

    device = Device(given.device, given.memory)
    train, _ = codiesp(given.labels)
    options = FAMILY.parse({"base": given.base, "max_tokens": given.tokens, "batch": given.batch})
    fitting = Fitting(np.random.default_rng(0), device, Say())
    folder = fit.obtain(fit.resolved(options.base, device))
    prompts = fit.prompts_for(folder, train, options)
    rng = np.random.default_rng(0)
    # Mixed lengths, as in practice: most texts are shorter than the longest.
    texts = [text[: int(rng.integers(200, max(len(text), 201)))] for text in train.items]
    asked, answers = prompts.prompts(texts), [prompts.written(np.flatnonzero(row).tolist()) for row in train.truth]
    config = json.loads((folder / "config.json").read_text())
    flops = 4 * lm_shape(config)["weights"]  # forward and backward to activations; frozen weights get no gradient
    sampler = LengthSampler([len(one) + len(other) for one, other in zip(asked, answers, strict=True)], given.batch, 0)
    orders = {"ours": list(sampler), "plain": rng.permutation(len(asked)).tolist()}
    for name, order in orders.items():
        lm = fit.with_adapters(fit.load_lm(folder, device, precision="auto"), options, "base")
        network = fit.causal_network(lm, prompts, None, None).train()  # type: ignore[arg-type]
        solver = torch.optim.AdamW([part for part in lm.parameters() if part.requires_grad], lr=1e-4)
        seconds, tokens = _steps(network, solver, order, asked, answers, prompts, given, plain=name == "plain")
        rate = tokens / seconds
        card = torch.cuda.get_device_name() if given.device != "cpu" else "cpu"
        peak = next((value for key, value in PEAK_FLOPS.items() if key in card), None)
        used = f", {rate * flops / peak:.1%} of {card}'s bf16 FLOPs" if peak else f" on {card}"
        print(f"{name}: {rate:,.0f} tokens/s{used}", flush=True)
        del lm, network, solver
    _ = fitting


def _steps(
    network: Any, solver: Any, order: list[int], asked: Any, answers: Any, prompts: Any, given: Any, *, plain: bool
) -> tuple[float, int]:
    import torch

    from medbench.families._causal_fit import aligned

    tokens, began = 0, 0.0
    for step in range(given.steps + 2):
        if step == 2:  # the first two warm up
            _wait(given.device)
            tokens, began = 0, time.perf_counter()
        rows = [order[(step * given.batch + at) % len(order)] for at in range(given.batch)]
        batch = aligned([asked[row] for row in rows], [answers[row] for row in rows], prompts.wording.pad_id)
        tokens += int(batch["attention_mask"].sum())
        moved = {key: torch.from_numpy(value).to(given.device) for key, value in batch.items()}
        half = given.device != "cpu"
        with torch.autocast(given.device.partition(":")[0], torch.bfloat16, enabled=half):
            loss = _plain_loss(network.lm, moved) if plain else network(**moved)["loss"]
        loss.backward()
        solver.step()
        solver.zero_grad()
    _wait(given.device)
    return time.perf_counter() - began, tokens


def _plain_loss(lm: Any, batch: dict[str, Any]) -> Any:
    targets = batch["input_ids"].clone()
    targets[:, : int(batch["keep"][0]) + 1] = -100
    return lm(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=targets).loss


def _wait(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["cancer", "codiesp"], choices=["cancer", "codiesp"])
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, default=1)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--judged", type=int, default=150)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--labels", type=int, default=40, help="Most frequent categories of CodiEsp.")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0, help="Learning rate; 0 for the usual one.")
    parser.add_argument("--looks", type=int, default=1, help="Looks at the validation rows per epoch.")
    parser.add_argument("--scoring", default="")
    parser.add_argument("--order", default="")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    if given.speed:
        speed(given)
        return
    for name in given.data:
        learn(name, given)


if __name__ == "__main__":
    main()
