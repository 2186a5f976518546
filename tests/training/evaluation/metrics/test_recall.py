from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.encoders import vector
from training.evaluation.metrics import recall
from training.evaluation.metrics.recall import recalls


def slow_recall(queries, items, is_correct, k) -> float:
    hits = 0
    for q, query in enumerate(queries):
        ranked = sorted(range(len(items)), key=lambda i: -float(query @ items[i]))
        hits += any(is_correct(q, item) for item in ranked[:k])
    return hits / len(queries)


@st.composite
def cases(draw):
    images = draw(st.integers(1, 14))
    texts = draw(st.integers(images, 30))
    # every image has a text, the further ones belong to any image
    owners = [*range(images), *(draw(st.integers(0, images - 1)) for _ in range(texts - images))]
    captions = [draw(st.sampled_from("abcdefghij")) for _ in owners]
    return owners, captions, draw(st.integers(0, 1000)), draw(st.booleans())


@given(cases())
def test_recall_equals_that_of_a_sorted_list(case):
    owners, captions, seed, equal_captions = case
    images = torch.stack([vector((seed, "image", n)) for n in range(max(owners) + 1)])
    texts = torch.stack([vector((seed, "text", n)) for n in range(len(owners))])
    captions_of = [{captions[t] for t in range(len(owners)) if owners[t] == i} for i in range(len(images))]

    def is_correct(image, text):
        return owners[text] == image or (equal_captions and captions[text] in captions_of[image])

    found = recalls(images, texts, owners, captions if equal_captions else None)
    for k in (1, 5, 10):
        assert found[f"image_to_text_recall@{k}"] == pytest.approx(slow_recall(images, texts, is_correct, k))
        reverse = slow_recall(texts, images, lambda text, image: is_correct(image, text), k)
        assert found[f"text_to_image_recall@{k}"] == pytest.approx(reverse)


def test_queries_in_several_parts_give_the_same_recall(monkeypatch):
    images, texts = (torch.stack([vector((kind, n)) for n in range(50)]) for kind in "ab")
    whole = recalls(images, texts, range(50))
    monkeypatch.setattr(recall, "QUERIES_AT_ONCE", 7)
    assert recalls(images, texts, range(50)) == whole


def test_pairs_with_equal_captions_are_not_errors_of_each_other():
    eye = torch.eye(4)
    shifted = eye.roll(1, 0)  # every image is nearest to the text after it
    for captions, recall_at_1 in (("abcd", 0.0), ("aabb", 0.5), ("aaaa", 1.0)):
        found = recalls(eye, shifted, range(4), captions)
        assert (found["image_to_text_recall@1"], found["text_to_image_recall@1"]) == (recall_at_1, recall_at_1)
    assert recalls(eye, eye, range(4))["image_to_text_recall@1"] == 1.0
    assert recalls(eye, shifted, range(4))["image_to_text_recall@5"] == 1.0, "k may be more than the items"
