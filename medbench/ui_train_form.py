"""The form of a run, drawn from the family's own options, and filled again from YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from medbench import runs, ui, ui_train_folds, ui_train_search
from medbench.errors import MedbenchError
from medbench.families import Family, get_family
from medbench.records import RunSpec
from medbench.ui_train_models import Trained, pick

_LEARNING: dict[str, bool | None] = {"automatic": None, "yes": True, "no": False}

_AUTOMATIC = "automatic"


def draw_options(family: Family[Any], models: Sequence[Trained] = ()) -> dict[str, Any]:
    """Draw one field per option, expert ones folded; return the options that differ from their defaults.

    Args:
        family: The family.
        models: The models of the dataset, for options that name one.
    """
    properties = _properties(family)
    defaults = family.Options().model_dump(mode="json")
    given: dict[str, Any] = {}
    everyday = [name for name, field in properties.items() if not field.get("expert")]
    everyday.sort(key=lambda name: "suggestions" not in properties[name])  # what is learnt on, first
    expert = [name for name in properties if name not in everyday]
    _fields(family, everyday, properties, defaults, given, models)
    if expert:
        with st.expander(f"Expert options ({len(expert)})", key=f"train_expert_{family.name}"):
            _fields(family, expert, properties, defaults, given, models)
    return {name: value for name, value in given.items() if value != defaults.get(name)}


def _fields(
    family: Family[Any],
    names: list[str],
    properties: Mapping[str, Any],
    defaults: Mapping[str, Any],
    given: dict[str, Any],
    models: Sequence[Trained],
) -> None:
    wide = [name for name in names if "models" in properties[name] and properties[name].get("type") == "array"]
    for name in wide:  # several models, each with a long name
        given[name] = _field(option_key(family.name, name), name, properties[name], defaults.get(name), models)
    for position, name in enumerate(name for name in names if name not in wide):
        if position % 3 == 0:  # a row at a time, so that narrow screens keep the order
            columns = st.columns(3, vertical_alignment="bottom")
        with columns[position % 3]:
            key = option_key(family.name, name)
            given[name] = _field(key, name, properties[name], defaults.get(name), models)


def _properties(family: Family[Any]) -> dict[str, dict[str, Any]]:
    """Return each option's JSON schema, `anyOf [..., null]` folded into the kind plus "optional"."""
    schema = family.Options.model_json_schema()
    found = {}
    for name, field in schema.get("properties", {}).items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        first = kinds[0] if kinds else {}
        if "$ref" in first:
            first = schema["$defs"][first["$ref"].rpartition("/")[2]]
        found[name] = {**first, **{key: value for key, value in field.items() if key != "anyOf"}}
        found[name]["optional"] = len(kinds) < len(field.get("anyOf", [field]))
    return found


def option_key(family: str, name: str) -> str:
    """Return the widget key of an option."""
    return f"train_option_{family}_{name}"


def _field(key: str, name: str, field: Mapping[str, Any], default: Any, models: Sequence[Trained]) -> Any:
    label = str(field.get("label") or name.replace("_", " ").capitalize())
    kind = field.get("type")
    common: dict[str, Any] = {"key": key, "help": field.get("description"), "persist_state": "session"}
    if "models" in field:
        return pick(label, field, default, common, models)
    if "suggestions" in field:
        return _suggested(label, field["suggestions"], default, common)
    if "enum" in field or "const" in field:
        return _choice(label, field, default, common)
    if kind == "boolean" and not field["optional"]:
        return st.toggle(label, **_first(key, default), **common)
    if kind in ("integer", "number"):
        return _number(label, field, default, common)
    if kind == "string":
        text = st.text_input(label, **_first(key, default or ""), **common)
        return (text or None) if field["optional"] else text
    return _json(label, field, default, common)


def _first(key: str, value: Any) -> dict[str, Any]:
    """Return the default as an argument, but only while the widget has no value in the session yet."""
    return {} if key in st.session_state else {"value": value}


def _suggested(label: str, suggestions: Any, default: Any, common: dict[str, Any]) -> Any:
    names = dict(suggestions) if isinstance(suggestions, Mapping) else {str(one): str(one) for one in suggestions}
    options = list(names)
    held = st.session_state.get(common["key"])
    if held and held not in options:
        options.append(held)
    start: dict[str, Any] = (
        {} if common["key"] in st.session_state else {"index": options.index(default) if default in options else 0}
    )
    return st.selectbox(
        label, options, format_func=lambda name: names.get(name, name), accept_new_options=True, **start, **common
    )


def _choice(label: str, field: Mapping[str, Any], default: Any, common: dict[str, Any]) -> Any:
    options = [*([_AUTOMATIC] if field["optional"] else []), *field.get("enum", [field.get("const")])]
    first = options.index(_AUTOMATIC if default is None else default)
    start: dict[str, Any] = {} if common["key"] in st.session_state else {"index": first}
    chosen: Any = st.selectbox(
        label, options, format_func=lambda value: str(value).replace("_", " "), **start, **common
    )
    return None if chosen == _AUTOMATIC else chosen


def _number(label: str, field: Mapping[str, Any], default: Any, common: dict[str, Any]) -> Any:
    whole = field.get("type") == "integer"
    cast = int if whole else float
    limits = {"min_value": field.get("minimum"), "max_value": field.get("maximum")}
    bounds: dict[str, Any] = {name: cast(value) for name, value in limits.items() if value is not None}
    start = _first(common["key"], None if default is None else cast(default))
    look: dict[str, Any] = {"step": 1} if whole else {"step": _step(default), "format": "%g"}
    if field["optional"]:
        look["placeholder"] = str(field.get("empty", _AUTOMATIC))
    return st.number_input(label, **bounds, **start, **look, **common)


def _step(default: float | None) -> float:
    """Return a step of one tenth of the default's size, so that 2e-5 and 0.5 both move sensibly."""
    return float(f"{abs(default) / 10:.0e}") if default else 0.1


def _json(label: str, field: Mapping[str, Any], default: Any, common: dict[str, Any]) -> Any:
    shown = "" if default in (None, {}, []) else json.dumps(default, ensure_ascii=False, indent=1)
    example = str(field.get("empty", "{}"))
    text = st.text_area(label, **_first(common["key"], shown), placeholder=example, height=100, **common)
    if not text.strip():
        return default
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.splitlines() else text
        found = f"{line[:60]!r} in line {error.lineno}"
        raise MedbenchError(f"JSON in {label}, such as {example}", found, "Correct it, or empty it.") from None


_ACCEPT_HELP = (
    "How wrong answers may be that no person is asked about, 0-1. As many as can be are answered alone while their "
    "error stays below this with 95 % confidence; the others are marked for a person. With one label per item it is "
    "the share of wrong answers (usual: 0.05), with many the share of labels wrong or missing (usual: 0.20 or, where "
    "that cannot be promised, the least that lets half of the answers stand alone)."
)


def draw_frame(cards: list[str]) -> dict[str, Any]:
    """Draw name, seed, device and what to do after judging; return them as fields of a run spec.

    Args:
        cards: Names of the graphics cards here ("cuda:0").
    """
    name, seed, device, learning, accepted = st.columns([2, 1, 1, 1, 1])
    keep: dict[str, Any] = {"persist_state": "session"}
    return {
        "name": name.text_input(
            "Name", key="train_name", placeholder="method and dataset", help="A short name for the run.", **keep
        ),
        "seed": seed.number_input(
            "Seed",
            min_value=0,
            max_value=2**31 - 1,
            step=1,
            key="train_seed",
            help="Seed of every random draw. The same seed gives the same run.",
            **keep,
        ),
        "device": device.selectbox(
            "Device",
            ["auto", "cpu", *cards],
            key="train_device",
            help="auto takes a graphics card if there is one.",
            **keep,
        ),
        "keep_learning": _LEARNING[
            learning.selectbox(
                "Learn from all rows",
                list(_LEARNING),
                key="train_keep_learning",
                help="After judging on the test split, fit once more on all rows for the weights that are kept. "
                "Automatic: yes for methods that fit in seconds, no for fine-tuned networks.",
                **keep,
            )
        ],
        "accept_error": accepted.number_input(
            "Accepted error",
            min_value=0.001,
            max_value=0.9,
            value=None,
            step=0.01,
            key="train_accept_error",
            placeholder="usual",
            help=_ACCEPT_HELP,
            **keep,
        ),
    }


def draw_refill() -> None:
    """Draw the box that fills the form from YAML."""
    with st.expander("Fill the form from YAML", key="train_refill"):
        file = st.file_uploader(
            "A YAML file", type=["yaml", "yml"], key="train_yaml_file", help="A run spec, as copied from any run here."
        )
        text = st.text_area(
            "Or paste it",
            key="train_yaml_text",
            height=140,
            help="A run spec in YAML.",
            placeholder="family: linear\n…",
        )
        pasted = file.getvalue().decode("utf-8", "replace") if file else text or ""
        st.button("Fill the form", key="train_yaml_fill", on_click=_refill, args=(pasted,), disabled=not pasted.strip())
    with ui.guarded():
        if error := st.session_state.pop("train_refill_error", None):
            raise error


def _refill(text: str) -> None:
    try:
        fill(runs.parse_spec(text, source="the pasted YAML"))
    except MedbenchError as error:
        st.session_state["train_refill_error"] = error


def fill(spec: RunSpec) -> None:
    """Put a spec into the form's widgets. Only inside a callback or before the form is drawn.

    Raises:
        MedbenchError: The family is unknown or an option is not valid.
    """
    family = get_family(spec.family)
    options = family.parse(spec.options).model_dump(mode="json")
    properties = _properties(family)
    state = st.session_state
    state["train_dataset"] = spec.dataset
    state["train_family"] = spec.family
    state["train_name"], state["train_seed"], state["train_device"] = spec.name, spec.seed, spec.device
    state["train_keep_learning"] = next(word for word, value in _LEARNING.items() if value is spec.keep_learning)
    state["train_accept_error"] = spec.accept_error
    ui_train_search.fill(spec.tune)
    ui_train_folds.fill(spec.folds)
    for name, value in options.items():
        state[option_key(family.name, name)] = _as_widget(properties[name], value)


def _as_widget(field: Mapping[str, Any], value: Any) -> Any:
    """Return an option's value as its widget holds it."""
    if "models" in field:
        return value
    if "enum" in field or "const" in field:
        return _AUTOMATIC if value is None else value
    if field.get("type") in ("object", "array"):
        return json.dumps(value, ensure_ascii=False, indent=1) if value else ""
    if field.get("type") == "string" and "suggestions" not in field:
        return value or ""
    return value
