"""A filter that cannot be used ends a job before it starts, with one line."""

from __future__ import annotations

import re
import sys
import textwrap

import pytest
from pydantic import ValidationError

from curation.cli.config import ImageFilterSection, ImagesSection
from curation.cli.settings import load_config
from curation.errors import UsageError
from curation.images.filters import load
from curation.images.filters.load import filter_keys, load_filters
from curation.images.filters.uniformity import LowEntropy, NearUniform
from jobs.runtime.config import Config

UNIFORM = "curation.images.filters.uniformity:NearUniform"


def sections(*filters):
    return ImagesSection(filters=list(filters)).filters


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes the module `own_filters`, which can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    load._load.cache_clear()

    def write(source):
        (tmp_path / "own_filters.py").write_text(textwrap.dedent(source))

    yield write
    sys.modules.pop("own_filters", None)


GOOD = """
    class Good:
        name, version, score_range, reads_texts = "good", "1", (0.0, 1.0), False

        def __init__(self, model=None, limit=1): self.parameters = (model, limit)

        def __call__(self, images): return []
"""


def test_filters_have_their_parameters_and_are_loaded_once():
    configured = sections({"filter": UNIFORM, "max_share": 0.5}, "curation.images.filters.uniformity:LowEntropy")
    filters = load_filters(configured)
    assert filters == (NearUniform(max_share=0.5), LowEntropy())
    assert load_filters(configured)[0] is filters[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2", -2),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("[0.5, x]", [0.5, "x"]),
    ]
    + [(text, text) for text in ("nsfw", "1.2.3", "nan", "inf", "3 px", "007", "2024-05-31", "yes")],
)
def test_parameters_in_a_file_have_the_types_of_their_values(tmp_path, text, value):
    (tmp_path / "c.yaml").write_text(f"images: {{filters: [{{filter: 'a:B', x: {text}, model: net}}]}}")
    config = load_config(Config, ["--config", str(tmp_path / "c.yaml")], prog="", description="")
    [section] = config.images.filters
    assert section.parameters == {"x": value, "model": f"{tmp_path}/net"}
    assert type(section.parameters["x"]) is type(value)
    assert Config.model_validate_json(config.model_dump_json()).images.filters == [section]


def test_a_model_is_a_parameter_too(module, tmp_path):
    module(GOOD)
    (tmp_path / "net").write_bytes(b"1")
    [good] = load_filters(sections({"filter": "own_filters:Good", "limit": 3, "model": str(tmp_path / "net")}))
    assert good.parameters == (str(tmp_path / "net"), 3)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("no_such_module:Name", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("curation.images:Nothing", "cannot be imported (AttributeError: "),
        ({"filter": UNIFORM, "share": 1}, "refuses its parameters (TypeError: "),
        ({"filter": UNIFORM, "max_share": 2}, "refuses its parameters (ValueError: max_share must be from 0 to 1"),
        ("collections:OrderedDict", "is not an image filter (it has no name, version, score_range, reads_texts): see"),
    ],
)
def test_an_unusable_filter_is_one_line(given, problem):
    with pytest.raises(UsageError) as caught:
        load_filters(sections(given))
    assert "\n" not in str(caught.value)
    assert re.match(r"images\.filters: [\w.]+:\w+ " + re.escape(problem), str(caught.value))


BEGINNINGS = ("http", "too", "too_many", "task", "filter", "decode", "not", "ok", "tombstone")  # of other reasons


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"good"', '"Good one"', "has the name 'Good one'"),
        ('"good"', '"timeout"', "has the name 'timeout'"),
        ('"good"', '"filter_failed"', "has the name 'filter_failed'"),
        ('"good"', '"http_404"', "has the name 'http_404'"),
        *(('"good"', f'"{name}"', f"has the name {name!r}, which is or begins") for name in BEGINNINGS),
        ("(0.0, 1.0)", "(1.0, 1.0)", "has the score range"),
        ("(0.0, 1.0)", '(0.0, float("inf"))', "has the score range"),
        ("__call__", "other", "is not an image filter (it has no __call__): see"),
        ("class Good", "raise OSError('disk\\n')\nclass Good", "cannot be imported (OSError: disk)"),
    ],
)
def test_an_unusable_class_is_one_line(module, old, new, problem):
    module(textwrap.dedent(GOOD).replace(old, new))
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        load_filters(sections("own_filters:Good"))
    assert "\n" not in str(caught.value)


def test_two_filters_of_the_same_name_are_refused():
    with pytest.raises(UsageError, match=r"images\.filters: two filters are named near_uniform"):
        load_filters(sections(UNIFORM, {"filter": UNIFORM, "max_share": 0.5}))


@pytest.mark.parametrize("other", ["near_uniform_large", "near"])
def test_a_filter_whose_name_begins_that_of_another_is_refused_in_any_order(module, other):
    module(GOOD.replace('"good"', f'"{other}"'))
    for paths in ([UNIFORM, "own_filters:Good"], ["own_filters:Good", UNIFORM]):
        with pytest.raises(UsageError, match=r"images\.filters: the reasons of the filter near_uniform\w* start like"):
            load_filters(sections(*paths))


@pytest.mark.parametrize("name", ["near_uniforms", "too2", "nothing", "oks"])
def test_a_name_that_only_begins_with_the_same_letters_is_accepted(module, name):
    module(GOOD.replace('"good"', f'"{name}"'))
    assert [each.name for each in load_filters(sections(UNIFORM, "own_filters:Good"))] == ["near_uniform", name]


@pytest.mark.parametrize("path", ["", "module", "module:", ":Name", "a b:Name", "module:Name.part"])
def test_an_import_path_has_a_module_and_a_name(path):
    with pytest.raises(ValidationError):
        ImageFilterSection(filter=path)


def test_keys_change_with_parameters_and_the_content_of_a_model_but_not_with_its_path(module, tmp_path):
    module(GOOD)
    first, second, third = (tmp_path / name / "net" for name in "abc")
    for folder, content in ((first, b"1"), (second, b"1"), (third, b"2")):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(content)
    keys = [
        filter_keys(sections({"filter": "own_filters:Good", "limit": limit, "model": str(model)}))
        for limit, model in ((1, first), (1, second), (1, third), (2, first))
    ]
    assert keys[0] == keys[1]
    assert all(keys[0] != other for other in keys[2:])
    (first / "weights").write_bytes(b"22")
    assert filter_keys(sections({"filter": "own_filters:Good", "limit": 1, "model": str(first)})) != keys[0]


def test_keys_change_with_the_order_of_filters():
    paths = [UNIFORM, "curation.images.filters.uniformity:LowEntropy"]
    assert filter_keys(sections(*paths)) != filter_keys(sections(*reversed(paths)))


def test_a_missing_model_is_one_line(module, tmp_path):
    module(GOOD)
    with pytest.raises(UsageError, match=r"images.filters: model .*/gone cannot be read \(No such file"):
        filter_keys(sections({"filter": "own_filters:Good", "model": str(tmp_path / "gone")}))
