"""What the README and the documents say is there, is there: modules, pages, commands, options, variables, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer
from test_layers import FLOORS, ROOT

from medbench.cli import app
from medbench.cli_mimic import ImportGroup
from medbench.families import all_families
from medbench.tasks import all_tasks

README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GUIDES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("manual", "architecture", "adding"))]
MODULES = sorted(path.stem for path in (ROOT / "medbench").glob("[!_]*.py"))


def block_after(text: str, heading: str) -> str:
    """Return the first fenced block below a heading."""
    return text.split(heading, 1)[1].split("```", 2)[1]


def test_the_tree_in_the_readme_names_what_there_is() -> None:
    tree = block_after(README, "## What is where")
    inside = tree.split("medbench/\n", 1)[1]
    named = re.findall(r"[\w*]+\.py", "\n".join(line for line in inside.splitlines() if line.startswith("  ")))
    assert named
    assert [name for name in named if not any(fnmatchcase(f"{module}.py", name) for module in MODULES)] == []
    for name in re.findall(r"^(\S+?)/? {2,}", tree, re.MULTILINE):
        assert (ROOT / name).exists(), name
    pages = re.search(r"^pages/ +(.+)$", tree, re.MULTILINE)
    assert pages is not None
    assert sorted(pages[1].split(" · ")) == sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
    told = re.sub(r"\s+", " ", inside)
    for folder, leaves in (("families", all_families()), ("tasks", all_tasks())):
        [listed] = re.findall(rf" {folder}/ [^:]+: ([\w ·]+?)(?= \w+/| readers/)", told)
        assert sorted(listed.split(" · ")) == sorted(leaves), folder


def test_rooms_stand_on_their_floors_in_the_architecture() -> None:
    rows = re.findall(r"^\| (\d) \| (.+) \|$", ARCHITECTURE, re.MULTILINE)
    told = {room: floor for floor, rooms in rows for room in re.findall(r"`([\w*]+)(?:\.py|/|/\*)?`", rooms)}
    assert len(told) > 50
    known = [(step[0], room) for step, rooms in FLOORS for room in rooms]
    assert [name for name in told if not any(fnmatchcase(room, name) for _, room in known)] == []
    wrong = []
    for step, room in known:
        found = told.get(room) or next((floor for name, floor in told.items() if fnmatchcase(room, name)), step)
        if found != step:
            wrong.append(f"{room} is told to stand on floor {found}, and stands on {step}")
    assert wrong == []


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of every command of medbench that a document shows, in blocks and within the text."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = [line for block in text.split("```")[1::2] for line in block.splitlines()]
    for line in [*shown, *re.findall(r"`(medbench [^`]+)`", text)]:
        for part in re.split(r"; (?=medbench )|\s#", line):
            if part.startswith("medbench "):
                yield shlex.split(part.replace("…", "").replace("’", ""), posix=True)[1:]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_command_that_is_shown_exists_with_its_options(path: Path) -> None:
    wrong = []
    for words in commands(path):
        command: Any = typer.main.get_command(app)
        for word in words:
            known = getattr(command, "commands", {})
            if isinstance(command, ImportGroup) and word not in known:
                command = known["files"]  # the verb that may be left out
                break
            if known and word not in known:
                wrong.append(words)
            if word not in known:
                break
            command = known[word]
        options = {name for part in command.params for name in (*part.opts, *part.secondary_opts)} | {"--help"}
        wrong += [[*words, word] for word in words if word.startswith("--") and word.split("=")[0] not in options]
    assert wrong == []


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_links_lead_to_files_and_make_knows_its_targets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert [
        name for name in re.findall(r"`?make ([a-z-]+)`? ?(?:#|`|$)", text, re.MULTILINE) if name not in targets
    ] == []


def test_variables_of_the_environment_are_told_and_read() -> None:
    code = [*(ROOT / "medbench").rglob("*.py"), ROOT / "app.py", *(ROOT / "pages").glob("*.py")]
    read = {name for path in code for name in re.findall(r"\bMEDBENCH_[A-Z_]+", path.read_text(encoding="utf-8"))}
    told = {name for path in GUIDES for name in re.findall(r"\bMEDBENCH_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert told == read
