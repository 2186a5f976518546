"""The prompts of every class in every language, in the layout of this project or of Babel-ImageNet.

    {"languages": {language: {class: [prompt, …]}}}
    {language: [[class index, …], [class name, …]]}         Babel-ImageNet, arXiv 2306.08658
    {language: [template with {} or {c}, …]}                a file of templates, for either of them

With templates, every text of a class is a name, and each template with that name in it is a prompt.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import InputError
from training.evaluation.files import read_json, text_list

PLACE = re.compile(r"\{c?\}")  # of the name in a template

log = logging.getLogger(__name__)

Prompts = Mapping[str, Mapping[str, Sequence[str]]]


class Classes(NamedTuple):
    """The classes of every language.

    Attributes:
        prompts: language -> class -> prompts.
        by_index: whether a class is the number of a class in its data set, as text, not its name.
    """

    prompts: Prompts
    by_index: bool


def read_classes(path: Path, templates: Path | None = None) -> Classes:
    """Read the prompts of every language; languages that have no templates are left out, and the log names them.

    Raises InputError if a file is malformed or a class has no prompt.
    """
    content = read_json(path)
    by_index = isinstance(content, dict) and "languages" not in content
    try:
        names = _by_index(content) if by_index else _by_name(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: expected {{'languages': {{language: {{class: [prompt, …]}}}}}}, or "
            f"{{language: [[class index, …], [class name, …]]}} as Babel-ImageNet"
        ) from error
    empty = [f"{language}: {name}" for language, classes in names.items() for name in classes if not classes[name]]
    if empty:
        raise InputError(f"{path}: no prompt for {', '.join(empty)}")
    return Classes(_fill(names, _read_templates(templates)) if templates else names, by_index)


def _by_name(content: Any) -> dict[str, dict[str, list[str]]]:
    return {
        language: {name: text_list(prompts) for name, prompts in classes.items()}
        for language, classes in content["languages"].items()
    }


def _by_index(content: Any) -> dict[str, dict[str, list[str]]]:
    names: dict[str, dict[str, list[str]]] = {}
    for language, (numbers, texts) in content.items():
        names[language] = {str(int(number)): [text] for number, text in zip(numbers, text_list(texts), strict=True)}
        if len(names[language]) != len(numbers):
            raise ValueError("a class is listed twice")
    return names


def _read_templates(path: Path) -> dict[str, list[str]]:
    try:
        templates = {language: text_list(texts) for language, texts in read_json(path).items()}
    except (TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected {{language: [template, …]}}") from error
    for language, texts in templates.items():
        if not texts or not all(map(PLACE.search, texts)):
            raise InputError(f"{path}: {language}: every template needs {{}} or {{c}} in the place of the class name")
    return templates


def _fill(names: Mapping[str, Mapping[str, list[str]]], templates: Mapping[str, list[str]]) -> Prompts:
    missing = sorted(names.keys() - templates.keys())
    if missing:
        log.warning("templates: no templates for %s: these languages are left out", ", ".join(missing))
    return {
        language: {
            label: [name.join(PLACE.split(template)) for name in texts for template in templates[language]]
            for label, texts in classes.items()
        }
        for language, classes in names.items()
        if language in templates
    }
