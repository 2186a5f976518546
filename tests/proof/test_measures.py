"""Correct answers per concept add up to the figures of the evaluation."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from proof.measures import zero_shot_by_concept
from support.encoders import stub_encoder, vector
from training.evaluation.labeled_images import Labeled

CLASSES = {"a": ["cat"], "b": ["dog", "hound"], "c": ["sun"]}


@given(st.lists(st.sampled_from("abcd"), min_size=1).filter(lambda labels: set(labels) != {"d"}))
def test_rows_equal_plain_counts(labels):
    images = Labeled(torch.stack([vector(("image", number)) for number in range(len(labels))]), labels)
    figures, rows = zero_shot_by_concept(stub_encoder(), images, "en", CLASSES)
    counts = {}
    for image, label in zip(*images, strict=True):
        if label in CLASSES:
            means = {name: sum(map(vector, texts)) / len(texts) for name, texts in CLASSES.items()}
            best = max(means, key=lambda name: float(image @ means[name] / means[name].norm()))
            pictures, correct = counts.get(label, (0, 0))
            counts[label] = (pictures + 1, correct + (best == label))
    assert {row["concept"]: (row["pictures"], row["correct"]) for row in rows} == counts
    assert figures["correct"] == sum(row["correct"] for row in rows)
    assert figures["n"] == sum(row["pictures"] for row in rows)
