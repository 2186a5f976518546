from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from training.evaluation.retrieval import retrieval


def test_retrieval_counts_equal_captions_as_correct():
    eye = torch.eye(4)
    assert retrieval(eye, eye, list("abcd")) == {"image_to_text_recall": 1.0, "text_to_image_recall": 1.0}
    shifted = eye.roll(1, 0)  # every image is nearest to the text after it
    assert retrieval(eye, shifted, list("abcd"))["image_to_text_recall"] == 0.0
    assert retrieval(eye, shifted, list("aabb"))["image_to_text_recall"] == 0.5
    torch.manual_seed(0)
    images, texts = normalize(torch.randn(30, 4)), normalize(torch.randn(30, 4))
    captions = [str(number % 7) for number in range(30)]
    recalls = retrieval(images, texts, captions)
    hits = [captions[max(range(30), key=lambda j: float(images[i] @ texts[j]))] == captions[i] for i in range(30)]
    assert recalls["image_to_text_recall"] == pytest.approx(sum(hits) / 30)
