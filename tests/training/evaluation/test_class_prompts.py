from __future__ import annotations

import json

import pytest

from curation.errors import InputError
from training.evaluation.class_prompts import read_classes


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_classes_have_prompts_by_name_or_names_by_index(write):
    classes = read_classes(write("a.json", {"languages": {"en": {"red": ["red", "a red thing"]}}}))
    assert (classes.prompts, classes.by_index) == ({"en": {"red": ["red", "a red thing"]}}, False)
    babel = read_classes(write("b.json", {"DE": [[2, 0], ["Hai", "Schleie"]], "SI": [[1], ["මෝරා"]]}))
    assert (babel.prompts, babel.by_index) == ({"DE": {"2": ["Hai"], "0": ["Schleie"]}, "SI": {"1": ["මෝරා"]}}, True)


def test_templates_are_filled_with_every_name_and_languages_without_them_are_left_out(write, caplog):
    names = write("b.json", {"DE": [[2, 0], ["Hai {c}", "Schleie"]], "SI": [[1], ["මෝරා"]]})
    templates = write("t.json", {"DE": ["ein Foto: {}", "{c}, gemalt"]})
    classes = read_classes(names, templates)
    assert classes.prompts == {
        "DE": {
            "2": ["ein Foto: Hai {c}", "Hai {c}, gemalt"],
            "0": ["ein Foto: Schleie", "Schleie, gemalt"],
        }
    }
    assert "templates: no templates for SI: these languages are left out" in caplog.text


def test_malformed_files_are_named(write, tmp_path):
    for languages in ([], {"en": ["red"]}, {"en": {"red": 3}}, {"en": {"red": "red"}}, {"en": {"red": [3]}}):
        with pytest.raises(InputError, match=r"classes\.json: expected \{'languages'"):
            read_classes(write("classes.json", {"languages": languages}))
    for babel in (
        [],
        {"DE": [[1], ["a", "b"]]},
        {"DE": [[1, 1], ["a", "b"]]},
        {"DE": [[1], "a"]},
        {"DE": [["x"], ["a"]]},
    ):
        with pytest.raises(InputError, match=r"classes\.json: expected .* or \{language: \[\[class index"):
            read_classes(write("classes.json", babel))
    with pytest.raises(InputError, match=r"classes\.json is not JSON"):
        read_classes(write("classes.json", "{"))
    with pytest.raises(InputError, match="no prompt for en: red"):
        read_classes(write("classes.json", {"languages": {"en": {"red": []}}}))
    with pytest.raises(InputError, match=r"cannot read .*absent\.json"):
        read_classes(tmp_path / "absent.json")
    names = write("classes.json", {"languages": {"en": {"red": ["red"]}}})
    for templates in ({"en": ["a photo"]}, {"en": []}):
        with pytest.raises(InputError, match=r"t\.json: en: every template needs \{\} or \{c\}"):
            read_classes(names, write("t.json", templates))
    with pytest.raises(InputError, match=r"t\.json: expected \{language: \[template"):
        read_classes(names, write("t.json", {"en": "{}"}))
