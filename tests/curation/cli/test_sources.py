"""Config files: duplicate keys are refused, and keys that exclude each other override each other by source."""

from __future__ import annotations

import itertools

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curation.cli.settings import load_config
from curation.cli.sources import read_yaml
from curation.errors import UsageError
from jobs.runtime.config import Config
from training.config import TrainConfig

NAMES = st.sampled_from(["lake", "balance", "t_en", "2024-05-31", "yes", "0x10"])
VALUES = st.recursive(
    st.sampled_from(["1", "text", "true", None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def load(tmp_path, text: str, *flags: str, model=Config, name: str = "config.yaml"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_config(model, ["--config", str(path), *flags], prog="python -m x", description="")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lake: /a\nbatch: b\nlake: /b\n", "key `lake` is given twice, in lines 1 and 3: remove one"),
        ("lake: /l\nbalance: {t_en: 5, t_en: 6}\n", "key `balance.t_en` is given twice, in lines 2 and 2"),
        ("balance:\n  t_en: 5\nimages: {}\nbalance:\n  p: 1\n", "key `balance` is given twice, in lines 1 and 4"),
        ("lake: /l\n'lake': /m\n", "key `lake` is given twice"),
        (
            "lake: /l\nmetadata:\n  limits:\n    de: {}\n    fr: {}\n    de: {}\n",
            "key `metadata.limits.de` is given twice",
        ),
        ("a: [{b: 1, b: 2}]\n", "key `a.b` is given twice"),
        ("~: 1\n", "line 1: a key is not a name"),
        ("[a, b]: 1\n", "line 1: a key is not a name"),
        ("seed: !!int x\n", "is not YAML"),
        ("seed: !!timestamp x\n", "is not YAML"),
        ("lake: *nothing\n", "is not YAML"),
        ("a: &a {b: *a}\n", "is nested too deeply"),
        ("[" * 5000, "is nested too deeply"),
        ("lake: \0", "is not YAML"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_merge_key_may_be_overridden(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &a {x: '1', y: '2'}\nb: {c: {d: &d {<<: *a, x: '3'}}}\ne: {<<: *d, z: '4'}\n")
    assert read_yaml(str(tmp_path / "c.yaml"))["b"]["c"]["d"] == {"x": "3", "y": "2"}


@given(VALUES.filter(lambda value: isinstance(value, dict) and value), st.data())
def test_any_duplicate_key_is_found_and_no_other(tmp_path_factory, values, data):
    path = tmp_path_factory.mktemp("yaml") / "c.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    assert read_yaml(str(path)) == values
    key = data.draw(st.sampled_from(list(values)))
    path.write_text(yaml.safe_dump(values, sort_keys=False) + yaml.safe_dump({key: "again"}))
    with pytest.raises(UsageError, match=f"key `{key}` is given twice"):
        read_yaml(str(path))


@pytest.mark.parametrize(("low", "high"), list(itertools.permutations(["tail_share", "t_en", "p"], 2)))
@pytest.mark.parametrize("source", ["flag", "environment"])
def test_a_source_of_p_replaces_another_one_from_a_lower_source(tmp_path, monkeypatch, low, high, source):
    text = f"lake: /l\nbalance: {{{low}: 1, policy: fixed}}\n"
    flags = [f"--balance.{high}", "1"] if source == "flag" else []
    if source == "environment":
        monkeypatch.setenv(f"WORLDCURATE_BALANCE__{high.upper()}", "1")
    section = load(tmp_path, text, *flags).balance
    assert (getattr(section, low), getattr(section, high), section.policy) == (None, 1, "fixed")


def test_two_sources_of_p_in_one_source_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="set only one of t_en, p"):
        load(tmp_path, "lake: /l\nbalance: {t_en: 5, p: 0.1}\n")
    with pytest.raises(UsageError, match="set only one of t_en, p"):
        load(tmp_path, "lake: /l\n", "--balance.p", "0.1", "--balance.t_en", "5")
    monkeypatch.setenv("WORLDCURATE_BALANCE__T_EN", "7")
    assert load(tmp_path, "balance: {tail_share: 0.5}\n", "--balance.p", "0.1").balance.p == 0.1


@pytest.mark.parametrize(("low", "high"), [("steps", "seen_pairs"), ("seen_pairs", "steps")])
def test_the_length_of_a_training_on_the_command_line_replaces_that_of_the_file(tmp_path, low, high):
    config = load(tmp_path, f"lake: /l\n{low}: 100\n", f"--{high}", "7", model=TrainConfig)
    assert (getattr(config, low), getattr(config, high)) == (None, 7)
