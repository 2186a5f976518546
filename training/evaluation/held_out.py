"""Retrieval of images or videos on the held-out pairs of a run: over all of them, and per language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from torch import Tensor

from curation.errors import InputError
from curation.io.storage import Storage
from training.data.sample_order import permutation
from training.data.shard_index import ShardIndex
from training.data.shard_reader import RowGroup, ShardReader
from training.data.views.frame_choice import frame_indices
from training.evaluation.embed import StoredImage, embed_images, embed_texts
from training.evaluation.encoder import Encoder
from training.evaluation.examples import Example, retrieval_examples
from training.evaluation.metrics.recall import recalls
from training.evaluation.retrieval import Captioned, Result, retrieval
from training.evaluation.video_retrieval import embed_videos, video_retrieval

DIRECTIONS = ("image_to_text", "text_to_image")
MIN_PAIRS = 20  # of a language; recall among fewer says little


class HeldOutPair(NamedTuple):
    """The bytes of an image, its text and the language of the text, and some frames of its video, if they are read."""

    image: bytes
    text: str
    language: str
    frames: Sequence[bytes] = ()


class HeldOutResults(NamedTuple):
    """What was found on the held-out pairs.

    Attributes:
        figures: recall@1 over all pairs, the number of pairs, and how many images are unreadable.
        results: the results of every language with at least `MIN_PAIRS` pairs.
        examples: examples of retrieval in these languages.
    """

    figures: dict[str, float]
    results: list[Result]
    examples: list[Example]


def held_out_retrieval(encoder: Encoder, pairs: Sequence[HeldOutPair]) -> HeldOutResults:
    """Measure retrieval among the held-out pairs: of videos, if they have frames, or else of images.

    Pairs with an unreadable image or frame are left out. Pairs with equal captions are not errors of each other.
    """
    sources, images, measured = _embed(encoder, pairs)
    num_frames = len(pairs[0].frames) if pairs else 0
    captions = [pairs[number].text for number in measured]
    figures: dict[str, float] = {"held_out_pairs": len(captions), "held_out_unreadable": len(pairs) - len(captions)}
    by_language: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, number in enumerate(measured):
        by_language[pairs[number].language].append((row, captions[row]))
    if captions:
        figures |= _recall(encoder, images, captions, has_frames=num_frames > 0)
    large = {language: rows for language, rows in sorted(by_language.items()) if len(rows) >= MIN_PAIRS}
    if not large:
        return HeldOutResults(figures, [], [])
    captioned = Captioned(images, large)
    if num_frames:
        results = list(video_retrieval(encoder, captioned, frames=num_frames, equal_captions=True))
    else:
        results = [{"task": "retrieval", **result} for result in retrieval(encoder, captioned, equal_captions=True)]
    return HeldOutResults(
        figures, results, retrieval_examples(encoder, captioned, (sources[number] for number in measured))
    )


def held_out_recall(encoder: Encoder, pairs: Sequence[HeldOutPair]) -> dict[str, float]:
    """Return recall@1 in both directions among held-out pairs with a readable image, as `held_out_retrieval` does.

    Raises InputError if no image can be read.
    """
    _, images, measured = _embed(encoder, pairs)
    if not measured:
        raise InputError(f"validation_share: none of {len(pairs)} held-out images can be read: fetch them again")
    return _recall(encoder, images, [pairs[number].text for number in measured])


def _embed(encoder: Encoder, pairs: Sequence[HeldOutPair]) -> tuple[list[StoredImage], Tensor, list[int]]:
    """Return the images or middle frames, the embeddings of those that can be read, and the numbers of their pairs."""
    unreadable: list[int] = []
    if pairs and pairs[0].frames:
        videos = [[StoredImage("a held-out frame", frame) for frame in pair.frames] for pair in pairs]
        sources = [frames[len(frames) // 2] for frames in videos]
        images = embed_videos(encoder, videos, unreadable)
    else:
        sources = [StoredImage("a held-out image", pair.image) for pair in pairs]
        images = embed_images(encoder, sources, unreadable)
    return sources, images, sorted(set(range(len(pairs))) - set(unreadable))


def _recall(encoder: Encoder, images: Tensor, captions: Sequence[str], *, has_frames: bool = False) -> dict[str, float]:
    """Return recall@1 in both directions; images with equal captions are not errors of each other."""
    found = recalls(images, embed_texts(encoder, captions), range(len(captions)), captions)
    kind = "video" if has_frames else "image"
    return {f"{way.replace('image', kind)}_recall": found[f"{way}_recall@1"] for way in DIRECTIONS}


def read_pairs(index: ShardIndex, storage: Storage, limit: int, frames: int = 0) -> list[HeldOutPair]:
    """Return `limit` samples of an index, or all, with `frames` of their videos; row groups are read in random order.

    Rows of a batch are in hash order, so these are a random sample of all batches and recipes.
    """
    pairs: list[HeldOutPair] = []
    with closing(ShardReader(index, storage)) as reader:
        for group in permutation(len(index.counts), 0, "held-out", 0).tolist():
            if len(pairs) < limit and index.counts[group]:
                rows = reader.load(group)
                numbers = range(min(limit - len(pairs), len(rows)))
                pairs += [HeldOutPair(*rows[row], rows.language(row), _frames(rows, row, frames)) for row in numbers]
    return pairs


def _frames(rows: RowGroup, row: int, count: int) -> list[bytes]:
    """Return frames at equal distances of a sample's video."""
    stored = rows.frames(row) if count else []
    return [bytes(stored[number]) for number in frame_indices(len(stored), count)] if stored else []
