from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.encoders import vector
from support.vectors import assert_close, expected, inputs
from training.evaluation.metrics import recall
from training.evaluation.metrics.dual_softmax import dual_softmax
from training.evaluation.metrics.recall import mean_reciprocal_rank, recalls


def slow_recall(queries, items, is_correct, k) -> float:
    hits = 0
    for q, query in enumerate(queries):
        ranked = sorted(range(len(items)), key=lambda i: -float(query @ items[i]))
        hits += any(is_correct(q, item) for item in ranked[:k])
    return hits / len(queries)


def slow_mrr(queries, items, is_correct, k) -> float:
    total = 0.0
    for q, query in enumerate(queries):
        ranked = sorted(range(len(items)), key=lambda i: -float(query @ items[i]))
        total += next((1 / rank for rank, item in enumerate(ranked[:k], 1) if is_correct(q, item)), 0)
    return total / len(queries)


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
        if k > 1:
            assert found[f"image_to_text_mrr@{k}"] == pytest.approx(slow_mrr(images, texts, is_correct, k))


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


def test_mean_reciprocal_ranks_are_those_of_the_vector():
    ranks = inputs("clip_italian", "mrr")["ranks"].int().tolist()
    found = np.array([[place == rank for place in range(1, 13)] for rank in ranks])
    for cutoff, wanted in expected("clip_italian", "mrr").items():
        assert_close(mean_reciprocal_rank(found, int(cutoff.removeprefix("@"))), wanted)


def test_dual_softmax_equals_the_vector():
    given = inputs("clip_vip", "dual_softmax")["similarity"]
    assert_close(dual_softmax(given), expected("clip_vip", "dual_softmax")["rescored"], atol=1e-30)


def test_rescored_recall_is_that_of_the_rescored_similarities_in_each_direction():
    images, texts = (torch.stack([vector((kind, n)) for n in range(20)]) for kind in "cd")
    found = recalls(images, texts, range(20), rescore=dual_softmax)
    for way, scores in (("text_to_image", texts @ images.T), ("image_to_text", images @ texts.T)):
        rescored = scores * torch.softmax(100 * scores, 0)
        best = rescored.argmax(1) == torch.arange(20)
        assert found[f"{way}_recall@1"] == pytest.approx(best.double().mean().item())
