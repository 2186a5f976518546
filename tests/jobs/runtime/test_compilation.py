"""A job says that it compiles machine code first, and only then."""

from __future__ import annotations

import logging

import pytest

from curation.jit import compiler
from jobs.runtime.compilation import BUILD, MATCH, announce_compilation


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "code_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("modules", [BUILD, MATCH])
def test_the_first_compilation_of_a_machine_is_announced(folder, caplog, modules):
    def announced() -> bool:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            announce_compilation("match", *modules)
        return "match: compiling machine code first, which takes about 20 s" in caplog.text

    assert announced()
    for module in modules:
        assert announced(), "some code is missing"
        path = folder / "matching_0" / f"{module.rpartition('.')[2]}.find-10.py311.nbi"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert not announced()


def test_without_a_folder_every_process_compiles(monkeypatch, caplog):
    monkeypatch.setattr(compiler, "code_folder", lambda: None)
    with caplog.at_level(logging.INFO):
        announce_compilation("match", *MATCH)
    assert "compiling machine code" in caplog.text


def test_the_names_are_modules_with_compiled_loops():
    sources = compiler.package_sources("curation")
    for module in (*BUILD, *MATCH):
        assert "\n@jit" in sources[module]
