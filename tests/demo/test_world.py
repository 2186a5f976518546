from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest

from curation.cli.settings import load_config
from curation.images.decode import DecodeError, ImageLimits, verify
from demo.site import NIGHTS
from demo.words import KINDS, languages
from demo.world import HELD_OUT, main, write_world
from jobs.runtime.config import Config

BASE_URL = "http://127.0.0.1:18999"


def digests(folder, leave_out=()):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_seed_determines_the_files_and_seeds_differ(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_world(tmp_path / name, seed, BASE_URL, pictures=200)
    first, again, other = (digests(tmp_path / name, {"config.yaml"}) for name in "abc")
    assert first == again
    same = {name for name in first if other.get(name) == first[name]}
    assert same == {"site/static/spacer.gif", "wordnet/dict/index.noun"}  # one pixel, and the vocabulary itself


def test_the_jobs_accept_the_configuration(world):
    config = load_config(Config, ["--config", str(world / "config.yaml")], prog="test", description="")
    assert config.metadata.languages == list(languages())
    assert config.batch == NIGHTS[0]
    assert config.balance.t_en
    dumps = [pattern.format(code=code) for pattern in config.metadata.wikipedia for code in languages()]
    for pattern in (*config.ingest.inputs, *config.metadata.pageviews, *dumps):
        assert list(world.glob(pattern.removeprefix(f"{world}/"))), pattern


def test_the_nights_inputs_exist(world):
    inputs = json.loads((world / "world.json").read_text())
    assert list(inputs["nights"]) == list(NIGHTS)
    for patterns in inputs["nights"].values():
        assert all(list(world.glob(pattern)) for pattern in patterns)


def test_truth_lists_every_picture_of_the_site(world):
    truth = rows(world / "truth.jsonl")
    files = {row["file"] for row in truth}
    assert files == {str(path.relative_to(world)) for path in world.glob("site/pictures/*")}
    assert all(row["image_url"] == f"{BASE_URL}/{row['file'].removeprefix('site/')}" for row in truth)
    assert {row["class"] for row in truth} == set(KINDS)


def test_held_out_pictures_are_balanced_and_not_on_the_site(world):
    labels = rows(world / "heldout" / "labels.jsonl")
    assert Counter(row["label"] for row in labels) == dict.fromkeys(KINDS, HELD_OUT)
    held_out = {digest for name, digest in digests(world / "heldout").items() if name != "labels.jsonl"}
    assert len(held_out) == len(labels) == HELD_OUT * len(KINDS)
    assert not held_out & set(digests(world / "site").values())


def test_zero_shot_prompts_name_every_kind_in_every_language(world):
    prompts_by_language = json.loads((world / "zeroshot.json").read_text())["languages"]
    assert set(prompts_by_language) == set(languages())
    for code, classes in prompts_by_language.items():
        assert set(classes) == set(KINDS)
        for kind, prompts in classes.items():
            word = languages()[code].nouns[kind].word
            assert len(set(prompts)) == len(prompts) > 3
            assert all(word in prompt for prompt in prompts)


def test_complete_pictures_pass_verification_and_broken_ones_do_not(world):
    limits = ImageLimits(max_side=96, min_side=16)
    for path in sorted(world.glob("site/pictures/*"))[:60] + sorted(world.glob("site/slow/*")):
        picture = verify(path.read_bytes(), limits)
        assert 64 <= picture.width <= 96
    reasons = {}
    for path in world.glob("site/broken/*"):
        with pytest.raises(DecodeError) as caught:
            verify(path.read_bytes(), limits)
        reasons.setdefault(path.name.partition("-")[0], set()).add(caught.value.reason)
    assert reasons == {"page": {"not_an_image"}, "cut": {"truncated"}}


def test_a_truncated_world_differs_in_one_crawl_file(world, tmp_path):
    write_world(tmp_path / "cut", 3, BASE_URL, pictures=900, truncated=True)
    whole, cut = digests(world / "crawl"), digests(tmp_path / "cut" / "crawl")
    assert [name for name in whole if whole[name] != cut[name]] == [f"{NIGHTS[-1]}/part-00001.warc.wat.gz"]


def test_a_folder_that_is_not_empty_is_refused(tmp_path, capsys):
    (tmp_path / "existing").write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path)])
    assert caught.value.code == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["existing"]
