from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from curation.errors import InputError
from support.encoders import vector
from training.evaluation.labeled_images import Labeled
from training.evaluation.linear_probe import fit, linear_probe

LABELS = ["a", "b", "c"]


def clusters(name: str, n: int, labels=LABELS) -> Labeled:
    """Return unit vectors around one center per label."""
    rows = [vector(labels[i % len(labels)]) + 0.2 * vector((name, i)) for i in range(n)]
    return Labeled(torch.stack([row / row.norm() for row in rows]), [labels[i % len(labels)] for i in range(n)])


def test_the_fit_equals_that_of_plain_gradient_descent():
    train = clusters("train", 30)
    targets = torch.arange(30) % 3
    weights, bias = fit(train.embeddings, targets, 3, 0.316)
    slow = [
        torch.zeros(8, 3, dtype=torch.float64, requires_grad=True),
        torch.zeros(3, dtype=torch.float64, requires_grad=True),
    ]
    for _ in range(4000):
        loss = slow[0].square().sum() / 2
        loss = loss + 0.316 * cross_entropy(train.embeddings @ slow[0] + slow[1], targets, reduction="sum")
        for parameter, gradient in zip(slow, torch.autograd.grad(loss, slow), strict=True):
            parameter.data -= 0.1 * gradient
    assert torch.allclose(weights, slow[0], atol=1e-5)
    assert torch.allclose(bias, slow[1], atol=1e-5)


def test_a_probe_separates_clusters_and_is_the_same_every_time():
    train, test = clusters("train", 60), clusters("test", 30)
    result = linear_probe(train, test, inverse_penalty=10.0)
    assert (result["accuracy"], result["macro_accuracy"], result["n"], result["train_n"]) == (1.0, 1.0, 30, 60)
    assert linear_probe(train, test, inverse_penalty=10.0) == result


def test_a_label_without_training_images_is_named():
    with pytest.raises(InputError, match="probe_images: no training image has the label d, e: add images"):
        linear_probe(clusters("train", 9), clusters("test", 10, [*LABELS, "d", "e"]), inverse_penalty=1.0)
