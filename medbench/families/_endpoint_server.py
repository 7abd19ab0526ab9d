"""One question to a served model and its answer: address, time-out, retries and failures, each told in one sentence.

LiteLLM carries the questions. It is an extra, imported when the first question is asked, and kept from calling anywhere
but the address it is given.
"""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from medbench.errors import MedbenchError, Stopped

Messages = Sequence[dict[str, str]]
COMPROMISED = ("1.82.7", "1.82.8")
"""Releases of LiteLLM of March 2026 that carried malware; nothing of them is imported."""
INSTALL = 'Install it: pip install --constraint constraints.txt "medbench[endpoint]".'
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds before a question is asked again; doubled each time
_TOLD = 200  # characters of a server's own words that are passed on
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# Else LiteLLM fetches price lists and headers from the internet, and reads an .env file of the current folder.
_AT_HOME = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


@dataclass(frozen=True)
class Place:
    """Where a model is served and how it is asked.

    Attributes:
        address: Base address of the server, such as http://127.0.0.1:8000/v1.
        model: What the server calls the model.
        key_variable: Environment variable that holds the server's key; empty when it needs none.
        allow_remote: True when texts may leave this computer.
        timeout: Seconds to wait for one answer.
        retries: How often a failed question is asked again.
    """

    address: str
    model: str
    key_variable: str = ""
    allow_remote: bool = False
    timeout: float = 60.0
    retries: int = 2


@dataclass(frozen=True)
class Written:
    """What a server wrote to one question.

    Attributes:
        text: The answer.
        tokens: Each token with its log-probability; empty when the server gives none.
        read: Tokens of the question, 0 when not reported.
        wrote: Tokens of the answer, 0 when not reported.
        cost: US dollars, None when not reported.
        again: How often it was asked again.
    """

    text: str
    tokens: tuple[tuple[str, float], ...] = ()
    read: int = 0
    wrote: int = 0
    cost: float | None = None
    again: int = 0


class Refused(Exception):  # noqa: N818 - an outcome that the asker handles
    """The server understood a question and will not answer it as asked (HTTP 4xx); carries its own words."""


def check_place(place: Place) -> tuple[str, ...]:
    """Return what stands against asking a server, each one sentence; asks nothing."""
    told = []
    for check in (installed, address_host, _may_leave, key):
        try:
            check(place)
        except MedbenchError as error:
            told.append(str(error))
    return tuple(dict.fromkeys(told))


def installed(place: Place | None = None) -> str:
    """Return the version of LiteLLM without importing it. Raises MedbenchError when absent or compromised."""
    try:
        found = version("litellm")
    except PackageNotFoundError:
        raise MedbenchError("LiteLLM, which asks served models", "none installed", INSTALL) from None
    if found in COMPROMISED:
        raise MedbenchError(
            f"a release of LiteLLM other than {' and '.join(COMPROMISED)}, which carried malware",
            f"LiteLLM {found}",
            "Remove it, change every password and key that this computer held, and install another release.",
        )
    return found


def address_host(place: Place) -> str:
    """Return the host of an address. Raises MedbenchError when it is no address of a server, or holds a password."""
    try:
        parts = urlsplit(place.address.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.username or parts.password:
        raise MedbenchError(
            "an address without a name or password in it",
            "one with them",
            "Put the key into an environment variable and name that (key variable).",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise MedbenchError(
            "the address of a server, such as http://127.0.0.1:8000/v1", repr(place.address), "Correct the address."
        )
    return host


def is_loopback(host: str) -> bool:
    """Return whether a host is this computer."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _may_leave(place: Place) -> None:
    host = address_host(place)
    if not is_loopback(host) and not place.allow_remote:
        raise MedbenchError(
            "a server on this computer (127.0.0.1 or localhost)",
            f"{host!r}, to which the texts would be sent",
            "If the texts may leave this computer, switch that on (allow_remote, --allow-remote).",
        )


def is_variable(name: str) -> bool:
    """Return whether a word can be the name of an environment variable with a key, and is not the key itself."""
    return not name or _VARIABLE.fullmatch(name) is not None


def key(place: Place) -> str:
    """Return the server's key from the environment. Raises MedbenchError when the variable named is empty or unset."""
    if not place.key_variable:
        return "none"
    found = os.environ.get(place.key_variable, "").strip()
    if not found:
        raise MedbenchError(
            f"a key in the environment variable {place.key_variable}",
            "none",
            f"Set it before medbench starts: export {place.key_variable}=...",
        )
    return found


@cache
def _litellm() -> Any:
    """Import LiteLLM so that it fetches nothing, reports nothing and prints nothing."""
    installed()
    os.environ.update(_AT_HOME)
    try:
        import litellm
    except ImportError as error:
        raise MedbenchError("LiteLLM, which asks served models", f"one that does not start: {error}", INSTALL) from None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    for heard in ("callbacks", "success_callback", "failure_callback", "input_callback"):
        setattr(litellm, heard, [])
    return litellm


class Server:
    """Asks one served model. Threads may share it."""

    def __init__(self, place: Place, stop: threading.Event | None = None) -> None:
        """Check the place and open nothing yet.

        Raises:
            MedbenchError: LiteLLM is absent or compromised, the address is none, remote without leave, or lacks a key.
        """
        self.place = place
        self.stop = stop or threading.Event()
        self.host = address_host(place)
        _may_leave(place)
        self._key = key(place)
        self._litellm = _litellm()
        self._client = self._open()

    def _open(self) -> Any:
        import openai

        # A proxy named in the environment must not see what is meant for this computer, and a server on it must not
        # send the texts on to another one.
        web = openai.DefaultHttpxClient(trust_env=not is_loopback(self.host), follow_redirects=False)
        return openai.OpenAI(api_key=self._key, base_url=self.place.address, max_retries=0, http_client=web)

    def ask(self, messages: Messages, **settings: Any) -> Written:
        """Ask once, and again after a pause when the server is busy, fails or is silent.

        Args:
            messages: Role and content of each turn.
            settings: What else is passed on: temperature, max_tokens, seed, logprobs, ...

        Raises:
            Refused: The server refuses the question itself (HTTP 4xx).
            MedbenchError: It is silent or fails each time, refuses the key, has no such model, or is no such server.
            Stopped: When the user stopped meanwhile.
        """
        for turn in range(self.place.retries + 1):
            if self.stop.is_set():
                raise Stopped
            try:
                return self._once(messages, turn, settings)
            except Exception as error:  # noqa: BLE001 - every failure of a server becomes one sentence
                told = self._told(error)
                if told is not None:
                    raise told from None
                if turn == self.place.retries:
                    raise self._given_up(error) from None
                self.stop.wait(_pause(error, turn))
        raise AssertionError("unreachable")

    def _once(self, messages: Messages, turn: int, settings: dict[str, Any]) -> Written:
        answer = self._litellm.completion(
            model=f"openai/{self.place.model}",
            messages=list(messages),
            client=self._client,
            api_key=self._key,
            api_base=self.place.address,
            timeout=self.place.timeout,
            max_retries=0,
            **settings,
        )
        try:
            choice = answer.choices[0]
            text = choice.message.content
        except (AttributeError, IndexError, TypeError):
            raise Refused("an answer without a message") from None
        usage = getattr(answer, "usage", None)
        cost = getattr(usage, "cost", None) or (getattr(answer, "_hidden_params", None) or {}).get("response_cost")
        return Written(
            text or "",
            _tokens(getattr(choice, "logprobs", None)),
            int(getattr(usage, "prompt_tokens", 0) or 0),
            int(getattr(usage, "completion_tokens", 0) or 0),
            float(cost) if cost else None,
            turn,
        )

    def _told(self, error: Exception) -> Exception | None:
        """Return what to raise at once; None when asking again may help."""
        if isinstance(error, Refused | MedbenchError):
            return error
        kinds = self._litellm.exceptions
        who = f"the server at {self.host}"
        if isinstance(error, kinds.AuthenticationError | kinds.PermissionDeniedError):
            held = f"the key in {self.place.key_variable}" if self.place.key_variable else "no key"
            return MedbenchError(
                f"a key that {who} takes", f"{held}, which it refuses", "Set the right key and name its variable."
            )
        if isinstance(error, kinds.NotFoundError):
            return MedbenchError(
                f"a model called {self.place.model!r} under {self.place.address}",
                "none there",
                "Check the address (it often ends in /v1) and the model's name.",
            )
        busy = (kinds.RateLimitError, kinds.Timeout, kinds.ServiceUnavailableError, kinds.InternalServerError)
        if isinstance(error, (*busy, kinds.APIConnectionError)):
            return None
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 429):
            return Refused(self._words(error))
        return None

    def _given_up(self, error: Exception) -> MedbenchError:
        place, times = self.place, self.place.retries + 1
        asked = f"after {times} questions" if times > 1 else "after one question"
        if isinstance(error, self._litellm.exceptions.Timeout):
            return MedbenchError(
                f"an answer from {self.host} within {place.timeout:g} seconds",
                f"silence {asked}",
                "See whether the server is busy, or raise the time-out.",
            )
        if "Connection error" in str(error):
            return MedbenchError(
                f"a server at {place.address}", "nothing that answers there", "Start it, or correct the address."
            )
        return MedbenchError(
            f"an answer from the server at {self.host}",
            f"a failure {asked} ({self._words(error)})",
            "See the server's own log; what was answered before is kept.",
        )

    def _words(self, error: Exception) -> str:
        """Return a server's own words, short, on one line, the key blanked out."""
        said = " ".join(str(error).split())
        said = said.rpartition("OpenAIException - ")[2] or type(error).__name__
        if self.place.key_variable:
            said = said.replace(self._key, "***")
        return said if len(said) <= _TOLD else said[: _TOLD - 1] + "…"


def _tokens(logprobs: Any) -> tuple[tuple[str, float], ...]:
    content = getattr(logprobs, "content", None) or ()
    return tuple((str(each.token), float(each.logprob)) for each in content)


def _pause(error: Exception, turn: int) -> float:
    """Return the seconds to wait before asking again: what the server asks for, else twice as long each time."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        wished = float(headers.get("retry-after", ""))
    except ValueError:
        wished = _FIRST_WAIT * 2.0**turn
    return min(max(wished, 0.0), _LONGEST_WAIT)


def each_answer(ask: Callable[[int], Any], count: int, at_once: int, stop: threading.Event) -> list[Any]:
    """Return `ask(0)` to `ask(count - 1)` in order, at most `at_once` under way; the first failure ends it.

    Raises:
        Stopped: When the user stopped; questions under way are left to their time-out.
    """
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(max_workers=max(at_once, 1), thread_name_prefix="endpoint")
    try:
        waiting = [pool.submit(ask, at) for at in range(count)]
        pending = set(waiting)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()  # raises what the question raised
            if stop.is_set() and pending:
                raise Stopped
        return [one.result() for one in waiting]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
