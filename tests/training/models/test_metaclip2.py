from __future__ import annotations

from types import SimpleNamespace as Namespace

import pytest
import torch

from curation.errors import UsageError
from support.models import build_model
from training.models.metaclip2 import PRESETS, context_length, image_size
from training.models.towers import TwoTowers


def test_the_tiny_model_is_tiny_and_fits_its_tokenizer(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 4e6
    assert (image_size(model), context_length(model)) == (64, tokenizer.context_length)
    assert model.config.text_config.vocab_size == tokenizer.vocab_size


# The published configurations (facebookresearch/MetaCLIP, src/mini_clip/model_configs/ViT-*-worldwide.json): embedding,
# image and patch side, layers, width and heads of both encoders (of 64 numbers, in H/14 of 80), activation
PUBLISHED = {
    "vit_s_16": (384, 224, 16, (12, 384, 6), (12, 384, 6), "gelu"),
    "vit_b_32": (512, 224, 32, (12, 768, 12), (12, 512, 8), "gelu"),
    "vit_b_16": (512, 224, 16, (12, 768, 12), (12, 512, 8), "gelu"),
    "vit_l_14": (768, 224, 14, (24, 1024, 16), (12, 768, 12), "gelu"),
    "vit_h_14": (1024, 224, 14, (32, 1280, 16), (24, 1024, 16), "quick_gelu"),
}
XLM_V = 901_629  # ids of the published tokenizer


def number_of_parameters(embedding, side, patch, vision, text) -> int:
    """Count the parameters of the published architecture by hand."""

    def layers(number: int, width: int) -> int:
        attention, mlp, norms = 4 * (width * width + width), 8 * width * width + 5 * width, 4 * width
        return number * (attention + mlp + norms)

    (vision_layers, v, _), (text_layers, t, _) = vision, text
    patches = (side // patch) ** 2
    image_encoder = v * 3 * patch * patch + v + (patches + 1) * v + layers(vision_layers, v) + 4 * v + v * embedding
    text_encoder = XLM_V * t + 77 * t + layers(text_layers, t) + 2 * t + t * embedding
    return image_encoder + text_encoder + 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_shapes_the_activation_and_the_number_of_parameters_of_the_published_model(tokenizer, name):
    embedding, side, patch, vision, text, activation = PUBLISHED[name]
    words = Namespace(vocab_size=XLM_V, context_length=PRESETS[name].context_length, pad_id=1, bos_id=0, eos_id=2)
    with torch.device("meta"):
        model = build_model(PRESETS[name], words)
    assert sum(p.numel() for p in model.parameters()) == number_of_parameters(embedding, side, patch, vision, text)
    config = model.config
    assert (config.projection_dim, context_length(model)) == (embedding, 77)
    assert (config.vision_config.image_size, config.vision_config.patch_size) == (side, patch)
    for encoder, sizes in ((config.vision_config, vision), (config.text_config, text)):
        assert (encoder.num_hidden_layers, encoder.hidden_size, encoder.num_attention_heads) == sizes
        assert encoder.hidden_act == activation


def test_the_largest_preset_has_1859_million_parameters():
    assert number_of_parameters(*PUBLISHED["vit_h_14"][:5]) == 1_858_783_745


def test_every_preset_but_tiny_is_a_published_model():
    assert PRESETS.keys() - PUBLISHED.keys() == {"tiny"}


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
    with pytest.raises(UsageError, match="image_size: 50 is not a multiple of the model's patch"):
        build_model(PRESETS["tiny"], tokenizer, side=50)
