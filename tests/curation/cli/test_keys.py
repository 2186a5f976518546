"""A misspelt key, section, flag or variable is named with the right suggestion."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curation.cli.keys import all_keys, distance, suggest
from curation.cli.settings import load_config
from curation.errors import UsageError
from jobs.runtime.config import Config
from metadata.download import DownloadConfig
from training.config import TrainConfig

KEYS = sorted(all_keys(Config))
LETTERS = "abcdefghijklmnopqrstuvwxyz_"


@st.composite
def misspelt(draw, keys=KEYS):
    """A key and the key with one mistake: a letter lost, added, changed or swapped, or other case or hyphens."""
    key = draw(st.sampled_from(keys))
    place = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(LETTERS))
    typed = draw(
        st.sampled_from(
            [
                key[:place] + key[place + 1 :],
                key[:place] + letter + key[place:],
                key[:place] + letter + key[place + 1 :],
                key[:place] + key[place : place + 2][::-1] + key[place + 2 :],
                key.replace("_", "-"),
                key.upper(),
            ]
        )
    )
    assume(typed not in KEYS and not typed.startswith((".", "-")) and ".." not in typed and not typed.endswith("."))
    return key, typed


@given(misspelt())
def test_one_mistake_in_a_key_suggests_the_key(pair):
    key, typed = pair
    suggested = suggest(typed, KEYS)
    assert key in suggested or all(distance(typed, other, 1) == 1 for other in suggested)
    assert len(suggested) <= 3


@given(misspelt())
def test_one_mistake_in_a_flag_suggests_the_flag(pair):
    key, typed = pair
    with pytest.raises(UsageError, match="did you mean") as caught:
        load_config(Config, [f"--{typed}", "x", "--lake", "/l"], prog="python -m jobs.x", description="")
    assert f"`--{typed}`" in str(caught.value)
    suggested = [part.split("`")[0] for part in str(caught.value).split("`--")[2:]]
    assert key in suggested or all(distance(typed, other, 1) == 1 for other in suggested)


@given(misspelt(sorted(Config.model_fields)), st.sampled_from(["", "__T_EN"]))
def test_one_mistake_in_a_variable_suggests_the_variable(pair, rest):
    key, typed = pair
    assume(typed.isidentifier() and typed.upper() not in (*Config.other_variables, *map(str.upper, KEYS)))
    assume("__" not in typed and not typed.endswith("_"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"WORLDCURATE_{typed.upper()}{rest}", "1")
        with pytest.raises(UsageError, match="unknown key") as caught:
            load_config(Config, ["--lake", "/l"], prog="python -m jobs.x", description="")
    assert f"`WORLDCURATE_{key.upper()}{rest}`" in str(caught.value) or "did you mean" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ballance: {t_en: 5}", "unknown key `ballance` (did you mean `balance`?)"),
        ("ballance: 5", "unknown key `ballance` (did you mean `balance`?)"),
        ("t_en: 5", "unknown key `t_en` (did you mean `balance.t_en`?)"),
        ("timeout_s: 5", "unknown key `timeout_s` (did you mean `images.timeout_s` or `ingest.timeout_s`?)"),
        ("balance: {t-en: 5}", "unknown key `balance.t-en` (did you mean `balance.t_en`?)"),
        ("balance: {max side: 5}", "unknown key `balance.max side` (did you mean `images.max_side`?)"),
        ("images: {Max_Side: 5}", "unknown key `images.Max_Side` (did you mean `images.max_side`?)"),
        ("ingest: {storage: {rgion: x}}", "`ingest.storage.rgion` (did you mean `ingest.storage.region`?)"),
        (
            "metadata: {limits: {de: {unigram_cpa: 5}}}",
            "unknown key `metadata.limits.de.unigram_cpa` (did you mean `metadata.limits.de.unigram_cap`?)",
        ),
        ("metadata: {limits: {de: {unigram_cap: x}}}", "key `metadata.limits.de.unigram_cap`: Input should be"),
        ("spark: {conf: {spark.x: [1]}}", "key `spark.conf.spark.x`: Input should be"),
        ("ingest: {text_columns: [[1]]}", "key `ingest.text_columns`: Input should be"),
        ("qqqqqqqq: 1", "unknown key `qqqqqqqq`"),
    ],
)
def test_the_message_names_the_whole_key_and_the_one_that_was_meant(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(f"lake: /l\n{text}\n")
    with pytest.raises(UsageError) as caught:
        load_config(Config, ["--config", str(path)], prog="x", description="")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [TrainConfig, DownloadConfig])
def test_flags_of_other_commands_have_suggestions_too(model):
    with pytest.raises(UsageError, match=r"unknown option `--dry-run` \(did you mean `--dry_run`\?\)|`--batch-size`"):
        load_config(
            model, ["--batch-size" if model is TrainConfig else "--dry-run", "5"], prog="python -m x", description=""
        )


def test_an_argument_without_a_flag_is_named():
    with pytest.raises(UsageError, match=r"unexpected argument '2024-05-31' \(see python -m jobs\.x --help\)"):
        load_config(Config, ["--lake", "/l", "2024-05-31"], prog="python -m jobs.x", description="")
