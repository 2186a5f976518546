from __future__ import annotations

import json

import pytest
import torch

from curation.cli.run import run_command
from support.shards import COLORS, SHAPES, draw, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.evaluate import main
from training.train import train


@pytest.fixture
def files(tmp_path):
    for number in range(24):
        (tmp_path / f"{number}.png").write_bytes(draw(number)[0])
    rows = [{"image": f"{number}.png", "label": COLORS[number % 6]} for number in range(24)]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    languages = {"en": {color: [f"a {color} {shape}" for shape in SHAPES] for color in COLORS}}
    (tmp_path / "classes.json").write_text(json.dumps({"languages": languages}))
    return tmp_path


def flags(folder, checkpoint) -> list[str]:
    labels, classes = folder / "labels.jsonl", folder / "classes.json"
    return ["--checkpoint", str(checkpoint), "--images", str(labels), "--classes", str(classes)]


def test_a_trained_model_classifies_colors_without_labels(shard_lake, files, capsys):
    shard_lake.publish([shard_row(n) for n in range(24, 168)], group_rows=50, file_rows=200)
    output = files / "model"
    keys = {"batch_size": 24, "steps": 60, "lr": 1e-3, "image_size": 16, "vocab_size": 320, "log_every": 60}
    config = TrainConfig(lake=str(shard_lake.root), output=str(output), **keys)
    train(config, World(0, 1, torch.device("cpu")))
    capsys.readouterr()
    captions = {"en": [[draw(number)[1]] for number in range(24)]}
    lists = {"images": [f"{number}.png" for number in range(24)], "captions": captions}
    (files / "captions.json").write_text(json.dumps(lists))
    more = ["--captions", str(files / "captions.json"), "--image_folder", str(files)]
    more += ["--probe_images", str(files / "labels.jsonl"), "--probe_c", "100"]
    assert run_command(main, flags(files, output) + more) == 0
    printed = capsys.readouterr()
    result, probe, found = map(json.loads, printed.out.splitlines())
    assert "Image-text retrieval" in printed.err
    assert (probe["task"], probe["train_n"]) == ("linear_probe", 24)
    assert probe["accuracy"] > 2 * probe["chance"]
    assert (found["task"], found["language"], found["images"], found["texts"]) == ("retrieval", "en", 24, 24)
    assert found["text_to_image_recall@5"] > 2 * 5 / 24
    assert (result["task"], result["language"], result["n"], result["classes"]) == ("zero_shot", "en", 24, 6)
    assert result["low"] > 2 * result["chance"]


def test_bad_input_ends_with_the_documented_code(files, capsys):
    assert run_command(main, flags(files, files / "nowhere")) == 3
    assert "contains no checkpoint" in capsys.readouterr().err
    for arguments, line in (
        (["--checkpoint", "x"], "key `images` is missing"),
        (["--checkpoint", "x", "--images", "y"], "images: nothing to measure: set classes"),
        (["--checkpoint", "x", "--captions", "y", "--probe_images", "z"], "probe_images: images is missing"),
        ([*flags(files, "x"), "--languages", "en,xx"], "languages: classes has no xx: choose from en"),
    ):
        assert run_command(main, arguments) == 2
        assert line in capsys.readouterr().err
