from __future__ import annotations

import pytest
import torch

from curation.errors import UsageError
from training.models.metaclip2 import PRESETS, TwoTowers, build_model, context_length, image_size


def test_the_tiny_model_is_tiny_and_fits_its_tokenizer(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 4e6
    assert (image_size(model), context_length(model)) == (64, 32)
    assert model.config.text_config.vocab_size == tokenizer.vocab_size


def test_every_activation_is_quick_gelu(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    assert model.config.text_config.hidden_act == model.config.vision_config.hidden_act == "quick_gelu"


@pytest.mark.parametrize(
    ("preset", "vision", "text"),
    # parameters without token embeddings, computed from the widths and layers of the published models
    [
        ("vit_b_32", 87.8e6, 38.1e6),
        ("vit_b_16", 86.2e6, 38.1e6),
        ("vit_l_14", 304e6, 85.6e6),
        ("vit_h_14", 632e6, 303e6),
    ],
)
def test_large_presets_have_the_published_sizes(tokenizer, preset, vision, text):
    with torch.device("meta"):
        model = build_model(PRESETS[preset], tokenizer)
    counts = {
        tower: sum(p.numel() for name, p in model.named_parameters() if name.startswith(tower) and "token" not in name)
        for tower in ("vision_model", "text_model")
    }
    assert counts["vision_model"] == pytest.approx(vision, rel=0.01)
    assert counts["text_model"] == pytest.approx(text, rel=0.02)
    assert context_length(model) == 77


def test_the_largest_preset_is_the_published_model(tokenizer):
    with torch.device("meta"):
        model = build_model(PRESETS["vit_h_14"], tokenizer)
    text, vision = model.config.text_config, model.config.vision_config
    assert (text.num_hidden_layers, text.hidden_size, text.max_position_embeddings) == (24, 1024, 77)
    assert (vision.num_hidden_layers, vision.hidden_size, vision.patch_size, vision.image_size) == (32, 1280, 14, 224)
    assert model.config.projection_dim == 1024


def test_the_seed_determines_the_weights(tokenizer):
    one, same, other = (build_model(PRESETS["tiny"], tokenizer, seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_text_embedding_is_read_at_the_end_token(tokenizer):
    towers = TwoTowers(build_model(PRESETS["tiny"], tokenizer)).eval()
    tokens = tokenizer(["a red circle", "a blue square with much more to say"])
    plain = towers.embed_texts(tokens)
    assert torch.allclose(plain.norm(dim=1), torch.ones(2))
    after = tokens.clone()
    end = tokens[0].tolist().index(tokenizer.eos_id)
    after[0, end + 1 :] = 7  # tokens after the end token have no effect
    assert torch.allclose(towers.embed_texts(after)[0], plain[0], atol=1e-6)
    before = tokens.clone()
    before[0, end - 1] = 7
    assert not torch.allclose(towers.embed_texts(before)[0], plain[0], atol=1e-4)


def test_texts_embedded_in_groups_keep_their_order(tokenizer):
    towers = TwoTowers(build_model(PRESETS["tiny"], tokenizer)).eval()
    tokens = tokenizer([" ".join(["word"] * (number * 7 % 13)) for number in range(80)])
    alone = torch.cat([towers.embed_texts(row[None]) for row in tokens])
    assert torch.allclose(towers.embed_texts(tokens), alone, atol=1e-5)
    features = towers.model.get_text_features(input_ids=tokens).pooler_output
    assert torch.allclose(torch.nn.functional.normalize(features), alone, atol=1e-5)


def test_an_image_side_that_is_not_a_multiple_of_the_patch_is_refused(tokenizer):
    with pytest.raises(UsageError, match="image_size: 50 is not a multiple of the preset's patch"):
        build_model(PRESETS["tiny"], tokenizer, side=50)
