"""Every threat of docs/security.md names code and tests that exist, and every dependency has an upper bound."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
THREATS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in re.search(
        r"## Threats\n(.*?)\n## ", (ROOT / "docs/security.md").read_text(encoding="utf-8"), re.DOTALL
    )[1].splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNBOUNDED = {"setuptools", "types-PyYAML"}  # a build tool, and types without code


def test_there_is_a_row_for_every_threat():
    assert len(THREATS) > 20
    assert all(len(row) == 4 and all(row) for row in THREATS)


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0])
def test_the_code_and_the_tests_of_a_threat_exist(row):
    *_, code, tests = row
    assert (ROOT / code.strip("`")).is_file()
    named = re.findall(r"`([^`]+)::([^`]+)`", tests)
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_every_dependency_has_an_upper_bound():
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    requirements = [Requirement(line) for line in lines]
    assert len(requirements) > 40
    unbounded = {
        each.name for each in requirements if not any(bound.operator in ("<", "==") for bound in each.specifier)
    }
    assert unbounded <= UNBOUNDED
