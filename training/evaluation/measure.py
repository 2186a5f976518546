"""Measure a model on an evaluation set: zero-shot classification, a linear probe, retrieval of images and videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.evaluation.captioned_images import CaptionedImage, captioned_images
from training.evaluation.class_prompts import Classes, read_classes
from training.evaluation.encoder import Encoder
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.examples import Example, retrieval_examples
from training.evaluation.labeled_images import Labeled, embed_labeled, labeled_images
from training.evaluation.linear_probe import linear_probe
from training.evaluation.retrieval import Captioned, Result, different_images, embed_captioned, retrieval
from training.evaluation.video_retrieval import (
    captioned_videos,
    embed_captioned_videos,
    frames_of,
    video_retrieval,
)
from training.evaluation.zero_shot import zero_shot


def measure(encoder: Encoder, data: EvaluationSet, examples: list[Example] | None = None) -> Iterator[Result]:
    """Yield the results of all tasks of a set: `task` and the keys of that task.

    With a list `examples`, some of the set's texts are appended to it, with the pictures that the model finds.

    Raises InputError if an input cannot be read, UsageError if it has none of a language to measure.
    """
    if data.images:
        yield from _measure_labels(encoder, data, data.images)
    if data.captions:
        captioned = embed_captions(encoder, data)
        for result in retrieval(encoder, captioned, equal_captions=data.equal_captions):
            yield {"task": "retrieval", **result}
        if examples is not None:
            examples += retrieval_examples(encoder, captioned, different_images(captions_of(data)))
    if data.videos:
        yield from _measure_videos(encoder, data, data.videos)


def _measure_videos(encoder: Encoder, data: EvaluationSet, path: str) -> Iterator[Result]:
    captioned = embed_captioned_videos(encoder, captioned_videos(Path(path)), data.video_frames)
    languages = data.chosen_languages(captioned.captions, "videos")
    chosen = captioned._replace(captions={language: captioned.captions[language] for language in languages})
    yield from video_retrieval(
        encoder,
        chosen,
        frames=data.video_frames,
        equal_captions=data.equal_captions,
        rescored=data.dual_softmax,
    )


def check_inputs(data: EvaluationSet) -> None:
    """Read the classes and the first image or video of each input, so that a mistake is found before a long run.

    Raises the errors of `EvaluationSet.check_keys` and `measure`.
    """
    data.check_keys()
    classes = _read_classes(data)
    for path in (data.images, data.probe_images):
        if path:
            next(labeled_images(path, data.columns, by_index=classes.by_index), None)
    if data.captions:
        next(captions_of(data), None)
    if data.videos and (first := next(captioned_videos(Path(data.videos)), None)):
        frames_of(first.path, data.video_frames)


def captions_of(data: EvaluationSet) -> Iterator[CaptionedImage]:
    """Yield the captioned images of a set."""
    folder = Path(data.image_folder) if data.image_folder else None
    return captioned_images(data.captions or "", folder, data.columns)


def embed_captions(encoder: Encoder, data: EvaluationSet) -> Captioned:
    """Embed the captioned images of a set, with the captions of the languages to measure."""
    captioned = embed_captioned(encoder, captions_of(data))
    languages = data.chosen_languages(captioned.captions, "captions")
    return captioned._replace(captions={language: captioned.captions[language] for language in languages})


def _measure_labels(encoder: Encoder, data: EvaluationSet, path: str) -> Iterator[Result]:
    prompts, by_index = _read_classes(data)

    def embed(source: str) -> Labeled:
        return embed_labeled(encoder, labeled_images(source, data.columns, by_index=by_index))

    images = embed(path)
    for result in zero_shot(encoder, images, prompts) if data.classes else ():
        yield {"task": "zero_shot", **result}
    if data.probe_images:
        yield {"task": "linear_probe", **linear_probe(embed(data.probe_images), images, inverse_penalty=data.probe_c)}


def _read_classes(data: EvaluationSet) -> Classes:
    """Return the classes of the languages to measure; none without the key."""
    if not data.classes:
        return Classes({}, by_index=False)
    prompts, by_index = read_classes(Path(data.classes), Path(data.templates) if data.templates else None)
    return Classes({name: prompts[name] for name in data.chosen_languages(prompts, "classes")}, by_index)
