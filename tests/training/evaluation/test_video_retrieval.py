"""Videos are retrieved by their frames; rescored results are a task of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from curation.errors import InputError, UsageError
from support.encoders import stub_encoder
from support.shards import draw
from support.videos import write_video
from training.data.transforms import decode
from training.evaluation.embed import StoredImage
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.held_out import MIN_PAIRS, HeldOutPair, held_out_retrieval
from training.evaluation.measure import check_inputs, measure
from training.evaluation.results_table import results_table
from training.evaluation.video_retrieval import embed_videos

pytest.importorskip("av")

PICTURES = [draw(number)[0] for number in range(70)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """A list of three videos of other lengths, of which two have captions in two languages."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for number in range(3):
        write_video(folder / f"{number}.mp4", 10 + 9 * number)
        captions = {"en": [f"video {number}", "a video"]} | ({"de": [f"Video {number}"]} if number else {})
        rows.append({"video": f"{number}.mp4", "captions": captions})
    (folder / "videos.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder / "videos.jsonl"


def set_of(path: Path, **keys) -> EvaluationSet:
    return EvaluationSet(videos=str(path), video_frames=4, **keys)


def test_a_set_of_videos_has_a_result_per_language_and_with_the_flag_rescored_ones_apart(videos):
    check_inputs(set_of(videos))
    plain = list(measure(stub_encoder(), set_of(videos)))
    assert [(row["task"], row["language"], row["videos"], row["texts"]) for row in plain] == [
        ("video_retrieval", "en", 3, 6),
        ("video_retrieval", "de", 2, 2),
    ]
    assert all((row["frames"], row["pooling"]) == (4, "mean") for row in plain)
    assert {"video_to_text_recall@1", "text_to_video_recall@10", "text_to_video_mrr@5"} <= plain[0].keys()
    rescored = list(measure(stub_encoder(), set_of(videos, dual_softmax=True, languages=["de"])))
    assert [row["task"] for row in rescored] == ["video_retrieval", "video_retrieval_dual_softmax"]
    assert rescored[0] == plain[1]
    titles = [str(table.title) for table in results_table(rescored)]
    assert titles == ["Text-video retrieval", "Text-video retrieval with dual softmax over all texts"]


def test_a_video_is_the_mean_of_its_frames_without_a_model_of_videos():
    frames = [[StoredImage("", picture) for picture in PICTURES[n : n + 3]] for n in range(40)]
    encoder = stub_encoder()
    prepared = [torch.stack([encoder.prepare(decode(frame.data)) for frame in video]) for video in frames]
    expected = normalize(torch.stack([video.mean(0) for video in prepared]), dim=-1)
    torch.testing.assert_close(embed_videos(encoder, frames), expected)


@pytest.mark.parametrize(
    ("line", "error", "problem"),
    [
        (
            {"video": "none.mp4", "captions": {"en": ["a"]}},
            InputError,
            r"none\.mp4: the video cannot be read \(video_miss",
        ),
        ({"video": "none.mp4"}, InputError, r"line 1: expected \{'video': path, 'captions'"),
        ({"captions": {"en": ["a"]}}, InputError, r"line 1: expected"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_one_line(tmp_path, line, error, problem):
    (tmp_path / "v.jsonl").write_text(json.dumps(line))
    with pytest.raises(error, match=problem) as caught:
        check_inputs(set_of(tmp_path / "v.jsonl"))
    assert "\n" not in str(caught.value)


def test_dual_softmax_needs_videos():
    with pytest.raises(UsageError, match="dual_softmax: videos is missing: set it to the captioned videos"):
        check_inputs(EvaluationSet(captions="c", dual_softmax=True))


def test_held_out_pairs_with_frames_are_measured_as_videos():
    pairs = [
        HeldOutPair(b"not read", f"text {number}", "en", PICTURES[2 * number : 2 * number + 2])
        for number in range(MIN_PAIRS)
    ]
    bad = HeldOutPair(b"", "text", "en", [PICTURES[0], b"no picture"])
    found = held_out_retrieval(stub_encoder(), [*pairs[:5], bad, *pairs[5:]])
    assert found.figures.keys() == {
        "held_out_pairs",
        "held_out_unreadable",
        "video_to_text_recall",
        "text_to_video_recall",
    }
    assert (found.figures["held_out_pairs"], found.figures["held_out_unreadable"]) == (MIN_PAIRS, 1)
    [result] = found.results
    assert (result["task"], result["videos"], result["frames"]) == ("video_retrieval", MIN_PAIRS, 2)
    assert {len(example.pictures) for example in found.examples} == {4}
