"""The page of a run shows its curves, results and examples, and can be made again from the files of the run."""

from __future__ import annotations

import json
import re

import lxml.html
import pytest
import torch

from curation.cli.run import run_command
from support.evaluation_sets import write_sets
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.evaluation.examples import Example, Picture
from training.report.page import plain, render, total_steps, write_page
from training.report.run_data import read_run, write_examples
from training.run_page import main
from training.train import train

HOSTILE = '<script>alert("1")</script>&amp;'
WRITTEN = re.compile(r"written [-\d]+ [\d:]+ UTC")


def write_metrics(folder, lines) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def page_of(folder, state=None):
    return lxml.html.fromstring(render(read_run(folder, state or {})))


def result(step, language, recall, name="shapes") -> dict:
    figures = {f"{way}_recall@{k}": recall for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    counts = {"images": 9, "texts": 1234, "alignment": 0.5, "image_uniformity": None, "text_uniformity": -2.0}
    named = {"step": step, "epoch": 0, "evaluation": name, "task": "retrieval", "language": language}
    return named | counts | figures


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    ShardLake(root / "lake").publish([shard_row(n) for n in range(60)])
    keys = {"steps": 4, "save_every": 2, "validation_share": 0.1, "evaluations": write_sets(root / "sets")}
    config = TrainConfig(**SMALL | keys | {"lake": str(root / "lake"), "output": str(root / "out")})
    train(config, World(0, 1, torch.device("cpu")))
    return root / "out"


def test_a_run_writes_a_page_with_all_its_parts(trained):
    page = lxml.html.fromstring((trained / "run.html").read_text(encoding="utf-8"))
    titles = [title.text_content() for title in page.iter("h3")]
    assert titles == [
        "Loss", "Gradient norm", "Logit scale", "Learning rate", "Pairs per second", "Seconds per step",
        "Share of waiting for data", "Peak memory of rank 0, GiB", "Recall@1 on held-out pairs",
    ]  # fmt: skip
    assert len(page.findall(".//svg[@class='rank']")) == len(titles) + 2, "a chart for each set"
    sections = [title.text_content() for title in page.iter("h2")]
    assert sections[1:5] == [
        "Pairs seen by language",
        "shapes: image-text retrieval",
        "colors: zero-shot classification",
        "shapes: retrieval examples",
    ]
    tiles = {tile.findtext("dt"): tile.findtext("dd") for tile in page.findall(".//dl[@class='tiles']/div")}
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert (tiles["step of 4"], tiles["loss"]) == ("4", plain(losses[-1]))
    facts = page.find(".//dl[@class='facts']").text_content()
    assert "step 4, epoch 1" in facts
    assert "batch size 16" in facts
    assert "loss info_nce" in facts
    seen = [[cell.text_content().strip() for cell in row] for row in page.find(".//table").iter("tr")][1:]
    assert [row[:4] for row in seen] == [["en", "", "64", "100.0%"]]


def test_the_page_is_self_contained_and_made_again_from_the_files(trained, capsys):
    before = (trained / "run.html").read_text(encoding="utf-8")
    page = lxml.html.fromstring(before)
    addresses = [value for element in page.iter() for name, value in element.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert "http" not in re.sub(r'"data:[^"]*"', "", before)
    (trained / "run.html").unlink()
    assert run_command(main, ["--run", str(trained)]) == 0
    assert capsys.readouterr().out == f"{trained / 'run.html'}\n"
    assert WRITTEN.sub("", (trained / "run.html").read_text(encoding="utf-8")) == WRITTEN.sub("", before)


def test_a_folder_without_a_run_exits_with_3(tmp_path, capsys):
    assert run_command(main, ["--run", "s3://bucket/runs/1"]) == 2
    assert "run: s3://bucket/runs/1 is on S3: open its run.html there" in capsys.readouterr().err
    assert run_command(main, ["--run", str(tmp_path)]) == 3
    assert "has no metrics.jsonl: pass the output folder of a training run" in capsys.readouterr().err


def test_a_run_without_steps_or_checkpoint_has_a_page_that_says_so(tmp_path):
    write_metrics(tmp_path, [])
    text = page_of(tmp_path).text_content()
    assert "none yet" in text
    assert "no step is logged yet" in text


def test_tables_show_the_newest_results_with_their_mean(tmp_path):
    lines = [result(10, "en", 0.25), result(10, "he", 0.5), result(20, "en", 0.5), result(20, "he", 0.75)]
    write_metrics(tmp_path, lines)
    table = page_of(tmp_path).find(".//table")
    rows = [[cell.text_content().strip() for cell in row] for row in table.iter("tr")]
    assert rows[0][:4] == ["Language", "images", "texts", "I→T R@1"]
    assert [row[0] for row in rows[1:]] == ["en", "he", "Mean"]
    assert [row[1:4] for row in rows[1:]] == [["9", "1,234", "50.0%"], ["9", "1,234", "75.0%"], ["", "", "62.5%"]]
    assert rows[1][rows[0].index("unif. I")] == "–"
    assert len(table.findall(".//svg[@class='trend']")) == 2


def test_the_share_of_pairs_seen_is_shown_by_language(tmp_path):
    shares = [{"seen_share/en": 0.75, "seen_share/he": 0.25}, {"seen_share/he": 0.375, "seen_share/en": 0.625}]
    write_metrics(tmp_path, [{"step": step, "epoch": 0} | line for step, line in enumerate(shares)])
    counts = {"seen_pairs_by_language": {"en": 5000, "he": 3000}}
    state = {"step": 9, "progress": [1, 0], "samples": 7, "version": 0, "config": {"lake": "l"}} | counts
    table = page_of(tmp_path, state).find(".//table")
    rows = [[cell.text_content().strip() for cell in row] for row in table.iter("tr")][1:]
    assert rows == [["en", "", "5,000", "62.5%", ""], ["he", "", "3,000", "37.5%", ""]]


def test_texts_are_escaped_and_written_in_their_direction(tmp_path):
    write_metrics(tmp_path / HOSTILE.replace("/", ""), [result(10, HOSTILE, 0.25)])
    picture = Picture(source="data:image/jpeg;base64,", similarity=0.5, correct=True)
    texts = {"he": "קשת בענן", "ar": "قوس قزح", "pt_br": "arco-íris", "all": HOSTILE}
    shown = [
        Example(language=key, text=text, rank=2, candidates=1000, pictures=(picture,)) for key, text in texts.items()
    ]
    folder = tmp_path / HOSTILE.replace("/", "")
    write_examples(folder, {HOSTILE: shown})
    page = page_of(folder)
    assert len(page.findall(".//script")) == 1, "only that of the tables"
    found = page.findall(".//bdi")
    assert [element.text for element in found] == list(texts.values())
    assert [element.get("dir") for element in found] == ["auto"] * 4
    assert [element.get("lang") for element in found] == ["he", "ar", "pt-br", None]
    assert "number 2 of 1,000" in page.text_content()


def test_the_page_warns_of_slow_data_unreadable_images_and_sets_that_failed(tmp_path):
    steps = [{"step": step, "epoch": 0, "loss": 1.0, "data_wait_share": 0.25} for step in (1, 2)]
    held_out = {"step": 2, "epoch": 0, "held_out_unreadable": 3}
    write_metrics(tmp_path, [*steps, result(1, "en", 0.5, "gone"), held_out, result(2, "en", 0.5)])
    page = page_of(tmp_path)
    assert [item.text_content() for item in page.find(".//ul[@class='warnings']")] == [
        "Rank 0 waited for data 25% of the time: raise num_workers, or give the processes more cores.",
        "3 held-out images cannot be read; they are left out of the recall.",
        "The set gone was not measured at the last evaluation: it was removed, or the log says why.",
    ]


def test_a_damaged_file_of_examples_is_left_out(tmp_path):
    write_metrics(tmp_path, [result(1, "en", 0.5)])
    (tmp_path / "examples.json").write_text('{"a": [{"lan')
    write_page(tmp_path, {})
    assert "retrieval examples" not in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_numbers_are_short():
    shown = [0, 7.5e-4, 1e-3, 0.125, 2.6843, 14.79812, 3120.4, 1234567.8]
    assert list(map(plain, shown)) == ["0", "7.5e-4", "1e-3", "0.125", "2.684", "14.8", "3,120", "1,234,568"]
    assert total_steps({"seen_pairs": 33, "batch_size": 16}) == 3
    assert total_steps({"seen_english_pairs": 33, "batch_size": 16}) is None
