from __future__ import annotations

import copy
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

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


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


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


def one_rank(rank: int, world_size: int, port: int, results) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    model, images, texts = toy()
    parallel = DistributedDataParallel(Encoders(model))
    share = slice(rank * PAIRS // world_size, (rank + 1) * PAIRS // world_size)
    loss = contrastive_loss(*parallel(images[share], texts[share]))
    loss.backward()
    results.put((rank, loss.item(), [gradient.numpy() for gradient in gradients(parallel)]))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_get_the_gradient_of_the_whole_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    mp.spawn(one_rank, (2, port, results), nprocs=2)
    by_rank = sorted((results.get() for _ in range(2)), key=lambda result: result[0])

    model, images, texts = toy()
    whole = Encoders(copy.deepcopy(model))
    loss = slow_loss(*whole(images, texts))
    loss.backward()
    assert sum(result[1] for result in by_rank) / 2 == pytest.approx(loss.item(), rel=1e-5)
    for _, _, gradients_of_rank in by_rank:
        for ours, expected in zip(gradients_of_rank, gradients(whole), strict=True):
            assert torch.allclose(torch.from_numpy(ours), expected, rtol=1e-5, atol=1e-6)
