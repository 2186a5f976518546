from __future__ import annotations

import pytest
import torch

from curation.errors import InputError
from support.encoders import stub_encoder, vector
from support.shards import COLORS
from training.evaluation.labeled_images import Labeled
from training.evaluation.zero_shot import zero_shot


def labeled(n: int) -> Labeled:
    return Labeled(torch.stack([vector(("image", i)) for i in range(n)]), [COLORS[i % 6] for i in range(n)])


def test_an_image_is_assigned_to_the_class_with_the_nearest_mean_prompt():
    images = labeled(400)
    prompts = {color: [f"{color} {k}" for k in range(2 + len(color) % 3)] for color in COLORS}
    (result,) = zero_shot(stub_encoder(), images, {"en": prompts})
    correct, top5 = 0, 0
    for image, label in zip(*images, strict=True):
        similarity = {}
        for color, texts in prompts.items():
            mean = sum(vector(text) for text in texts) / len(texts)
            similarity[color] = float(image @ mean / mean.norm())
        ranked = sorted(similarity, key=similarity.__getitem__, reverse=True)
        correct, top5 = correct + (ranked[0] == label), top5 + (label in ranked[:5])
    assert (result["language"], result["correct"], result["n"], result["classes"]) == ("en", correct, 400, 6)
    assert result["top5_accuracy"] == pytest.approx(top5 / 400)


def test_each_language_is_evaluated_on_the_labels_it_lists():
    prompts = {"de": {"red": ["rot"], "blue": ["blau"]}, "fr": {"violet": ["violet"]}, "es": {"green": ["verde"]}}
    results = list(zero_shot(stub_encoder(), labeled(24), prompts))
    assert [(r["language"], r["n"], r["classes"]) for r in results] == [("de", 8, 2), ("es", 4, 1)]
    assert results[1]["accuracy"] == 1.0
    with pytest.raises(InputError, match="classes: no language lists the label of any image"):
        list(zero_shot(stub_encoder(), labeled(24)._replace(labels=["?"] * 24), prompts))
