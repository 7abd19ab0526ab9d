"""Every shipped run spec parses, names a task and a family that exist, and gives options that the family takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from medbench.errors import MedbenchError
from medbench.families import all_families, get_family
from medbench.runs import command_line, parse_spec, read_spec, to_yaml
from medbench.tasks import get_task

FOLDER = Path(__file__).resolve().parent.parent / "configs"
SPECS = sorted(FOLDER.glob("*.yaml"))


def test_there_is_a_spec_for_every_family() -> None:
    assert {read_spec(path, []).family for path in SPECS} == set(all_families())


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_can_be_run_as_it_stands(path: Path) -> None:
    spec = read_spec(path, [])
    task, family = get_task(spec.task), get_family(spec.family)
    assert task.item in family.items
    assert set(task.answers) & family.answers
    assert set(spec.options) <= set(family.parse(spec.options).model_dump())
    assert path.stem.startswith(f"{spec.task}-{spec.family}")
    assert spec.dataset == ("samples" if task.item == "text" else "ham10000")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_says_in_its_first_lines_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert any(line.startswith(f"# medbench train configs/{path.name} ") for line in lines[:4])
    assert max(map(len, lines)) <= 130


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_comes_back_from_yaml_and_can_be_overridden(path: Path) -> None:
    spec = read_spec(path, ["dataset=mine", "seed=7"])
    assert (spec.dataset, spec.seed) == ("mine", 7)
    assert parse_spec(to_yaml(spec)) == spec
    assert command_line(spec).startswith(f"medbench train --task {spec.task} --family {spec.family} --dataset mine")


def test_an_option_that_does_not_exist_is_refused_by_name() -> None:
    spec = read_spec(FOLDER / "literature-linear.yaml", ["options.epochz=3"])
    with pytest.raises(MedbenchError, match="epochz=3"):
        get_family(spec.family).parse(spec.options)
