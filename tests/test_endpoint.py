"""Served language models: a real server on this computer answers labels, prose or nothing, and every case ends well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import asked_text, by_words, completion, serving

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting
from medbench.families._endpoint_server import Place, address_host, check_place, is_loopback
from medbench.families.endpoint import FAMILY, EndpointModel
from medbench.records import Device, Examples
from medbench.workspace import read_json

# Looked for, not imported: every test process reads this file, and it takes seconds.
pytestmark = pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed")
CODES = ("icd10cm:E11.9", "icd10cm:I10", "icd10cm:K76")
BY_CODE = by_words({"diabetes": "E11.9", "pressure": "I10", "liver": "K76.0"})
NOTES = ["Diabetes. High blood pressure.", "A fatty liver.", "High blood pressure.", "Well."]
TRUTH = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=bool)


def notes(texts: list[str] = NOTES) -> Examples:
    return Examples(texts, TRUTH[: len(texts)], CODES, "many")


def fit(address: str, say: Say | None = None, few: Examples | None = None, folder: Any = None, **options: Any) -> Any:
    given = FAMILY.parse({"address": address, "timeout": 5, "retries": 0, **options})
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say(), folder)
    model = FAMILY.fit(few or notes(), notes(), given, fitting)
    assert isinstance(model, EndpointModel)
    return model


def test_codes_come_back_in_their_order_and_prose_marks_the_text_as_unanswered() -> None:
    def behave(body: dict[str, Any], number: int) -> tuple[int, Any]:
        return (200, "She seems to be well.") if "Well" in asked_text(body) else BY_CODE(body, number)

    with serving(behave) as server:
        model = fit(server.address)
        scores = model.scores([*NOTES, ""])
        assert scores.tolist() == [[1, 0.5, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]  # K76.0 counts as its K76
        assert model.unanswered([*NOTES, ""]).tolist() == [False, False, False, True, False]
        told = " ".join(model.notes())
        assert "Of 4 texts, 1 got no answer that can be read" in told
        asked = len(server.asked)
        assert f"It took {asked:,} questions, {100 * asked:,} tokens read and {7 * asked:,} written" in told
        model.scores(NOTES)
        assert len(server.asked) == asked  # nothing is asked twice


def test_what_is_no_code_never_comes_out() -> None:
    with serving(lambda body, number: (200, "E11.9, X99.ZZ, J18.9, DIABETES, I10 not present")) as server:
        model = fit(server.address)
        assert model.scores(["A note."]).tolist() == [[1, 0, 0]]
        told = " ".join(model.notes())
        assert "1 words in the place of a code that are in no table and 1 codes that the dataset does not have" in told


def test_a_model_that_writes_prose_is_told_before_anything_else_is_asked() -> None:
    with serving(lambda body, number: (200, "As a language model I cannot give medical advice.")) as server:
        with pytest.raises(MedbenchError) as caught:
            fit(server.address)
        assert "Expected ICD-10-CM codes in the answers of 'local', found others to 3 texts" in str(caught.value)
        assert "I cannot give medical advice" in str(caught.value)
        assert len(server.asked) == 3


def test_a_server_that_hangs_is_given_up_in_one_sentence() -> None:
    def hang(body: dict[str, Any], number: int) -> tuple[int, Any]:
        server.released.wait(20)
        return 200, "E11.9"

    with serving(hang) as server:
        began = time.monotonic()
        with pytest.raises(MedbenchError) as caught:
            fit(server.address, timeout=0.3, retries=1)
        assert str(caught.value).startswith(
            "Expected an answer from 127.0.0.1 within 0.3 seconds, found silence after 2 questions."
        )
        assert time.monotonic() - began < 15 and len(server.asked) == 2


def test_a_failure_is_asked_again_and_a_lasting_one_told() -> None:
    with serving(lambda body, number: (500, {"error": {"message": "busy"}}) if number == 1 else (200, "I10")) as server:
        model = fit(server.address, retries=1)
        assert model.scores(["A note."]).tolist() == [[0, 1, 0]]
        assert model.asking.spent.again == 1
    with serving(lambda body, number: (500, {"error": {"message": "out of memory"}})) as server:
        with pytest.raises(MedbenchError, match=r"a failure after 2 questions \(.*out of memory.*\)"):
            fit(server.address, retries=1)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "a key that the server at 127.0.0.1 takes, found no key"),
        (404, "a model called 'local' under"),
        (400, "a question that the server takes, found its refusal: .*wrong temperature"),
    ],
)
def test_what_asking_again_cannot_mend_is_not_asked_again(status: int, sentence: str) -> None:
    with serving(lambda body, number: (status, {"error": {"message": "wrong temperature"}})) as server:
        with pytest.raises(MedbenchError, match=sentence):
            fit(server.address, few=notes(NOTES[:1]), retries=3)
        assert len(server.asked) == 1


def test_no_server_and_a_server_that_speaks_otherwise() -> None:
    with pytest.raises(MedbenchError, match=r"a server at http://127\.0\.0\.1:9/v1, found nothing that answers there"):
        fit("http://127.0.0.1:9/v1")
    with serving(lambda body, number: (200, {"hello": "world"})) as server, pytest.raises(MedbenchError):
        fit(server.address)


def test_one_text_that_is_refused_does_not_end_the_others() -> None:
    def behave(body: dict[str, Any], number: int) -> tuple[int, Any]:
        if "liver" in asked_text(body):
            return 400, {"error": {"message": "maximum context length exceeded"}}
        return BY_CODE(body, number)

    with serving(behave) as server:
        model = fit(server.address, few=notes(NOTES[:1]))
        assert model.scores(NOTES).any(axis=1).tolist() == [True, False, True, False]
        assert model.unanswered(NOTES).tolist() == [False, True, False, False]


def test_token_probabilities_become_scores_where_the_server_gives_them() -> None:
    tokens = [(" E", -0.1), ("11", -0.2), (".9", -0.3), (",", -5.0), (" I", -1.0), ("10", -2.0)]

    def behave(body: dict[str, Any], number: int) -> tuple[int, Any]:
        return 200, completion("E11.9, I10", tokens if body.get("logprobs") else None)

    with serving(behave) as server:
        model = fit(server.address)
        assert model.asking.manner.scoring == "tokens"
        # The geometric mean over a label's own tokens: exp(-(0.1 + 0.2 + 0.3) / 3) and exp(-(1 + 2) / 2).
        assert model.scores(["A note."])[0] == pytest.approx([np.exp(-0.2), np.exp(-1.5), 0])
        assert "the mean probability of a label's tokens" in " ".join(model.notes())
    with serving(BY_CODE) as server:
        with pytest.raises(MedbenchError, match="token probabilities"):
            fit(server.address, scoring="tokens")
        assert fit(server.address).asking.manner.scoring == "rank"


def test_several_answers_become_shares() -> None:
    with serving(lambda body, number: (200, "E11.9, I10" if body.get("seed") == 0 else "E11.9")) as server:
        model = fit(server.address, samples=4)
        assert model.scores(["A note."])[0] == pytest.approx([1, 1 / 4, 0])
        assert {body["temperature"] for body in server.asked} == {0.7}


def test_examples_come_from_the_training_rows_and_are_shown_as_turns() -> None:
    with serving(BY_CODE) as server:
        model = fit(server.address, examples=2)
        shown = [text for text, _ in model.asking.question.examples]
        assert shown[0] == NOTES[0] and shown[1] == NOTES[1]  # most labels first, then what is still missing
        model.scores(["A note."])
        turns = server.asked[-1]["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
        assert turns[1]["content"] == "E11.9, I10" and turns[3]["content"] == "K76"
        assert turns[0]["content"].startswith("Name the ICD-10-CM codes") and "A note." in turns[4]["content"]
        assert "holds 2 training texts" in " ".join(model.notes())


def test_only_so_many_questions_are_under_way_and_a_stop_is_heard_between_them() -> None:
    say = Say()

    def slow(body: dict[str, Any], number: int) -> tuple[int, Any]:
        time.sleep(0.05)
        if number == 12:
            say.stop.set()
        return 200, "I10"

    with serving(slow) as server:
        model = fit(server.address, say, at_once=3)
        with pytest.raises(Stopped):
            model.scores([f"Note {number}." for number in range(200)])
        assert server.busiest == 3 and len(server.asked) < 40
        progress = [event for event in say.said if event["kind"] == "progress"]
        assert progress[-1]["steps"] == 200 and "tokens read" in progress[-1]["sentence"]


def test_a_run_that_goes_on_does_not_ask_again_and_keeps_no_text(tmp_path: Path) -> None:
    with serving(BY_CODE) as server:
        first = fit(server.address, folder=tmp_path).scores(NOTES)
        asked = len(server.asked)
        again = fit(server.address, folder=tmp_path)
        assert again.scores(NOTES).tolist() == first.tolist()
        assert len(server.asked) == asked + 2  # the check alone
        assert "liver" not in (tmp_path / "answers.jsonl").read_text()


def test_half_a_line_of_a_killed_run_costs_that_answer_alone(tmp_path: Path) -> None:
    with serving(BY_CODE) as server:
        first = fit(server.address, folder=tmp_path).scores(NOTES)
        kept = tmp_path / "answers.jsonl"
        kept.write_bytes(kept.read_bytes()[:-9])
        for more in (3, 2):  # the torn one is asked about once more, then no more; the check asks two
            asked = len(server.asked)
            assert fit(server.address, folder=tmp_path).scores(NOTES).tolist() == first.tolist()
            assert len(server.asked) == asked + more


def test_the_key_is_sent_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVER_KEY", "sesame-42")
    say = Say()
    with serving(BY_CODE) as server:
        model = fit(server.address, say, key_variable="MY_SERVER_KEY", folder=tmp_path)
        model.scores(NOTES)
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sesame-42"}
    model.save(tmp_path)
    kept = "".join(path.read_text() for path in tmp_path.iterdir()) + json.dumps(say.said) + " ".join(model.notes())
    assert "sesame" not in kept and read_json(tmp_path / "endpoint.json")["place"]["key_variable"] == "MY_SERVER_KEY"
    with serving(lambda body, number: (401, {"error": {"message": "wrong key sesame-42"}})) as server:
        with pytest.raises(MedbenchError) as caught:
            fit(server.address, key_variable="MY_SERVER_KEY")
        assert "sesame" not in str(caught.value) and "the key in MY_SERVER_KEY" in str(caught.value)
    with pytest.raises(MedbenchError, match="a key in the environment variable NOT_SET"):
        fit("http://127.0.0.1:9/v1", key_variable="NOT_SET")
    with pytest.raises(MedbenchError) as caught:
        FAMILY.parse({"key_variable": "sk-live-123"})
    assert "sk-live-123" not in str(caught.value) and "never the key itself" in str(caught.value)


def test_texts_stay_on_this_computer_unless_the_user_says_otherwise() -> None:
    far = Place("https://models.example.org/v1", "m")
    told = check_place(far)
    assert len(told) == 1 and "'models.example.org', to which the texts would be sent" in told[0]
    assert check_place(Place(far.address, "m", allow_remote=True)) == ()
    few = notes()
    outlook = FAMILY.estimate(few, FAMILY.parse({"address": "http://10.1.2.3/v1", "allow_remote": True}), Device())
    assert "The texts will be sent to 10.1.2.3: they leave this computer." in outlook.notes
    assert any("unencrypted" in note for note in outlook.notes)
    assert FAMILY.estimate(few, FAMILY.parse({"address": "http://10.1.2.3/v1"}), Device()).problems
    for here in ("localhost", "127.0.0.1", "127.8.8.8", "::1"):
        assert is_loopback(here)
    for there in ("0.0.0.0", "192.168.1.5", "localhost.example.org", "2001:db8::1"):
        assert not is_loopback(there)
    for wrong in ("127.0.0.1:8000/v1", "ftp://127.0.0.1", "http://", "http://user:pw@127.0.0.1/v1", "http://[::1"):
        with pytest.raises(MedbenchError):
            address_host(Place(wrong, "m"))


def test_neither_a_proxy_nor_a_redirection_leads_texts_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(BY_CODE) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.address.removesuffix("/v1"))
        with serving(BY_CODE) as server:
            assert fit(server.address).scores(NOTES[1:2]).tolist() == [[0, 0, 1]]
        away = {"headers": {"Location": f"{proxy.address}/chat/completions"}}
        with serving(lambda body, number: (307, away)) as server, pytest.raises(MedbenchError):
            fit(server.address)
        assert proxy.asked == []


def test_the_words_that_the_model_quotes_are_marked_and_nothing_else() -> None:
    with serving(BY_CODE) as server:
        model = fit(server.address)
        text = "Known DIABETES, diabetes mellitus.\nPressures normal."
        found = model.reasons(text, "icd10cm:E11.9")
        assert [text[span.start : span.end] for span in found.spans] == ["DIABETES", "diabetes"]
    assert model.reasons("Another text with diabetes.", "icd10cm:E11.9").spans == ()  # the server is gone by now


def test_an_answer_is_held_to_the_labels_by_the_server_when_asked_to() -> None:
    with serving(lambda body, number: (200, json.dumps({"codes": ["I10"]}))) as server:
        assert fit(server.address, hold="json_schema").scores(["A note."]).tolist() == [[0, 1, 0]]
        held = server.asked[-1]["response_format"]["json_schema"]
        assert held["schema"]["properties"]["codes"]["items"]["enum"] == ["E11.9", "I10", "K76"]


@pytest.mark.parametrize(
    ("release", "sentence"),
    [
        ("1.82.7", "a release of LiteLLM other than 1.82.7 and 1.82.8, which carried malware, found LiteLLM 1.82.7"),
        ("1.82.8", "found LiteLLM 1.82.8. Remove it, change every password"),
        ("", "Expected LiteLLM, which asks served models, found none installed. Install it: pip install"),
    ],
)
def test_compromised_releases_and_none_are_refused_before_a_line_of_them_runs(
    tmp_path: Path, release: str, sentence: str
) -> None:
    if release:
        facts = tmp_path / f"litellm-{release}.dist-info" / "METADATA"
        facts.parent.mkdir()
        facts.write_text(f"Metadata-Version: 2.1\nName: litellm\nVersion: {release}\n")
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it ran')")
    hide = "" if release else "import sys; sys.path[:] = [p for p in sys.path if not has(p)]\n"
    code = (
        "import glob\ndef has(p): return bool(glob.glob(p + '/litellm-*'))\n"
        "from medbench.families._endpoint_server import Place, Server, check_place\n"
        "from medbench.errors import MedbenchError\n"
        f"{hide}place = Place('http://127.0.0.1:9/v1', 'm')\nprint(check_place(place)[0])\n"
        "try: Server(place)\nexcept MedbenchError as error: print(error)\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1] and sentence in lines[0], done.stderr
