from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from training.losses.contrastive import contrastive_loss

PAIRS, WIDTH = 12, 5


def toy() -> tuple[nn.ModuleDict, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    model = nn.ModuleDict(
        {"image": nn.Linear(WIDTH, 4), "text": nn.Linear(WIDTH, 4), "scale": nn.Linear(1, 1, bias=False)}
    )
    return model.double(), torch.randn(PAIRS, WIDTH).double(), torch.randn(PAIRS, WIDTH).double()


class Encoders(nn.Module):
    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, images, texts):
        scale = self.parts["scale"](torch.ones(1, 1).double()).exp().squeeze()
        return normalize(self.parts["image"](images)), normalize(self.parts["text"](texts)), scale


def slow_loss(images, texts, scale):
    """Compute the symmetric InfoNCE loss pair by pair."""
    total = 0.0
    for k in range(len(images)):
        by_text = torch.stack([scale * images[k] @ text for text in texts])
        by_image = torch.stack([scale * image @ texts[k] for image in images])
        total = total - torch.log_softmax(by_text, 0)[k] - torch.log_softmax(by_image, 0)[k]
    return total / (2 * len(images))


def test_the_loss_of_one_process_equals_the_definition():
    model, images, texts = toy()
    embeddings = Encoders(model)(images, texts)
    assert contrastive_loss(*embeddings).item() == pytest.approx(slow_loss(*embeddings).item(), rel=1e-5)


def test_the_loss_is_computed_in_float32_under_autocast():
    model, images, texts = toy()
    embeddings = [part.float() for part in Encoders(model)(images, texts)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = contrastive_loss(*embeddings)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, contrastive_loss(*embeddings))
