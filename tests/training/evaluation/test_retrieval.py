from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from curation.errors import InputError, UsageError
from support.encoders import stub_encoder, vector
from support.shards import draw
from training.data.transforms import decode
from training.evaluation.captioned_images import CaptionedImage, captioned_images
from training.evaluation.embed import StoredImage
from training.evaluation.metrics.recall import recalls
from training.evaluation.retrieval import embed_captioned, retrieval
from training.evaluation.stored_rows import Columns

IMAGES = [draw(n)[0] for n in range(6)]
CAPTIONS = {"en": [[f"picture {n}"] for n in range(6)], "ja": [[f"写真 {n % 5}"] for n in range(6)]}


@pytest.fixture
def layouts(tmp_path) -> dict[str, str]:
    """The same images and captions in every layout."""
    for folder in ("images", "xtd/images"):
        (tmp_path / folder).mkdir(parents=True)
        for n, image in enumerate(IMAGES):
            (tmp_path / folder / f"{n}.jpg").write_bytes(image)
    lines = [
        {"image/key": str(n), "image/locale": "en", **{key: {"caption": part[n]} for key, part in CAPTIONS.items()}}
        for n in range(6)
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "lists.json").write_text(json.dumps({"images": [f"{n}.jpg" for n in range(6)], "captions": CAPTIONS}))
    (tmp_path / "xtd" / "XTD10").mkdir()
    (tmp_path / "xtd" / "XTD10" / "test_image_names.txt").write_text("".join(f"{n}.jpg\n" for n in range(6)))
    for language, part in CAPTIONS.items():
        path = tmp_path / "xtd" / "XTD10" / f"test_1kcaptions_{language}.txt"
        path.write_text("".join(f"{caption}\n" for (caption,) in part))
    rows = [(n, language, part[n]) for n in range(6) for language, part in CAPTIONS.items()]
    for name, texts in (("one", [row[2][0] for row in rows]), ("list", [row[2] for row in rows])):
        columns = {"image": [IMAGES[row[0]] for row in rows], "lang": [row[1] for row in rows], "text": texts}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    names = ("captions.jsonl", "lists.json", "xtd", "one.parquet", "list.parquet")
    return {name: str(tmp_path / name) for name in names}


def test_every_layout_gives_the_same_figures(layouts):
    results = {}
    for name, path in layouts.items():
        embedded = embed_captioned(stub_encoder(), captioned_images(path, None, Columns()))
        assert len(embedded.embeddings) == 6, "rows of the same image are one image"
        results[name] = list(retrieval(stub_encoder(), embedded, equal_captions=True))
    assert all(result == results["captions.jsonl"] for result in results.values())
    images = torch.stack([stub_encoder().prepare(decode(image)) for image in IMAGES])
    english, japanese = results["xtd"]
    assert (english["language"], english["images"], english["texts"], english["shared_captions"]) == ("en", 6, 6, 0)
    assert (japanese["images"], japanese["texts"], japanese["shared_captions"]) == (6, 6, 2)
    texts = [caption for (caption,) in CAPTIONS["ja"]]
    assert recalls(images, torch.stack([vector(text) for text in texts]), range(6), texts).items() <= japanese.items()


def test_a_shared_caption_is_correct_for_one_or_for_all_of_its_images():
    samples = [CaptionedImage(StoredImage(str(n), image), {"en": ["a picture"]}) for n, image in enumerate(IMAGES)]
    embedded = embed_captioned(stub_encoder(), samples)
    (shared,) = retrieval(stub_encoder(), embedded, equal_captions=True)
    assert (shared["text_to_image_recall@1"], shared["image_to_text_recall@1"]) == (1.0, 1.0)
    (own,) = retrieval(stub_encoder(), embedded, equal_captions=False)
    assert own["text_to_image_recall@1"] == pytest.approx(1 / 6), "all texts find the same image"
    assert own["shared_captions"] == 6


def test_a_language_is_measured_on_the_images_that_have_captions_in_it():
    samples = [
        CaptionedImage(StoredImage("0", IMAGES[0]), {"en": ["a", "b", "a"], "de": []}),
        CaptionedImage(StoredImage("1", IMAGES[1]), {"fr": ["c"]}),
        CaptionedImage(StoredImage("0 again", IMAGES[0]), {"fr": ["d"]}),
        CaptionedImage(StoredImage("2", IMAGES[2]), {"en": ["e"]}),
    ]
    results = list(retrieval(stub_encoder(), embed_captioned(stub_encoder(), samples), equal_captions=True))
    assert [(row["language"], row["images"], row["texts"]) for row in results] == [("en", 2, 3), ("fr", 2, 2)]
    (one,) = retrieval(stub_encoder(), embed_captioned(stub_encoder(), samples[1:2]), equal_captions=True)
    assert (one["image_uniformity"], one["text_to_image_recall@10"]) == (None, 1.0)


def test_bad_input_is_named_in_the_error(tmp_path, layouts):
    def read(path: str | Path, text: str | None = None):
        if text is not None:
            Path(path).write_text(text)
        return list(captioned_images(str(path), None, Columns()))

    for line in ('{"en": {"caption": ["a"]}}', '{"image/key": "1", "en": {"caption": "a"}}', "[]"):
        with pytest.raises(InputError, match=r"x\.jsonl line 1: expected \{'image/key': key"):
            read(tmp_path / "x.jsonl", line)
    for content in ('{"images": ["a"], "captions": {"en": []}}', '{"images": ["a"], "captions": {"en": ["a"]}}', "3"):
        with pytest.raises(InputError, match=r"x\.json: expected \{'images': \[name"):
            read(tmp_path / "x.json", content)
    captions = Path(layouts["xtd"]) / "XTD10" / "test_1kcaptions_ja.txt"
    captions.write_text("only one\n")
    with pytest.raises(InputError, match=r"test_1kcaptions_ja\.txt: 1 captions \(ja\) of 6 images"):
        read(layouts["xtd"])
    with pytest.raises(UsageError, match=r"captions: .*nowhere has no known layout"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="captions: there is no image with a caption"):
        embed_captioned(stub_encoder(), [CaptionedImage(StoredImage("0", IMAGES[0]), {})])
