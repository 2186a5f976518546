"""Hashes of embeddings are the signs of one projection, and find the pictures of a list."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.errors import InputError, UsageError
from curation.images.decode import ImageLimits, verify
from jobs import make_hash_list
from jobs.explain import Explainer
from jobs.tasks.models.image_hash import EmbeddingHasher, sign_bits
from jobs.tasks.models.pretrained import check_model
from support.duplicates import name_of, rows, run_night, similar
from support.in_process import change
from support.nights import picture

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LIMITS = ImageLimits()
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random CLIP with an image processor and no tokenizer."""
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=SIZES | {"vocab_size": 8}, vision_config=SIZES | {"image_size": 32, "patch_size": 8}
    )
    transformers.CLIPModel(config).save_pretrained(path)
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "do_resize": True,
                 "do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_rescale": True,
                 "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
                 "do_convert_rgb": True, "resample": 3}  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(path)


def distance(first, second):
    return (int(first) ^ int(second)).bit_count()


@given(st.integers(0, 99), st.integers(1, 5), st.integers(2, 40))
def test_each_bit_is_the_sign_of_a_projection(seed, count, size):
    embeddings = np.random.default_rng(seed).normal(size=(count, size))
    hashes = sign_bits(embeddings)
    planes = np.random.Generator(np.random.PCG64(0)).standard_normal((size, 64))
    for row, value in zip(embeddings, hashes.tolist(), strict=True):
        products = (sum(np.round(row, 4) * planes[:, bit]) for bit in range(64))
        assert f"{value:064b}" == "".join("1" if product > 0 else "0" for product in products)
    assert [distance(value, other) for value, other in zip(hashes, sign_bits(-embeddings), strict=True)] == [64] * count


def test_bits_differ_with_the_angle_of_embeddings():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(2000, 64))
    other = rng.normal(size=(2000, 64))
    other -= first * (first * other).sum(1, keepdims=True) / (first * first).sum(1, keepdims=True)
    other *= np.linalg.norm(first, axis=1, keepdims=True) / np.linalg.norm(other, axis=1, keepdims=True)
    turned = np.cos(0.5) * first + np.sin(0.5) * other
    bits = [distance(a, b) for a, b in zip(sign_bits(first), sign_bits(turned), strict=True)]
    assert np.mean(bits) == pytest.approx(64 * 0.5 / np.pi, rel=0.05)


def test_hashes_are_those_of_the_model_in_any_batch(folder):
    images = [picture(n) for n in range(9)]
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        pixels = processor(images=[Image.open(io.BytesIO(data)).convert("RGB") for data in images], return_tensors="pt")
        pooled = model.vision_model(pixel_values=pixels["pixel_values"]).pooler_output
        embeddings = torch.nn.functional.normalize(model.visual_projection(pooled).double(), dim=-1).numpy()
    hasher = EmbeddingHasher(folder, LIMITS).hashes
    together = hasher(images)
    assert all(distance(a, b) <= 1 for a, b in zip(together, sign_bits(embeddings), strict=True))
    assert all(distance(a, hasher([data])[0]) <= 1 for a, data in zip(together, images, strict=True))
    assert len(set(together)) == len(images)
    assert len(hasher([])) == 0


def turned_original():
    """A photo as a camera stores it: on its side, with an orientation."""
    image = Image.open(io.BytesIO(picture(3))).convert("RGB").resize((600, 400))
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(data, "JPEG", quality=90, exif=exif)
    return data.getvalue()


def transparent_original():
    image, data = Image.open(io.BytesIO(picture(4))).convert("RGBA").resize((500, 300)), io.BytesIO()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("make", [turned_original, transparent_original])
@pytest.mark.parametrize("resize", ["keep_ratio", "border", "center_crop"])
def test_an_original_has_the_hash_of_the_jpeg_that_would_be_stored(folder, make, resize):
    limits = ImageLimits(64, resize=resize)
    hasher = EmbeddingHasher(folder, limits)
    assert hasher.hashes([make()]) == hasher.hashes([verify(make(), limits).image])


def test_an_image_that_cannot_be_decoded_has_no_hash_and_changes_no_other(folder, monkeypatch):
    images = [picture(1), b"\0\0\0\x18ftypheic" + bytes(60), picture(2), b"\x89PNG\r\n\x1a\n" + bytes(9), picture(3)]
    hashes = EmbeddingHasher(folder, LIMITS).hashes(images)
    assert [value is None for value in hashes] == [False, True, False, True, False]
    monkeypatch.setattr("jobs.tasks.models.image_hash.BATCH_BYTES", 1)
    alone = EmbeddingHasher(folder, LIMITS).hashes(images)
    assert all((a is None) == (b is None) for a, b in zip(hashes, alone, strict=True))
    assert all(distance(a, b) <= 1 for a, b in zip(hashes, alone, strict=True) if a is not None)


def test_pictures_are_removed_whose_embeddings_are_near_those_of_a_list(folder, nights, tmp_path):
    (tmp_path / "bench").mkdir()
    for number in (6, 7):
        (tmp_path / "bench" / f"{number}.png").write_bytes(similar(number))
    path = tmp_path / "list.parquet"
    flags = ["--inputs", str(tmp_path / "bench"), "--output", str(path), "--dedup.model", folder]
    assert make_hash_list.main(flags) == 0
    listed = {row["name"]: int(row["embedding"], 16) for row in pq.read_table(path).to_pylist()}
    dedup = {"exact": False, "near_radius": None, "hash_lists": [str(path)], "list_radius": None, "model": folder}
    context = change(nights[0], dedup={**dedup, "embedding_radius": 3})
    outcomes = run_night(context)
    names = name_of(context)
    found = {names[row["image_id"]]: (row["duplicate_of"], row["distance"]) for row in rows(context, "duplicates")}
    expected = {}
    for row in rows(context, "images"):
        if row["status"] == "ok":
            [value] = EmbeddingHasher(folder, LIMITS).hashes([row["image"]])
            bits, name = min((distance(value, other), name) for name, other in listed.items())
            if bits <= 3:
                expected[names[row["image_id"]]] = (name, bits)
    assert found == expected
    assert {"6.png", "7.png"} <= found.keys()
    assert {row["hash"] for row in rows(context, "duplicates")} == {"embedding"}
    image_id = next(image_id for image_id, name in names.items() if name == "6.png")
    verdict = Explainer(context).image(image_id).verdict
    assert verdict.endswith(
        f"benchmark image, {found['6.png'][1]} of 64 bits of the embedding from '6.png' of a hash list"
    )
    assert outcomes["shards"].drops["benchmark_image"] == len(found)
    assert len(found) < 25


def test_a_list_of_another_model_is_refused(folder, nights, tmp_path):
    (tmp_path / "one.png").write_bytes(picture(1))
    path = str(tmp_path / "list.parquet")
    assert make_hash_list.main(["--inputs", str(tmp_path / "one.png"), "--output", path]) == 0
    with pytest.raises(InputError, match=r"was not made with the model of dedup.model: make it again"):
        run_night(change(nights[0], dedup={"hash_lists": [path], "model": folder}))


def test_a_folder_without_a_model_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"dedup.model: .* has no config.json of a model: give the folder of one"):
        check_model(str(tmp_path), "dedup.model")
    monkeypatch.setattr("jobs.tasks.models.pretrained.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"dedup.model: needs torch and transformers: run pip install"):
        check_model(str(tmp_path), "dedup.model")
