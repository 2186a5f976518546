from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.hashing import u64
from support.shards import COLORS, draw
from training.evaluation.zero_shot import read_classes, read_labels, wilson_interval, zero_shot
from training.models.metaclip2 import PRESETS, build_model

MODULE = "training.evaluation.zero_shot"


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(PRESETS["tiny"], tokenizer, side=16)


IMAGES = [draw(number)[0] for number in range(24)]


def vector(key: object) -> torch.Tensor:
    """Return a different unit vector for every key."""
    values = np.random.Generator(np.random.PCG64(u64(0, "test", str(key)))).normal(size=8)
    return torch.tensor(values / np.linalg.norm(values))


def test_an_image_is_assigned_to_the_class_with_the_nearest_mean_prompt(model, tokenizer, monkeypatch):
    monkeypatch.setattr(f"{MODULE}.embed_images", lambda _, images: torch.stack([vector(image) for image in images]))
    monkeypatch.setattr(f"{MODULE}.embed_texts", lambda _, __, texts: torch.stack([vector(text) for text in texts]))
    images = [str(number).encode() for number in range(400)]
    labels = [COLORS[number % 6] for number in range(400)]
    prompts = {color: [f"{color} {k}" for k in range(2 + len(color) % 3)] for color in COLORS}
    (result,) = zero_shot(model, tokenizer, images, labels, {"en": prompts})
    correct = 0
    for image, label in zip(images, labels, strict=True):
        similarity = {}
        for color, texts in prompts.items():
            mean = sum(vector(text) for text in texts) / len(texts)
            similarity[color] = float(vector(image) @ mean / mean.norm())
        correct += max(similarity, key=similarity.__getitem__) == label
    assert (result["correct"], result["n"], result["classes"]) == (correct, 400, 6)
    assert result["accuracy"] == correct / 400
    assert result["chance"] == pytest.approx(1 / 6)
    assert (result["low"], result["high"]) == wilson_interval(correct, 400)


def test_each_language_is_evaluated_on_the_labels_it_lists(model, tokenizer):
    labels = [COLORS[number % 6] for number in range(24)]
    classes = {"de": {"red": ["rot"], "blue": ["blau"]}, "fr": {"violet": ["violet"]}, "es": {"green": ["verde"]}}
    results = zero_shot(model, tokenizer, IMAGES, labels, classes)
    assert [(r["language"], r["n"], r["classes"]) for r in results] == [("de", 8, 2), ("es", 4, 1)]
    assert results[1]["accuracy"] == 1.0
    with pytest.raises(InputError, match="classes: no language lists the label of any image"):
        zero_shot(model, tokenizer, IMAGES, ["?"] * 24, classes)


def test_the_wilson_interval_matches_tabulated_values():
    assert wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_contains_the_proportion(case):
    correct, n = case
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


def test_bad_input_is_named_in_the_error(tmp_path, model, tokenizer):
    labels, classes = tmp_path / "labels.jsonl", tmp_path / "classes.json"
    labels.write_text('{"image": "0.png", "label": "red"}\n{"image": "1.png"}\n')
    with pytest.raises(InputError, match=r"labels\.jsonl line 2: expected \{'image': path, 'label': class\}"):
        read_labels(labels)
    labels.write_text("\n")
    with pytest.raises(InputError, match="lists no images"):
        read_labels(labels)
    for languages in ("[]", '{"en": ["red"]}', '{"en": {"red": 3}}', '{"en": {"red": "red"}}', '{"en": {"red": [3]}}'):
        classes.write_text(f'{{"languages": {languages}}}')
        with pytest.raises(InputError, match=r"classes\.json: expected \{'languages'"):
            read_classes(classes)
    for broken in ("[]", "{"):
        classes.write_text(broken)
        with pytest.raises(InputError, match=r"classes\.json: expected \{'languages'"):
            read_classes(classes)
    classes.write_text('{"languages": {"en": {"red": []}}}')
    with pytest.raises(InputError, match="no prompt for en: red"):
        read_classes(classes)
    with pytest.raises(InputError, match=r"cannot read .*absent\.json"):
        read_classes(tmp_path / "absent.json")
    (tmp_path / "0.png").write_bytes(b"no picture")
    prompts = {"en": {"red": ["red"]}}
    with pytest.raises(InputError, match=r"0\.png: the image cannot be decoded"):
        zero_shot(model, tokenizer, [tmp_path / "0.png"], ["red"], prompts)
    with pytest.raises(InputError, match=r"cannot read .*none\.png: No such file"):
        zero_shot(model, tokenizer, [tmp_path / "none.png"], ["red"], prompts)
