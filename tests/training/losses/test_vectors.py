"""Losses equal the numbers of related systems, computed with their public code or by plain formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from support.vectors import assert_close, expected, inputs
from training.losses.contrastive import EqualRows, contrastive_loss
from training.losses.masked_words import masked_word_loss
from training.losses.neighbors import TextBank, neighbor_loss
from training.losses.omni_source import VideoRows, omni_source_loss
from training.losses.pull import cosine_pull, mse_pull
from training.losses.siamese import siamese_loss
from training.losses.sigmoid import sigmoid_loss
from training.models.heads import word_losses


def unit(rows: torch.Tensor) -> torch.Tensor:
    return normalize(rows, dim=-1)


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def assert_gradients(system: str, name: str, **tensors: torch.Tensor) -> None:
    wanted = {key for key in expected(system, name) if key.startswith("d_")}
    assert wanted == {f"d_{key}" for key in tensors}
    for key, tensor in tensors.items():
        assert_close(tensor.grad, expected(system, name)[f"d_{key}"])


def test_symmetric_contrastive_loss():
    given = inputs("common", "itc")
    scale = number(given["scale"])
    loss = contrastive_loss(unit(given["images"]), unit(given["texts"]), scale)
    loss.backward()
    assert_close(loss, expected("common", "itc")["loss"])
    assert_gradients("common", "itc", images=given["images"], texts=given["texts"], scale=scale)


@pytest.mark.parametrize(("system", "has_gradients"), [("clip_italian", True), ("laclip", False)])
def test_contrastive_loss_with_a_fixed_scale(system, has_gradients):
    given = inputs(system, "loss")
    loss = contrastive_loss(unit(given["images"]), unit(given["texts"]), torch.tensor(given["scale"]))
    loss.backward()
    assert_close(loss, expected(system, "loss")["loss"])
    if has_gradients:
        assert_gradients(system, "loss", images=given["images"], texts=given["texts"])


def test_float32_embeddings_are_compared_to_five_digits():
    given = inputs("common", "itc")
    loss = contrastive_loss(unit(given["images"]).float(), unit(given["texts"]).float(), torch.tensor(10.0))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected("common", "itc")["loss"], rel=1e-5)


def test_four_pairs_of_views():
    given = inputs("declip", "multi_view_itc")
    views = {key: given[key] for key in ("images_1", "images_2", "texts_1", "texts_2")}
    losses = [
        contrastive_loss(unit(views[image]), unit(views[text]), torch.tensor(given["scale"]))
        for image in ("images_1", "images_2")
        for text in ("texts_1", "texts_2")
    ]
    loss = torch.stack(losses).mean()
    loss.backward()
    assert_close(loss, expected("declip", "multi_view_itc")["loss"])
    assert_gradients("declip", "multi_view_itc", **views)


def test_pull_to_a_teacher_beside_contrast():
    given = inputs("dclip", "student")
    images, texts = given["images"], given["texts"]
    image_part = cosine_pull(images, given["teacher_images"])
    text_part = cosine_pull(texts, given["teacher_texts"])
    contrast = contrastive_loss(unit(images), unit(texts), torch.tensor(1 / given["temperature"]))
    loss = image_part + text_part + contrast
    loss.backward()
    wanted = expected("dclip", "student")
    for found, key in (
        (image_part, "image_cosine"),
        (text_part, "text_cosine"),
        (contrast, "contrastive"),
        (loss, "loss"),
    ):
        assert_close(found, wanted[key])
    assert_gradients("dclip", "student", images=images, texts=texts)
    assert given["teacher_images"].grad is None
    assert given["teacher_texts"].grad is None


def test_pull_and_soft_contrast_of_texts_with_equal_images():
    given = inputs("cll", "loss")
    temperature = number(given["temperature"])
    keys = given["image_ids"].detach().long()
    pull = mse_pull(given["student"], given["teacher_text"])
    contrast = contrastive_loss(
        unit(given["student"]), unit(given["teacher_image"].detach()), 1 / temperature, equal=EqualRows(keys, "soft")
    )
    loss = pull + 0.01 * contrast
    loss.backward()
    wanted = expected("cll", "loss")
    assert_close(pull, wanted["mse"])
    assert_close(contrast, wanted["contrastive"])
    assert_close(loss, wanted["loss"])
    assert_gradients("cll", "loss", student=given["student"], temperature=temperature)
    assert given["teacher_text"].grad is None


def test_pull_of_some_rows():
    given = inputs("cll", "masked_mse")
    present = given["mask"].detach().bool()
    assert_close(mse_pull(given["student"], given["teacher_text"], present), expected("cll", "masked_mse")["loss"])


def test_three_sigmoid_contrasts():
    given = inputs("tulip", "contrastive")
    scale, bias = number(given["t"]), number(given["b"])
    pairs = {
        "it": (given["images"], given["texts"]),
        "ii": (given["images"], given["teacher_view"].detach()),
        "tt": (given["texts"], given["text_view"]),
    }
    losses = {key: sigmoid_loss(unit(first), unit(second), scale, bias) for key, (first, second) in pairs.items()}
    loss = sum(losses.values())
    loss.backward()
    wanted = expected("tulip", "contrastive")
    for key, found in losses.items():
        assert_close(found, wanted[key])
    assert_close(loss, wanted["loss"])
    assert_gradients(
        "tulip",
        "contrastive",
        images=given["images"],
        texts=given["texts"],
        text_view=given["text_view"],
        t=scale,
        b=bias,
    )


def test_sigmoid_loss_with_generated_images_and_texts():
    given = inputs("tulip", "signed_it")
    images, texts = unit(given["images"]), unit(given["texts"])
    loss = sigmoid_loss(
        images[:3],
        texts[:3],
        number(given["t"]),
        number(given["b"]),
        negative_images=images[3:],
        negative_texts=texts[3:],
    )
    loss.backward()
    assert_close(loss, expected("tulip", "signed_it")["loss"])
    assert_gradients("tulip", "signed_it", images=given["images"], texts=given["texts"])


def test_sigmoid_loss_between_images_with_generated_ones():
    given = inputs("tulip", "signed_ii")
    columns = unit(given["columns"])
    loss = sigmoid_loss(
        unit(given["images"]), columns[:3], number(given["t"]), number(given["b"]), negative_texts=columns[3:]
    )
    assert_close(loss, expected("tulip", "signed_ii")["loss"])


def test_siamese_loss_without_gradient_to_the_projections():
    given = inputs("declip", "simsiam")
    loss = siamese_loss((given["p1"], given["p2"]), (given["z1"], given["z2"]))
    loss.backward()
    assert_close(loss, expected("declip", "simsiam")["loss"])
    assert_gradients("declip", "simsiam", p1=given["p1"], p2=given["p2"])
    assert given["z1"].grad is None
    assert given["z2"].grad is None


def test_loss_to_nearest_neighbors():
    given = inputs("declip", "nearest_neighbour")
    images, neighbors = ([given[f"{name}_{view}"] for view in (1, 2)] for name in ("images", "neighbours_texts"))
    loss = neighbor_loss([unit(view) for view in images], neighbors, torch.tensor(given["scale"]))
    loss.backward()
    assert_close(loss, expected("declip", "nearest_neighbour")["loss"])
    assert_gradients("declip", "nearest_neighbour", images_1=images[0], images_2=images[1])
    assert neighbors[0].grad is None


def test_bank_of_texts_with_the_published_rule():
    given = inputs("declip", "neighbour_bank")
    bank = TextBank(7, 3, wraps=False).double()
    bank.rows.copy_(given["bank"].detach())
    for step in expected("declip", "neighbour_bank"):
        assert_close(bank.nearest(given["texts_1"]), step["neighbours_texts_1"])
        assert_close(bank.nearest(given["texts_2"]), step["neighbours_texts_2"])
        bank.add(given["texts_2"])
        bank.add(given["texts_1"])
        assert_close(bank.rows, step["bank_after"])
        assert int(bank.pointer) == step["pointer_after"]


def test_masked_words():
    given = inputs("declip", "mlm")
    labels = given["labels"].detach().long()
    losses = word_losses(nn.Identity(), given["logits"], labels)
    assert_close(masked_word_loss(losses, labels), expected("declip", "mlm")["loss"])


def test_the_weighted_sum_of_four_terms():
    given = inputs("declip", "total")
    for data, weights in given["weights"].items():
        total = sum(weight * given["terms"][term] for weight, term in zip(weights, given["order"], strict=True))
        assert_close(total, expected("declip", "total")[data])


@pytest.mark.parametrize(("name", "with_frame"), [("V(S,C)", False), ("V(S,C)+FC", True)])
def test_two_texts_of_videos(name, with_frame):
    given = inputs("clip_vip", "omnisource")
    log_scale = number(given["log_scale"])
    rows = {key: given[key] for key in ("video", "subtitle", "caption", "frame")}
    parts = {key: unit(value) for key, value in rows.items() if key != "frame" or with_frame}
    loss = omni_source_loss(VideoRows(**parts), log_scale.exp())
    loss.backward()
    wanted = expected("clip_vip", "omnisource")[name]
    assert_close(loss, wanted["loss"])
    if with_frame:
        for key, tensor in (rows | {"log_scale": log_scale}).items():
            assert_close(tensor.grad, wanted[f"d_{key}"])


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("VS", ["vs"]),
        ("VS+FC", ["vs", "fc"]),
        ("VS+VC", ["vs", "vc"]),
        ("VS+VC+FC", ["vs", "vc", "fc"]),
    ],
)
def test_pairs_of_video_and_text_have_twice_the_contrastive_loss(name, pairs):
    given = inputs("clip_vip", "omnisource")
    rows = {key[0]: unit(given[key]) for key in ("video", "subtitle", "frame", "caption")}
    scale = torch.tensor(given["log_scale"], dtype=torch.float64).exp()
    loss = sum(2 * contrastive_loss(rows[first], rows[second], scale) for first, second in pairs)
    assert_close(loss, expected("clip_vip", "omnisource")[name]["loss"])
