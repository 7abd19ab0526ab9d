"""Against the server of llama-cpp-python, which speaks OpenAI's protocol: a tiny exported model is asked for labels."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from tiny_causal import save_tiny_lm

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting
from medbench.families.causal import FAMILY as CAUSAL
from medbench.families.endpoint import FAMILY, asking_for
from medbench.records import Device, Examples

NEEDED = ("litellm", "llama_cpp", "sse_starlette", "starlette_context", "pydantic_settings")
if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
    pytest.skip(f"no llama.cpp server, or nobody to ask it: {missing}", allow_module_level=True)

LABELS = ("fever", "cough", "liver")
TEXTS = ["fever and cough", "the liver of patients with tumour", "renal drug"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Export a tiny language model with random weights as GGUF and serve it; give the address."""
    folder = tmp_path_factory.mktemp("served")
    few = Examples(TEXTS, np.eye(3, dtype=bool), LABELS, "many")
    options = CAUSAL.parse({"base": str(save_tiny_lm(folder / "base")), "max_tokens": 24})
    model = CAUSAL.untuned(few, options, Fitting(np.random.default_rng(0), Device(), Say()))
    model.export("gguf-f32", folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--model", str(folder / "model.gguf"), "--model_alias", "tiny", "--port", str(port), "--n_ctx", "1024"]
    words += ["--logits_all", "true", "--n_threads", "1", "--host", "127.0.0.1"]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "llama_cpp.server", *words], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 90
        while server.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        assert server.poll() is None, (folder / "log.txt").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


def test_a_real_server_holds_a_random_model_to_the_labels_and_gives_their_chances(address: str) -> None:
    few = Examples(TEXTS, np.eye(3, dtype=bool), LABELS, "one")
    options = FAMILY.parse({"address": address, "model": "tiny", "hold": "json_object", "answer_tokens": 120})
    model = FAMILY.fit(few, few, options, Fitting(np.random.default_rng(0), Device(), Say()))
    assert model.asking.manner.scoring == "tokens"
    scores = model.scores(TEXTS)
    answered = ~model.unanswered(TEXTS)
    assert answered.any()
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.ptp(scores[answered], axis=1).min() > 0  # a label was named, with a chance
    assert model.asking.spent.read > 0 and model.asking.spent.wrote > 0


def test_random_weights_that_are_not_held_write_no_labels_and_that_is_told(address: str) -> None:
    few = Examples(TEXTS, np.eye(3, dtype=bool), LABELS, "one")
    options = FAMILY.parse({"address": address, "model": "tiny", "answer_tokens": 12})
    said = asking_for(options, LABELS, "one").ask(TEXTS[0], tokens=True)
    assert said.text and len(said.tokens) == said.wrote
    with pytest.raises(MedbenchError, match="labels in the answers of 'tiny', found others to 3 texts"):
        FAMILY.fit(few, few, options, Fitting(np.random.default_rng(0), Device(), Say()))
