"""The loss of CLL-CLIP over several processes is the published number, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from support.ranks import call_on_ranks
from support.vectors import assert_close, expected, inputs
from training.losses.contrastive import EqualRows, contrastive_loss
from training.losses.pull import mse_pull


def on_rank(rank: int, size: int) -> tuple[float, float, float, list, float]:
    """Return pull, contrast and loss of a rank's rows of the vector, and the gradients."""
    given = inputs("cll", "loss")
    rows = slice(rank * 4 // size, (rank + 1) * 4 // size)
    student, temperature = given["student"], torch.tensor(given["temperature"], dtype=torch.float64).requires_grad_()
    pull = mse_pull(student[rows], given["teacher_text"][rows].detach())
    contrast = contrastive_loss(
        normalize(student[rows], dim=-1),
        normalize(given["teacher_image"][rows].detach(), dim=-1),
        1 / temperature,
        equal=EqualRows(given["image_ids"][rows].detach().long(), "soft"),
    )
    first, second = given["weights"].tolist()
    loss = first * pull + second * contrast
    loss.backward()
    return pull.item(), contrast.item(), loss.item(), student.grad.tolist(), temperature.grad.item()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_means_over_ranks_equal_the_vector(size):
    pulls, contrasts, losses, gradients, temperatures = zip(*call_on_ranks(on_rank, size), strict=True)
    wanted = expected("cll", "loss")
    for found, key in ((pulls, "mse"), (contrasts, "contrastive"), (losses, "loss"), (temperatures, "d_temperature")):
        assert_close(sum(found) / size, wanted[key])
    assert_close(torch.tensor(gradients, dtype=torch.float64).mean(0), wanted["d_student"])
