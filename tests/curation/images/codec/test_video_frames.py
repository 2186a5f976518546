"""A video gives its frames, or costs one reason, whatever its bytes are."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.images.codec import video_frames
from curation.images.codec.budget import BudgetedProcess
from curation.images.codec.video_frames import FrameLimits, VideoError, choose_frames, decode_frames, read_frames
from support.scenes import encoded, scene
from support.videos import FRAMES, SIDE, write_video
from training.data.views.frame_choice import frame_indices

pytest.importorskip("av")

LIMITS = FrameLimits(count=4, max_side=32)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return Path(write_video(tmp_path_factory.mktemp("video") / "v.mp4"))


def reason(path: Path, limits: FrameLimits = LIMITS) -> str:
    with pytest.raises(VideoError) as caught:
        read_frames(str(path), limits)
    return caught.value.reason


@given(st.integers(1, 500), st.integers(1, 40))
def test_the_chosen_frames_are_those_that_the_trainer_would_choose(total, count):
    assert choose_frames(total, count) == frame_indices(total, count)


def test_the_child_process_gives_the_frames_of_this_process(video):
    found = read_frames(str(video), LIMITS)
    assert found == decode_frames(str(video), LIMITS)
    numbers = choose_frames(FRAMES, 4)
    assert [frame.time for frame in found] == pytest.approx([number / 10 for number in numbers])
    pictures = [Image.open(io.BytesIO(frame.image)) for frame in found]
    assert [picture.size for picture in pictures] == [(32, 16)] * 4
    assert [np.asarray(picture).mean() for picture in pictures] == pytest.approx([8 * n for n in numbers], abs=4)


def test_a_video_with_another_name_is_read_by_its_data(video, tmp_path):
    odd = tmp_path / "picture.jpg"
    odd.write_bytes(video.read_bytes())
    assert read_frames(str(odd), LIMITS) == read_frames(str(video), LIMITS)


def playlist(video: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{video}\n#EXT-X-ENDLIST\n".encode()


BAD: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty.mp4": (lambda _: b"", "not_a_video"),
    "text.mp4": (lambda _: b"no video " * 999, "not_a_video"),
    "picture.mp4": (lambda _: encoded(scene()), "not_a_video"),
    "playlist.mp4": (playlist, "not_a_video"),
    "concat.mp4": (lambda video: f"ffconcat version 1.0\nfile {video}\n".encode(), "not_a_video"),
    "sound.wav": (lambda _: b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(999), "not_a_video"),
    "headless.mp4": (lambda video: video.read_bytes()[:200], "not_a_video"),
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_video_have_the_reason(video, tmp_path, name):
    make, expected = BAD[name]
    (tmp_path / name).write_bytes(make(video))
    assert reason(tmp_path / name) == expected
    assert read_frames(str(video), LIMITS), "the next video is read"


def test_what_is_missing_or_an_address_is_not_opened(tmp_path):
    for path in (tmp_path / "none.mp4", tmp_path, Path("http://127.0.0.1:9/v.mp4")):
        assert reason(path) == "video_missing"


def test_a_stream_without_a_frame_has_a_reason(tmp_path):
    assert reason(Path(write_video(tmp_path / "none.mkv", frames=0))) == "no_frames"


def test_a_video_of_too_many_pixels_or_frames_is_refused_before_it_is_decoded(video, monkeypatch):
    assert reason(video, replace(LIMITS, max_pixels=2 * SIDE * SIDE - 1)) == "video_too_large"
    assert len(read_frames(str(video), replace(LIMITS, max_pixels=2 * SIDE * SIDE))) == 4
    monkeypatch.setattr(video_frames, "MAX_FRAMES", FRAMES - 1)
    monkeypatch.setattr(video_frames, "_decode", None)
    with pytest.raises(VideoError, match="video_too_large"):
        decode_frames(str(video), LIMITS)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "ts"])
def test_a_cut_or_damaged_video_gives_frames_or_a_reason(tmp_path, kind, share):
    path = Path(write_video(tmp_path / f"v.{kind}"))
    data = bytearray(path.read_bytes())
    damaged = data[: int(share * len(data))]
    for position in range(100, len(data), 997):
        data[position] ^= 0x5A
    for content in (damaged, data):
        path.write_bytes(content)
        try:
            found = len(read_frames(str(path), LIMITS))
        except VideoError as error:
            found = error.reason
        assert found in {4, *video_frames.REASONS}


def abort_or_hang(request: bytes) -> bytes:
    """Answer as the child does, but crash or hang at videos of these names."""
    if b"crash" in request:
        os.abort()
    start = time.process_time()
    while b"hang" in request and time.process_time() < start + 60:
        pass
    return msgspec.msgpack.encode("no_frames")


def test_a_video_that_crashes_or_hangs_the_decoder_costs_itself_alone(monkeypatch):
    process = BudgetedProcess(f"{__name__}:{abort_or_hang.__name__}", 0.3, 2 << 30)
    monkeypatch.setattr(video_frames, "_decoder", process)
    paths = map(Path, ("/v/crash", "/v/fine", "/v/hang", "/v/fine"))
    assert [reason(path) for path in paths] == ["video_decoder_killed", "no_frames", "video_timeout", "no_frames"]
    process.close()
