"""Frames are those at equal distances, upright, with their times; what cannot be read has none."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.annotations.base import NoValue
from curation.annotations.load import load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError
from curation.lake.schemas import annotation_schema
from jobs.tasks.annotate.inputs import as_columns
from jobs.tasks.annotate.video import VideoFrames
from support.videos import FRAMES, write_video
from training.data.views.frame_choice import frame_indices

pytest.importorskip("av")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4")


def listed(tmp_path, *entries: dict) -> str:
    path = tmp_path / "videos.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)) + "\n\n")
    return str(path)


ROWS = pa.table({"image_id": ["a", "b", "c", "d"], "image_url": ["http://h/a", "http://h/b", None, "http://h/d"]})


def brightness(frame: bytes) -> float:
    return float(np.asarray(Image.open(io.BytesIO(frame)), float).mean())


def test_a_row_has_the_frames_of_its_video_at_equal_distances(video, tmp_path):
    model = listed(
        tmp_path,
        {"image_url": "http://h/b", "video": video, "subtitle": "s", "caption": "c"},
        {"image_id": "d", "video": str(tmp_path / "videos.jsonl")},
    )
    none, made, also_none, broken = VideoFrames(model, count=4, max_side=32)(ROWS, 0)
    assert none is also_none is None
    assert broken == NoValue("not_a_video")
    assert (made["subtitle"], made["caption"]) == ("s", "c")
    numbers = frame_indices(FRAMES, 4)
    assert made["frame_times"] == pytest.approx([number / 10 for number in numbers])
    assert [brightness(frame) for frame in made["frames"]] == pytest.approx([8 * number for number in numbers], abs=4)
    assert [Image.open(io.BytesIO(frame)).size for frame in made["frames"]] == [(32, 16)] * 4
    columns = as_columns([none, made, also_none], list(annotation_schema("frames"))[2:])
    assert [column.null_count for column in columns] == [2] * 4


def test_a_short_video_repeats_frames_and_one_frame_is_the_middle_one(video, tmp_path):
    model = listed(tmp_path, {"image_id": "a", "video": video})
    [many, *_] = VideoFrames(model, count=2 * FRAMES)(ROWS, 0)
    assert len(many["frames"]) == 2 * FRAMES
    assert many["frame_times"] == sorted(many["frame_times"])
    assert len(set(many["frame_times"])) == FRAMES
    [one, *_] = VideoFrames(model, count=1)(ROWS, 0)
    assert one["frame_times"] == pytest.approx([FRAMES // 2 / 10])


def test_a_video_that_cannot_be_read_has_a_reason_in_the_place_of_a_value(tmp_path):
    (tmp_path / "v.mp4").write_text("no video")
    model = listed(
        tmp_path, {"image_id": "a", "video": str(tmp_path / "v.mp4")}, {"image_id": "b", "video": "/no/such"}
    )
    made = VideoFrames(model, count=3)(ROWS, 0)
    assert made == [NoValue("not_a_video"), NoValue("video_missing"), None, None]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"videos\.jsonl cannot be read \(.*\): write one JSON object per line"),
        ('{"video": "v"}', r"videos\.jsonl, line 1: give image_id or image_url, and video"),
        ('{"image_id": "a"}', r"line 1: give image_id or image_url, and video"),
        ("[]", r"cannot be read \(.*\): write one JSON object per line"),
    ],
)
def test_a_list_of_videos_that_cannot_be_read_is_refused_in_one_line(tmp_path, line, problem):
    (tmp_path / "videos.jsonl").write_text(line)
    section = AnnotateSection(makers={"frames": {"model": str(tmp_path / "videos.jsonl")}})
    with pytest.raises(UsageError, match=problem) as caught:
        load_maker(section, "frames")
    assert "\n" not in str(caught.value)
