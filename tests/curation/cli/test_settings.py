"""Configuration: file < environment < flags, and every mistake is one line that names the key."""

from __future__ import annotations

import logging

import pytest

from curation import __version__
from curation.cli.keys import keys_of
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError, OutputError, UsageError
from jobs.runtime.config import Config
from metadata.config import LimitsSection


@pytest.fixture
def load(tmp_path, monkeypatch):
    def load_(text: str = "lake: /lake\n", *flags: str, required=("lake",), **environment: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        return load_config(
            Config, ["--config", str(path), *flags], prog="python -m jobs.x", description="x", required=required
        )

    return load_


def test_flags_override_the_environment_and_the_environment_overrides_the_file(load):
    text = "lake: /file\nseed: 1\nbalance: {t_en: 1}\n"
    config = load(text, "--seed", "3", WORLDCURATE_SEED="2", WORLDCURATE_LAKE="/environment")
    assert (config.lake, config.seed, config.balance.t_en) == ("/environment", 3, 1)
    assert load(text, "--balance.t_en", "9").balance.t_en == 9


def test_a_section_set_in_two_sources_is_merged(load):
    config = load("lake: /l\nimages: {max_side: 64}\n", "--images.timeout_s", "2", WORLDCURATE_IMAGES__RETRIES="5")
    assert (config.images.max_side, config.images.timeout_s, config.images.retries) == (64, 2.0, 5)


def test_names_that_look_like_numbers_or_dates_remain_names(load):
    assert load("lake: /l\nbatch: 2024-05-31\n").batch == "2024-05-31"
    assert load("lake: /l\nbatch: 2024_05\n").batch == "2024_05"
    assert load("lake: /l\nspark: {conf: {spark.cores.max: 4, spark.x: true}}\n").spark.conf == {
        "spark.cores.max": "4",
        "spark.x": "true",
    }


def test_a_list_may_be_written_as_a_single_value(load):
    assert load("lake: /l\ningest: {inputs: /a/*.gz}\n").ingest.inputs == ["/a/*.gz"]
    assert load("lake: /l\n", "--ingest.inputs", "a", "--ingest.inputs", "b").ingest.inputs == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("lake: /l\nballance: {}\n", [], "unknown key `ballance`"),
        ("lake: /l\nbalance: {t_em: 5}\n", [], "unknown key `balance.t_em` (did you mean `balance.t_en`?)"),
        ("lake: /l\nbalance: {t_en: many}\n", [], "key `balance.t_en`"),
        ("lake: /l\nmatch: {rules: own}\n", [], "key `match.rules`"),
        ("lake: /l\nimages: 5\n", [], "key `images`"),
        ("lake: /l\nimages: {max_side: 0}\n", [], "key `images.max_side`"),
        ("lake: /l\nbalance: {t_en: 5, p: 0.1}\n", [], "set only one of t_en, p"),
        ("seed: 1\n", [], "key `lake` is missing"),
        ("- a\n", [], "must have keys and values"),
        ("a: [\n", [], "is not YAML"),
        ("lake: /l\n", ["--nonsense", "1"], "--nonsense"),
        ("lake: /l\n", ["--seed"], "--seed"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(load, text, flags, message):
    with pytest.raises(UsageError) as caught:
        load(text, *flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_the_environment_is_refused(load):
    with pytest.raises(UsageError, match=r"unknown key `balance\.foo`"):
        load("lake: /l\n", WORLDCURATE_BALANCE__FOO="1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WORLDCURATE_BALANCE__FOO", "1"), ("WORLDCURATE_BALANCE__T_EN", "many"), ("WORLDCURATE_BALANCE", '{"foo": 1}')],
)
def test_a_mistake_in_the_environment_names_the_variable(load, variable, value):
    with pytest.raises(UsageError, match=rf"set by the environment variable {variable}\)"):
        load("lake: /l\n", **{variable: value})


def test_a_mistake_in_a_flag_does_not_name_a_variable_that_it_overrides(load):
    with pytest.raises(UsageError, match="t_en") as caught:
        load("lake: /l\n", "--balance.t_en", "many", WORLDCURATE_BALANCE__T_EN="5")
    assert "WORLDCURATE" not in str(caught.value)


@pytest.mark.parametrize("batch", ["batch: 2024-05-31\n", ""])
def test_the_batch_is_named_in_inputs(load, batch):
    inputs = 'ingest: {inputs: "/c/{batch}/*.gz", sources: [{inputs: ["s3://b/{batch}.paths", /x]}]}\n'
    config = load(f"lake: /l\n{batch}{inputs}", *([] if batch else ["--batch", "2024-05-31"]))
    assert config.ingest.inputs == ["/c/2024-05-31/*.gz"]
    assert config.ingest.sources[0].inputs == ["s3://b/2024-05-31.paths", "/x"]


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        load_config(Config, ["--config", "nowhere.yaml"], prog="x", description="x")


def test_help_names_every_key(capsys):
    with pytest.raises(SystemExit):
        load_config(Config, ["--help"], prog="x", description="x")
    text = capsys.readouterr().out
    missing = [key for key in keys_of(Config) if f"--{key}" not in text]
    assert missing == []


def test_every_key_has_a_description():
    assert [key for key, info in keys_of(Config).items() if not info.description] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (RuntimeError("x"), 1), (UsageError("x"), 2), (InputError("x"), 3), (OutputError("x"), 4)],
)
def test_exit_codes_distinguish_kinds_of_failure(error, code, capsys):
    handlers = logging.getLogger().handlers[:]

    def command(_):
        if error:
            raise error

    try:
        assert run_command(command, []) == code
    finally:
        logging.getLogger().handlers[:] = handlers
    output = capsys.readouterr()
    assert output.out == ""
    assert ("error:" in output.err) == bool(error)


def test_help_marks_required_keys_and_shows_at_most_one_default(capsys):
    with pytest.raises(SystemExit):
        load_config(Config, ["--help"], prog="python -m jobs.x", description="x", required=("lake", "ingest.inputs"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "the lake: a folder or s3://bucket/prefix (required) --" in shown
    assert "replaced by the batch (required) --ingest.base_url" in shown
    assert "or a crawl --batch_order" in shown
    assert "--recipe str name of the balancing recipe (default: default)" in shown
    assert "default: the variable AWS_REGION --storage.anonymous" in shown


def test_the_default_user_agent_names_this_version():
    assert Config().images.user_agent == f"worldcurate/{__version__}"


def test_help_shows_the_sections_of_the_command_first_and_the_keys_of_every_section(capsys):
    with pytest.raises(SystemExit):
        load_config(Config, ["--help"], prog="python -m jobs.x", description="x", sections=("gc", "match"))
    text = capsys.readouterr().out
    titles = ["\noptions:", "\nmatch options:", "\ngc options:", "\nmetadata options:", "\nimages options:"]
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)
    limits = text[text.index("keys of metadata.limits.NAME") :]
    assert [name for name in LimitsSection.model_fields if f"  {name}  " not in limits] == []
