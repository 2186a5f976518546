"""Examples of retrieval show the pictures that the model finds, and the rank of the first correct one."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path

import pytest
from PIL import Image

from curation.errors import InputError
from support.encoders import stub_encoder, vector
from support.shards import draw
from training.data.transforms import decode
from training.evaluation.captioned_images import CaptionedImage
from training.evaluation.embed import StoredImage
from training.evaluation.examples import EXAMPLES, PICTURES, retrieval_examples, thumbnail
from training.evaluation.retrieval import different_images, embed_captioned

IMAGES = [draw(number)[0] for number in range(12)]
SAMPLES = [
    CaptionedImage(
        StoredImage(str(number % 12), IMAGES[number % 12]),
        {"en": [f"picture {number % 12}"], "he": [f"תמונה {number % 5}"] if number < 10 else []},
    )
    for number in range(15)  # some images come twice
]


def examples():
    embedded = embed_captioned(stub_encoder(), SAMPLES)
    return retrieval_examples(stub_encoder(), embedded, different_images(SAMPLES))


def test_rank_and_pictures_are_those_of_a_full_sort():
    found = examples()
    assert len({(example.language, example.text) for example in found}) == 12 + 5
    images = [stub_encoder().prepare(decode(image)) for image in IMAGES]
    for example in found:
        candidates = range(12) if example.language == "en" else range(10)
        captions = {n: SAMPLES[n].captions[example.language][0] for n in candidates}
        order = sorted(candidates, key=lambda n: float(images[n] @ vector(example.text)), reverse=True)
        is_correct = [captions[number] == example.text for number in order]
        assert (example.rank, example.candidates) == (is_correct.index(True) + 1, len(candidates))
        assert [picture.correct for picture in example.pictures] == is_correct[:PICTURES]
        assert [picture.source for picture in example.pictures] == [
            thumbnail(StoredImage("", IMAGES[number])) for number in order[:PICTURES]
        ]


def test_every_language_has_examples_and_their_number_is_bounded():
    many = [
        CaptionedImage(StoredImage(str(n), IMAGES[n]), {f"l{part:02}": [f"text {n} {part}"] for part in range(9)})
        for n in range(12)
    ]
    embedded = embed_captioned(stub_encoder(), many)
    found = retrieval_examples(stub_encoder(), embedded, different_images(many))
    assert len(found) == EXAMPLES
    assert {example.language for example in found} == {f"l{part:02}" for part in range(9)}
    again = retrieval_examples(stub_encoder(), embedded, different_images(many))
    assert again == found


def test_a_thumbnail_is_a_small_jpeg_and_a_missing_picture_is_named(tmp_path):
    source = thumbnail(StoredImage("", draw(1, side=600)[0]))
    kind, _, content = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert max(Image.open(io.BytesIO(b64decode(content))).size) == 112
    with pytest.raises(InputError, match=r"cannot read .*gone\.png: No such file"):
        thumbnail(Path(tmp_path / "gone.png"))
