from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.encoders import vector
from training.evaluation.metrics import geometry
from training.evaluation.metrics.geometry import alignment, uniformity


@given(st.integers(2, 20), st.integers(0, 1000))
def test_alignment_and_uniformity_equal_sums_over_pairs(n, seed):
    images, texts = (torch.stack([vector((kind, seed, row)) for row in range(n)]) for kind in "ab")
    distances = [float((image - text) @ (image - text)) for image, text in zip(images, texts, strict=True)]
    assert alignment(images, texts) == pytest.approx(sum(distances) / n)
    kernel = [math.exp(-2 * float((images[i] - images[j]).norm()) ** 2) for i in range(n) for j in range(i)]
    assert uniformity(images) == pytest.approx(math.log(sum(kernel) / len(kernel)))


def test_uniformity_in_several_parts_is_the_same_and_of_one_embedding_is_none(monkeypatch):
    embeddings = torch.stack([vector(n) for n in range(50)])
    whole = uniformity(embeddings)
    monkeypatch.setattr(geometry, "ROWS_AT_ONCE", 7)
    assert uniformity(embeddings) == pytest.approx(whole)
    assert uniformity(embeddings[:1]) is None
    assert uniformity(embeddings[:1].expand(3, -1)) == pytest.approx(0), "equal embeddings have the maximum"
