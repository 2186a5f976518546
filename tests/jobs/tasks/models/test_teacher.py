"""Embeddings and scores are those that transformers gives, whatever the other rows are."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.annotations.grid import Grid
from curation.annotations.load import load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError
from jobs.tasks.models import teacher
from jobs.tasks.models.devices import choose_device
from jobs.tasks.models.teacher import ClipScore, TeacherImage, TeacherRegions, TeacherText, crop
from support.model_folders import save_clip
from support.shards import draw

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

COUNT = 7
BAD = 3  # the image that cannot be decoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"), "clip")


@pytest.fixture(autouse=True)
def batches(monkeypatch):
    monkeypatch.setattr(teacher, "BATCH", 3)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    images = [b"no image" if n == BAD else draw(n, 40)[0] for n in range(COUNT)]
    return pa.table({"image": pa.array(images, pa.large_binary()), "text": [f"{draw(n)[1]} {n}" for n in range(COUNT)]})


def pixels(rows: pa.Table, number: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(rows["image"][number].as_py())).convert("RGB"))


def expected(folder, *, image=None, text=None, unit=True):
    """Return the embedding of an image or a text, by the model itself."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    with torch.no_grad():
        if image is not None:
            features = model.get_image_features(**processor(images=[image], return_tensors="pt"))
        else:
            inputs = processor(text=[text], truncation=True, max_length=16, return_tensors="pt")
            features = model.get_text_features(**inputs)
    features = getattr(features, "pooler_output", features)[0].double().numpy()
    return features / np.linalg.norm(features) if unit else features


def test_vectors_are_the_unit_embeddings_of_the_model_in_float16(folder, rows):
    images, texts = TeacherImage(folder)(rows, 0), TeacherText(folder)(rows, 0)
    assert images[BAD] is None
    for number in range(COUNT):
        text = expected(folder, text=rows["text"][number].as_py())
        np.testing.assert_allclose(texts[number], text, atol=1e-3)
        if number != BAD:
            np.testing.assert_allclose(images[number], expected(folder, image=pixels(rows, number)), atol=1e-3)
            assert (images[number] == images[number].astype(np.float16)).all()
            assert images[number].dtype == np.float32
    assert len({tuple(text) for text in texts}) == COUNT


def test_vectors_may_have_the_length_that_the_model_gives_them(folder, rows):
    images, texts = TeacherImage(folder, unit=False)(rows, 0), TeacherText(folder, unit=False)(rows, 0)
    image, text = pixels(rows, 0), rows["text"][0].as_py()
    np.testing.assert_allclose(images[0], expected(folder, image=image, unit=False), rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(texts[0], expected(folder, text=text, unit=False), rtol=1e-2, atol=1e-3)
    assert abs(np.linalg.norm(texts[0]) - 1) > 0.01


def test_a_value_does_not_depend_on_the_other_rows(folder, rows):
    for maker in (TeacherText(folder), TeacherImage(folder), ClipScore(folder)):
        together = maker(rows, 0)
        for number in range(COUNT):
            [alone] = maker(rows.slice(number, 1), 0)
            if together[number] is None:
                assert alone is None
            else:
                np.testing.assert_allclose(alone, together[number], atol=1e-3)


def test_a_score_is_the_cosine_of_image_and_text(folder, rows):
    scores = ClipScore(folder)(rows, 0)
    assert scores[BAD] is None
    for number in set(range(COUNT)) - {BAD}:
        text = expected(folder, text=rows["text"][number].as_py())
        assert scores[number] == pytest.approx(expected(folder, image=pixels(rows, number)) @ text, abs=2e-4)


def test_every_region_has_the_embedding_of_its_crop(folder, rows):
    vectors, regions = TeacherRegions(folder)(rows, 0), Grid()(rows, 0)
    assert vectors[BAD] is None
    whole = TeacherImage(folder)(rows, 0)
    for number in set(range(COUNT)) - {BAD}:
        assert len(vectors[number]) == len(regions[number]) == 5
        np.testing.assert_allclose(vectors[number][4], whole[number], atol=1e-3)
        height, width = pixels(rows, number).shape[:2]
        corner = pixels(rows, number)[: -(-height // 2), : -(-width // 2)]
        np.testing.assert_allclose(vectors[number][0], expected(folder, image=corner), atol=1e-3)


def test_the_english_text_is_embedded_in_the_place_of_the_published_one(folder):
    texts = [("ein Hund", "de", "a dog"), ("a cat", "en", "a cat"), ("ein Haus", "de", None)]
    table = pa.Table.from_pylist(
        [
            {"text": text, "lang": lang, "texts": [{"text": english, "lang": "en", "entry_ids": []}] if english else []}
            for text, lang, english in texts
        ]
    )
    maker = TeacherText(folder, english={})
    assert maker.reads == ("text", "lang", "texts")
    vectors = maker(table, 0)
    for vector, (_, _, english) in zip(vectors, texts, strict=True):
        if english is None:
            assert vector is None
        else:
            np.testing.assert_allclose(vector, expected(folder, text=english), atol=1e-3)


class LeftHalf:
    """A detector that finds the left half of an image with a text that says so."""

    version, reads, uses_seed = "1", ("image", "text"), False

    def __call__(self, rows, seed):
        return [
            [{"box": [0, 0, 0.5, 1], "score": 0.5, "label": "left"}] if text.endswith("1") else []
            for text in rows["text"].to_pylist()
        ]


def test_regions_may_come_from_a_detector(folder, rows):
    vectors = TeacherRegions(folder, regions=f"{__name__}:LeftHalf")(rows, 0)
    assert [None if each is None else len(each) for each in vectors] == [0, 1, 0, None, 0, 0, 0]
    left = pixels(rows, 1)[:, :20]
    np.testing.assert_allclose(vectors[1][0], expected(folder, image=left), atol=1e-3)


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(1, 9), st.integers(1, 9))
def test_the_cells_of_a_grid_cover_the_image_and_have_pixels(rows, columns, whole, height, width):
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    [regions] = Grid(rows, columns, whole)(pa.table({"image_id": ["a"]}), 0)
    covered = np.zeros((height, width), bool)
    assert len(regions) == rows * columns + whole
    for region in regions:
        left, top, right, bottom = region["box"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        part = crop(image, region["box"])
        assert part.size
        for y in range(int(top * height), min(height, -int(-bottom * height // 1))):
            covered[y, int(left * width) : min(width, -int(-right * width // 1))] = True
    assert covered.all()


def test_models_and_detectors_that_cannot_be_used_are_refused_before_anything_starts(folder, tmp_path):
    def refused(problem, **keys):
        with pytest.raises(UsageError, match=problem):
            load_maker(AnnotateSection(makers={"teacher_regions": keys}), "teacher_regions")

    refused(r"annotate\.makers: .* has no config\.json of a model", model=str(tmp_path))
    refused(r"teacher_regions: regions: a:B cannot be imported", model=folder, regions="a:B")
    refused(r"Grid refuses its parameters \(ValueError: rows", model=folder, regions={"rows": 0})
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    refused(r"has a model of type 'bert': give one like CLIP or SigLIP", model=str(tmp_path))


def test_the_device_is_named_or_that_of_the_machine():
    assert choose_device("cuda:3") == "cuda:3"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
