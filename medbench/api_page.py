"""The API's documents as one HTML page, made from its OpenAPI description. It loads no script, style or font."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { padding: .7rem; white-space: pre-wrap; border-radius: 6px; }
pre { background: color-mix(in srgb, currentColor 8%, transparent); }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); margin-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
table + table { margin-top: .8rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; }
.method { font-weight: 700; }
"""

# One attribute of a record's docstring, which is the description of its schema; further lines stand deeper.
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def page(schema: Mapping[str, Any], address: str) -> str:
    """Return the page.

    Args:
        schema: The OpenAPI description.
        address: Where the API answers, without a slash at the end, e.g. "http://127.0.0.1:8501/api".
    """
    info = schema["info"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))}</p>",
        f"<p>For programs: <a href='{escape(address)}/openapi.json'>openapi.json</a>. A refused request is answered"
        " with a status of 4xx and three fields: <code>expected</code>, <code>found</code>, <code>todo</code>.</p>",
    ]
    acts = [(method.upper(), path, act) for path, methods in schema["paths"].items() for method, act in methods.items()]
    listed = (
        (_anchor(method, path), f"{method} {escape(path)}", _text(act.get("summary", ""))) for method, path, act in acts
    )
    parts += ["<ul>", *(f"<li><a href='#{at}'><code>{name}</code></a> {what}" for at, name, what in listed), "</ul>"]
    for method, path, act in acts:
        parts += _act(schema, method, path, act, address)
    return "".join(parts)


def _anchor(method: str, path: str) -> str:
    return method.lower() + re.sub(r"\W+", "-", path)


def _text(words: str) -> str:
    """Return words as HTML; what stands between back-ticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))


def _act(schema: Mapping[str, Any], method: str, path: str, act: Mapping[str, Any], address: str) -> Iterator[str]:
    yield f"<section id='{_anchor(method, path)}'>"
    yield f"<h2><span class='method'>{method}</span> <code>{escape(path)}</code></h2>"
    yield f"<p><strong>{_text(act.get('summary', ''))}</strong><br>{_text(act.get('description', ''))}</p>"
    content = act.get("requestBody", {}).get("content", {})
    kind = next(iter(content), "")
    body: Mapping[str, Any] = content[kind]["schema"] if kind else {}
    fields = list(_fields(schema, body))
    fields += [
        (entry["name"] + f" ({entry['in']})", _type(entry["schema"]), entry.get("required", False), _note(entry))
        for entry in act.get("parameters", [])
    ]
    yield from _table("What to send", fields, " (optional)")
    answer = act.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    yield from _table("What comes back", list(_fields(schema, answer)))
    yield f"<pre>{escape(_example(schema, method, address + path, kind, body))}</pre></section>"


def _table(title: str, fields: Sequence[tuple[str, str, bool, str]], optional: str = "") -> Iterator[str]:
    if not fields:
        return
    yield f"<table><tr><th>{title}<th>Type<th>Meaning"
    for name, type_, needed, note in fields:
        shown = f"<code>{escape(name)}</code>{'' if needed else optional}"
        yield f"<tr><td>{shown}<td>{escape(type_)}<td>{_text(note)}"
    yield "</table>"


def _fields(
    schema: Mapping[str, Any], body: Mapping[str, Any], before: str = ""
) -> Iterator[tuple[str, str, bool, str]]:
    """Yield (name, type, needed, meaning) of a body's fields, those of nested objects after their own."""
    body = _resolved(schema, body)
    described = dict(_ATTRIBUTE.findall(str(body.get("description", ""))))
    for name, field in body.get("properties", {}).items():
        whole = {**_resolved(schema, field), **{key: value for key, value in field.items() if key != "$ref"}}
        note = " ".join(str(field.get("description") or described.get(name, "")).split())
        yield before + name, _type(whole), name in body.get("required", ()), note
        inside = whole.get("items", whole)
        yield from _fields(schema, inside, f"{before}{name}{'[]' if inside is not whole else ''}.")


def _resolved(schema: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in entry:
        entry = schema["components"]["schemas"][entry["$ref"].rsplit("/", 1)[-1]]
    return entry


def _type(entry: Mapping[str, Any]) -> str:
    if "enum" in entry:
        return " or ".join(str(value) for value in entry["enum"])
    if "anyOf" in entry:
        return " or ".join(_type(option) for option in entry["anyOf"] if option.get("type") != "null")
    if entry.get("contentMediaType") or entry.get("format") == "binary":
        return "file"
    return {"array": "list", "string": "text"}.get(entry.get("type", "object"), str(entry.get("type", "object")))


def _note(entry: Mapping[str, Any]) -> str:
    return str(entry.get("description") or entry.get("schema", {}).get("description") or "")


def _example(schema: Mapping[str, Any], method: str, address: str, kind: str, body: Mapping[str, Any]) -> str:
    """Return a curl command that works once the model id is filled in."""
    if method == "GET":
        return f"curl {address}"
    if kind.startswith("multipart"):
        return f"curl -F file=@export.ris -F model=MODEL -OJ {address}"
    example = json.dumps(_sample(schema, body), ensure_ascii=False)
    return f"curl {address} -H 'Content-Type: application/json' \\\n  -d '{example}'"


def _sample(schema: Mapping[str, Any], entry: Mapping[str, Any]) -> Any:
    entry = _resolved(schema, entry)
    known = {"model": "MODEL", "title": "Statins after stroke", "text": "We followed 120 patients."}
    shown = {
        name: known.get(name) or _sample(schema, field)
        for name, field in entry.get("properties", {}).items()
        if name in known or name in entry.get("required", ())
    }
    return [_sample(schema, entry["items"])] if entry.get("type") == "array" else shown
