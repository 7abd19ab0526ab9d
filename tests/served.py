"""A small real HTTP server that speaks as OpenAI's does, and behaves as told: labels, prose, silence, failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[dict[str, Any], int], tuple[int, Any]]
"""The request's body and its number from 1 -> the HTTP status and the answer: its text, or a body of one's own."""


class Served:
    """What a server was asked.

    Attributes:
        asked: The bodies of all requests.
        headers: Their headers.
        busiest: How many were under way at the same time at most.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busiest = self.under_way = 0
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.address = ""


@contextmanager
def serving(behave: Behaviour):
    """Serve on a free port of this computer while the block runs; give what was asked."""
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(body)
                state.headers.append(dict(self.headers))
                number = len(state.asked)
                state.under_way += 1
                state.busiest = max(state.busiest, state.under_way)
            try:
                status, said = behave(body, number)
                self._send(status, said if isinstance(said, dict) else completion(said))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the asker went away
            finally:
                with state.lock:
                    state.under_way -= 1

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in body.pop("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()


def completion(text: str, tokens: list[tuple[str, float]] | None = None) -> dict[str, Any]:
    """Return the body of an answer; with tokens, also their log-probabilities."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if tokens is not None:
        listed = [{"token": token, "logprob": chance, "top_logprobs": []} for token, chance in tokens]
        choice["logprobs"] = {"content": listed}
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def asked_text(body: dict[str, Any]) -> str:
    """Return the text that a request is about."""
    return str(body["messages"][-1]["content"]).rpartition("Text:\n")[2].rpartition("\n\n")[0]


def by_words(words: dict[str, str], otherwise: str = "none") -> Behaviour:
    """Answer with the labels whose words stand in the text, in the order of the text; quote the word when asked to."""

    def behave(body: dict[str, Any], number: int) -> tuple[int, Any]:
        text = asked_text(body).lower()
        found = sorted((text.find(word), word) for word in words if word in text)
        if "Copy from" in body["messages"][0]["content"]:
            return 200, "\n".join(word for _, word in found) or "none"
        one = "exactly one" in body["messages"][0]["content"]
        return 200, ", ".join(words[word] for _, word in found[: 1 if one else None]) or otherwise

    return behave
