"""What a maker depends on is part of the fingerprint: its class, version, parameters, seed and models."""

from __future__ import annotations

import pytest

from curation.annotations.load import load_maker, maker_keys
from curation.cli.annotate_config import AnnotateSection
from curation.cli.settings import load_config
from curation.errors import UsageError
from jobs.runtime.config import Config

MAKER = f"{__name__}:Named"


class Named:
    """A maker of English texts with any parameters."""

    reads, uses_seed = ("text",), True

    def __init__(self, model=None, version="1", part=None) -> None:
        self.model, self.version, self.part = model, version, part

    def __call__(self, rows, seed):
        return rows["text"].to_pylist()


def keys(seed=0, **parameters):
    return maker_keys(AnnotateSection(makers={"english": {"maker": MAKER, **parameters}}), "english", seed)


def test_every_parameter_and_the_seed_change_the_keys(tmp_path):
    assert keys() == {"maker": MAKER, "version": "1", "seed": 0}
    assert keys(seed=1) != keys() != keys(version="2")
    assert keys(part={"a": 1})["part"] == {"a": 1}


def test_a_model_counts_by_its_content_wherever_it_is_named(tmp_path):
    models = [tmp_path / name for name in ("a", "b")]
    for model in models:
        model.mkdir()
        (model / "weights").write_text("1")
    one, other = (keys(model=str(model), part={"model": str(model)}) for model in models)
    assert one == other, "the same content at another path"
    (models[1] / "weights").write_text("22")
    changed = keys(model=str(models[0]), part={"model": str(models[1])})
    assert changed["model_sha256"] == one["model_sha256"]
    assert changed["part"] != one["part"]
    assert str(tmp_path) not in str(one)
    with pytest.raises(UsageError, match=r"annotate\.makers\.english: model .*/c/d cannot be read"):
        keys(model=str(tmp_path / "c" / "d"))


def test_a_maker_is_loaded_once(tmp_path):
    section = AnnotateSection(makers={"english": {"maker": MAKER}})
    assert load_maker(section, "english") is load_maker(section, "english")


def read(*argv: str) -> AnnotateSection:
    return load_config(Config, argv, prog="test", description="").annotate


def test_kinds_and_makers_can_be_given_as_flags_and_in_a_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("annotate: {kinds: [english], makers: {english: {maker: 'a:B', model: m, count: 3}}}")
    section = read("--config", str(path))
    assert section.kinds == ["english"]
    assert section.makers["english"].parameters == {"count": 3, "model": str(tmp_path / "m")}
    section = read("--config", str(path), "--annotate.kinds", "rewrites,clip_score")
    assert section.kinds == ["rewrites", "clip_score"]
