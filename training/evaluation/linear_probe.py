"""Linear probe: classify images by a logistic regression on the embeddings of labeled training images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from curation.errors import InputError
from training.evaluation.labeled_images import Labeled
from training.evaluation.metrics.classification import classification_metrics

MAX_ITERATIONS = 1000  # as in CLIP, arXiv 2103.00020, section A.3, whose solver is L-BFGS too
SHOWN = 3


def linear_probe(train: Labeled, test: Labeled, *, inverse_penalty: float) -> dict[str, Any]:
    """Return the accuracy on the test images of a probe that is fitted to the training images.

    The keys are those of `classification_metrics`, and `train_n`. Raises InputError if a test label has no training
    image.
    """
    names = sorted(set(train.labels))
    unknown = sorted(set(test.labels) - set(names))
    if unknown:
        raise InputError(
            f"probe_images: no training image has the label {', '.join(unknown[:SHOWN])}: add images of all classes"
        )
    index = {name: number for number, name in enumerate(names)}
    targets, expected = (torch.tensor([index[label] for label in part.labels]) for part in (train, test))
    weights, bias = fit(train.embeddings, targets, len(names), inverse_penalty)
    scores = test.embeddings.double() @ weights + bias
    return {**classification_metrics(scores, expected), "train_n": len(targets)}


def fit(features: Tensor, targets: Tensor, classes: int, inverse_penalty: float) -> tuple[Tensor, Tensor]:
    """Return weights (d, classes) and bias (classes,) that minimize |W|² / 2 + C · sum of the cross entropies.

    C is the inverse penalty. The problem is convex and starts from zero, so the result does not depend on chance.
    """
    inputs = features.double()
    weights = torch.zeros(inputs.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        penalty = weights.square().sum() / (2 * inverse_penalty * len(targets))
        value = cross_entropy(inputs @ weights + bias, targets) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach(), bias.detach()
