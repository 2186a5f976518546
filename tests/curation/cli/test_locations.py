"""Relative paths in a config file refer to its folder; those of flags and variables, to the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.cli.keys import keys_of
from curation.cli.locations import path_key
from curation.cli.settings import load_config
from jobs.runtime.config import Config
from metadata.download import DownloadConfig
from training.config import TrainConfig
from training.evaluate import EvaluateConfig

EVERY_PATH = """
lake: lake
metrics: ./metrics
metadata: {wikipedia: ["en=dumps/en*", "dumps/{code}*", "fr=/abs/fr"], pageviews: views, wordnet: [/omw, "s3://b/omw"]}
ingest:
  inputs: [a.gz, "in/*.gz", /abs/b.gz, "https://h/c.gz", "s3://b/d/"]
  base_url: here
  filters: {block_urls: block.txt, block_texts: {all: all.txt, de: /de.txt}}
match: {lid_model: default, lid_labels: labels.tsv}
"""


def load(path: Path | str, *flags: str, model=Config):
    return load_config(model, ["--config", str(path), *flags], prog="python -m x", description="")


def paths_of(config) -> dict:
    return {
        key: value
        for key, info in keys_of(type(config)).items()
        if path_key(info)
        for value in [eval(f"config.{key}", {"config": config})]
        if value
    }


@pytest.mark.parametrize("folder", ["conf", "a b[1]%41é", "../up"])
def test_every_relative_path_in_a_file_is_below_its_folder(tmp_path, monkeypatch, folder):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    Path(folder).mkdir(parents=True)
    Path(folder, "c.yaml").write_text(EVERY_PATH)
    assert paths_of(load(f"{folder}/c.yaml")) == {
        "lake": f"{folder}/lake",
        "metrics": f"{folder}/./metrics",
        "metadata.wikipedia": [f"en={folder}/dumps/en*", f"{folder}/dumps/{{code}}*", "fr=/abs/fr"],
        "metadata.pageviews": [f"{folder}/views"],
        "metadata.wordnet": ["/omw", "s3://b/omw"],
        "ingest.inputs": [f"{folder}/a.gz", f"{folder}/in/*.gz", "/abs/b.gz", "https://h/c.gz", "s3://b/d/"],
        "ingest.base_url": f"{folder}/here",
        "ingest.filters.block_urls": [f"{folder}/block.txt"],
        "ingest.filters.block_texts": {"all": f"{folder}/all.txt", "de": "/de.txt"},
        "match.lid_model": "default",
        "match.lid_labels": f"{folder}/labels.tsv",
    }


def test_paths_of_a_file_in_the_working_directory_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(EVERY_PATH)
    for name in ("c.yaml", "./c.yaml"):
        config = load(name)
        assert (config.lake, config.metrics, config.ingest.inputs[1]) == ("lake", "./metrics", "in/*.gz")


def test_flags_and_variables_refer_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(EVERY_PATH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLDCURATE_METRICS", "m")
    config = load("conf/c.yaml", "--lake", "other", "--ingest.inputs", "x.gz")
    assert (config.lake, config.metrics, config.ingest.inputs) == ("other", "m", ["x.gz"])
    assert config.ingest.base_url == "conf/here"


def test_a_tilde_is_the_home_folder_in_every_source(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "c.yaml").write_text("lake: ~/lake\nmetadata: {wikipedia: en=~/d, wordnet: [~/w, ~other]}\n")
    config = load(tmp_path / "c.yaml", "--metrics", "~/metrics", "--ingest.inputs=~/in")
    assert (config.lake, config.metrics, config.ingest.inputs) == ("/home/me/lake", "/home/me/metrics", ["/home/me/in"])
    assert config.metadata.wikipedia == ["en=/home/me/d"]
    assert config.metadata.wordnet == ["/home/me/w", f"{tmp_path}/~other"]


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        (
            TrainConfig,
            "lake: l\noutput: o\nsteps: 1\ntokenizer: train\nresume: 'yes'\n",
            {"lake": "DIR/l", "output": "DIR/o", "tokenizer": "train", "resume": True},
        ),
        (TrainConfig, "steps: 1\ntokenizer: t.json\nresume: r\n", {"tokenizer": "DIR/t.json", "resume": "DIR/r"}),
        (
            EvaluateConfig,
            "checkpoint: c\nimages: i\nclasses: /k\n",
            {"checkpoint": "DIR/c", "images": "DIR/i", "classes": "/k"},
        ),
        (DownloadConfig, "out: sources\n", {"out": "DIR/sources"}),
    ],
)
def test_configs_of_other_commands_resolve_their_paths_too(tmp_path, model, text, expected):
    (tmp_path / "c.yaml").write_text(text)
    found = paths_of(load(tmp_path / "c.yaml", model=model))
    assert {key: value for key, value in found.items() if value} == {
        key: value.replace("DIR", str(tmp_path)) if isinstance(value, str) else value for key, value in expected.items()
    }


@given(st.text(st.sampled_from("abé/. %[]#~=:"), min_size=1, max_size=8).filter(str.strip))
def test_any_relative_lake_of_a_file_is_found_from_any_working_directory(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "c.yaml").write_text(f'lake: "{name}"\n')
    lake = load(folder / "c.yaml").lake
    if name.startswith(("/", "~/")) or name == "~":
        assert Path(lake).is_absolute()
    elif "://" not in name:
        assert lake == f"{folder}/{name}"
