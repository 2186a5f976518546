"""Every part runs once, a stopped run continues, and a repeated arm is the same bit for bit."""

from __future__ import annotations

import json
import socket

import pytest
import yaml

from curation.errors import OutputError
from proof import run
from proof.arm_run import ArmRun
from proof.curation import Curation
from proof.plan import Part, estimate, plan
from proof.settings import Scale, read_arm, read_world
from proof.world import write_json

SCALE = Scale(pictures=300, models={"tiny": 256, "vit_s_16": 64}, arms=["english", "merged"], seeds=2)


def test_the_plan_finishes_a_model_and_a_seed_before_the_next():
    parts = plan(SCALE, 2)
    assert parts[:4] == [Part(arm, "tiny", seed) for seed in (0, 1) for arm in ("english", "merged")]
    assert {part.model for part in parts[4:]} == {"vit_s_16"}
    assert len(parts) == len(set(parts)) == 8


def test_a_larger_run_is_estimated_to_take_longer():
    large = SCALE.model_copy(update={"models": {"tiny": 2560, "vit_s_16": 640}, "pictures": 3000})
    for part in (None, Part("merged", "tiny", 0), Part("merged", "vit_s_16", 0)):
        assert estimate(part, large) > estimate(part, SCALE) > 0


@pytest.mark.parametrize(("arm", "key"), [("english", "seen_pairs"), ("scaled", "seen_english_pairs")])
def test_an_arm_sets_the_length_that_it_names(tmp_path, arm, key):
    world = read_world()
    folder = tmp_path / "run"
    one = ArmRun(world, read_arm(arm), model="tiny", seen_pairs=256, seed=3, seed_folder=tmp_path, folder=folder)
    config = one._config()
    assert config[key] == 256
    assert (config["seed"], config["preset"], config["deterministic"]) == (3, "tiny", True)
    one.folder.mkdir()
    write_json(one.folder / "result.json", {"config": config})
    assert one.is_done
    write_json(one.folder / "result.json", {"config": config | {"lr": 1.0}})
    assert not one.is_done


def small_parameters(parameters, path):
    """Write the parameters of a world that is curated and trained on in a minute or two, and return their file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scale = {"pictures": 300, "models": {"tiny": 128}, "arms": ["english", "merged"], "seeds": 1}
    values = json.loads(parameters.model_dump_json())
    values["site"]["port"] = port
    values["training"]["batch_size"] = 32
    values["scales"] = {"tiny": scale}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_proof_runs_continues_and_repeats(parameters, tmp_path, capsys, monkeypatch):
    path, out = small_parameters(parameters, tmp_path / "world.yaml"), tmp_path / "out"
    monkeypatch.delenv("WORLDCURATE_CACHE")  # the language-ID model is in the usual cache
    monkeypatch.setattr("proof.packages.cache_folder", lambda: tmp_path / "cache")
    arguments = ["--world", str(path), "--scale", "tiny", "--out", str(out)]
    run.main(arguments)
    page = (out / "tiny" / "proof.html").read_text(encoding="utf-8")
    assert "inconclusive" in page
    found = json.loads((out / "tiny" / "results.json").read_bytes())
    assert {row["arm"] for row in found["arms"]} == {"english", "merged"}
    models = {arm: (out / "tiny" / "seed-0" / "runs" / f"{arm}-tiny" / "result.json") for arm in ("english", "merged")}
    before = {arm: file.stat().st_mtime_ns for arm, file in models.items()}
    run.main(arguments)
    assert {arm: file.stat().st_mtime_ns for arm, file in models.items()} == before
    run.main([*arguments, "--arm", "merged", "--seed", "0"])
    assert "bit for bit" in capsys.readouterr().out
    check_that_held_out_artwork_is_found(parameters, out / "tiny" / "seed-0")


def check_that_held_out_artwork_is_found(parameters, folder):
    """Let a picture in the shards be one of a held-out artist."""
    pictures = folder / "world" / "pictures.jsonl"
    rows = [json.loads(line) for line in pictures.read_text(encoding="utf-8").splitlines()]
    pictures.write_text("".join(json.dumps(row | {"artist": "twitter"}) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(OutputError, match="shows held-out artwork"):
        Curation(parameters, folder, 0)._count(read_arm("merged"))
