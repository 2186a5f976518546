from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    MetaClip2Config,
    MetaClip2Model,
    ViTConfig,
    ViTModel,
    pipeline,
)

from curation.errors import UsageError
from support.shards import COLORS, SMALL, ShardLake, draw, shard_row
from training.config import TrainConfig
from training.data.tokenizer import Tokenizer
from training.data.transforms import processor_config
from training.distributed import World
from training.engine import checkpoint
from training.engine.start import make_model, make_tokenizer
from training.models.metaclip2 import BiasedMetaClip2
from training.models.towers import TwoTowers
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TEXT, "hidden_size": 24, "image_size": 32, "patch_size": 8}


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return Tokenizer.train([draw(n)[1] for n in range(24)], vocab_size=300, context_length=12)


def save_pretrained(
    folder: Path, words: Tokenizer, *, kind: str = "metaclip_2", embedding: int = 20, seed: int = 1, **text
):
    """Save a Hugging Face model with random weights, a tokenizer and an image processor; return the model."""
    torch.manual_seed(seed)
    ids = {"eos_token_id": words.eos_id, "bos_token_id": words.bos_id, "pad_token_id": words.pad_id}
    sizes = {
        "text_config": {**TEXT, "vocab_size": 310, "max_position_embeddings": 12, "hidden_act": "gelu"} | ids | text,
        "vision_config": {**VISION, "hidden_act": "gelu"},
        "projection_dim": embedding,
    }
    model = CLIPModel(CLIPConfig(**sizes)) if kind == "clip" else MetaClip2Model(MetaClip2Config(**sizes))
    with torch.no_grad():
        model.logit_scale.fill_(3.25)
    model.save_pretrained(folder)
    words.save(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor_config(32)))
    return model.eval()


def start(**keys):
    config = TrainConfig(**{"steps": 1, "preset": "tiny"} | keys)
    tokenizer = make_tokenizer(config, None)
    return make_model(config, tokenizer).eval(), tokenizer


def inputs(tokenizer: Tokenizer, side: int = 32) -> dict[str, torch.Tensor]:
    tokens = tokenizer(["a red circle", "a blue square"]).long()
    return {"input_ids": tokens, "pixel_values": torch.randn(2, 3, side, side)}


@pytest.fixture(scope="module")
def clip_words(words) -> Tokenizer:
    """A tokenizer whose end token has the largest id and also pads, as CLIP's."""
    vocabulary = {word: number for number, word in enumerate(["?", "a", "circle", "square", *COLORS, "<s>", "</s>"])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return Tokenizer(core, 12)


@pytest.mark.parametrize(("kind", "eos"), [("metaclip_2", None), ("clip", None), ("clip", 2)])
def test_a_run_starts_with_the_outputs_and_the_tokenizer_of_a_pretrained_model(tmp_path, words, clip_words, kind, eos):
    # early CLIP folders have the end token 2 in their configuration, whatever their tokenizer has
    saved = words if kind == "metaclip_2" else clip_words
    source = save_pretrained(tmp_path, saved, kind=kind, eos_token_id=eos or saved.eos_id)
    model, tokenizer = start(start={"checkpoint": str(tmp_path)})
    batch = inputs(tokenizer)
    expected, found = source(**batch), model(**batch)
    assert torch.allclose(found.logits_per_image, expected.logits_per_image, atol=1e-5)
    assert model.logit_scale.item() == 3.25
    assert torch.equal(tokenizer(["a red circle </s>"]), saved(["a red circle </s>"]))
    assert model.config.text_config.eos_token_id == saved.eos_id
    assert TwoTowers(model).embed_texts(tokenizer(["a"])).shape == (1, 20)


def test_encoders_of_two_models_are_put_together(tmp_path, words, clip_words):
    one = save_pretrained(tmp_path / "one", words, seed=1)
    two = save_pretrained(tmp_path / "two", clip_words, kind="clip", seed=2, num_hidden_layers=1)
    model, _ = start(start={"vision": str(tmp_path / "one"), "text": str(tmp_path / "two")})
    weights = model.state_dict()
    for name, value in weights.items():
        if name != "logit_scale":
            source = two if name.startswith("text") else one
            assert torch.equal(value, source.state_dict()[name]), name
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-3)


def test_projections_of_other_sizes_and_encoders_without_a_source_are_random(tmp_path, words):
    one = save_pretrained(tmp_path / "one", words, embedding=20)
    save_pretrained(tmp_path / "two", words, embedding=28)
    model, _ = start(start={"vision": str(tmp_path / "one"), "text": str(tmp_path / "two")})
    assert model.text_projection.weight.shape == (20, 16)
    assert torch.equal(model.visual_projection.weight, one.visual_projection.weight)
    alone, _ = start(start={"text": str(tmp_path / "one")}, image_size=16)
    assert alone.vision_model.embeddings.position_embedding.weight.shape == (5, 96), "the preset's image encoder"
    assert alone.visual_projection.weight.shape == (20, 96)
    assert torch.equal(alone.text_projection.weight, one.text_projection.weight)


def test_a_folder_with_only_an_image_encoder_is_a_start_for_images(tmp_path, words):
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=20))
    vision.save_pretrained(tmp_path / "vision")
    save_pretrained(tmp_path / "text", words)
    model, _ = start(start={"vision": str(tmp_path / "vision"), "text": str(tmp_path / "text")})
    for name, value in vision.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    with pytest.raises(UsageError, match=r"start: .*vision has no text encoder: choose a folder that has one"):
        start(start={"text": str(tmp_path / "vision")}, tokenizer=str(tmp_path / "text"), context_length=8)


def test_a_shorter_context_and_another_image_side_keep_what_they_can(tmp_path, words):
    source = save_pretrained(tmp_path, words)
    model, tokenizer = start(start={"checkpoint": str(tmp_path)}, context_length=6, image_size=64)
    assert tokenizer.context_length == 6
    positions = source.text_model.embeddings.position_embedding.weight
    assert torch.equal(model.text_model.embeddings.position_embedding.weight, positions[:6])
    tokens = tokenizer(["a red circle"]).long()
    assert torch.allclose(
        model.get_text_features(input_ids=tokens).pooler_output,
        source.get_text_features(input_ids=tokens).pooler_output,
    )
    grid = model.vision_model.embeddings.position_embedding.weight
    assert grid.shape == (65, 24)
    images = torch.randn(2, 3, 64, 64)
    expected = source.get_image_features(pixel_values=images, interpolate_pos_encoding=True).pooler_output
    assert torch.allclose(model.get_image_features(pixel_values=images).pooler_output, expected, atol=1e-5)


def test_the_sigmoid_loss_adds_a_bias_that_is_saved_and_loaded(tmp_path, words):
    save_pretrained(tmp_path / "start", words)
    model, _ = start(start={"checkpoint": str(tmp_path / "start")}, loss={"kind": "sigmoid", "bias": -7})
    assert isinstance(model, BiasedMetaClip2)
    assert (model.logit_bias.item(), model.logit_scale.item()) == (-7.0, 3.25)
    with torch.no_grad():
        model.logit_bias.fill_(-6.5)
    model.save_pretrained(tmp_path / "saved")
    words.save(tmp_path / "saved")
    loaded, _ = checkpoint.load_model(tmp_path / "saved")
    assert loaded.logit_bias.item() == -6.5
    again, _ = start(start={"checkpoint": str(tmp_path / "saved")}, loss="sigmoid")
    assert again.logit_bias.item() == -6.5
    plain, _ = start(start={"checkpoint": str(tmp_path / "saved")})
    assert not hasattr(plain, "logit_bias")
    fresh, _ = start(start={"vision": str(tmp_path / "saved")}, loss="sigmoid", tokenizer=str(tmp_path / "saved"))
    assert (fresh.logit_bias.item(), round(fresh.logit_scale.exp().item(), 4)) == (-10.0, 10.0), "as published"
    scaled, _ = start(start={"checkpoint": str(tmp_path / "saved")}, phase={"scale": {"initial": 20}})
    assert scaled.logit_scale.exp().item() == pytest.approx(20)


def test_starts_that_do_not_fit_are_refused_in_one_line(tmp_path, words):
    save_pretrained(tmp_path / "model", words)
    larger = Tokenizer.train([f"{n} {n * n}" for n in range(999)], vocab_size=400, context_length=12)
    (tmp_path / "larger").mkdir()
    larger.save(tmp_path / "larger")
    ViTModel(ViTConfig(**VISION)).save_pretrained(tmp_path / "vit")
    save_pretrained(tmp_path / "other-end", words, eos_token_id=5)
    folder = str(tmp_path / "model")
    cases = [
        (
            {"start": {"checkpoint": folder}, "tokenizer": str(tmp_path / "larger")},
            "tokenizer: its 400 ids do not fit the 310",
        ),
        (
            {"start": {"checkpoint": folder}, "context_length": 13},
            "context_length: 13 is more than the 12 positions of",
        ),
        ({"start": {"checkpoint": folder}, "image_size": 33}, "image_size: 33 is not a multiple of the model's patch"),
        ({"start": {"checkpoint": str(tmp_path / "nowhere")}}, "start: cannot read the model in .*nowhere"),
        (
            {"start": {"checkpoint": str(tmp_path / "vit")}, "tokenizer": folder},
            "a model of type 'vit': choose a MetaClip2",
        ),
        (
            {"start": {"checkpoint": str(tmp_path / "other-end")}},
            "tokenizer: its end token has the id 2, but .* at id 5",
        ),
    ]
    for keys, line in cases:
        with pytest.raises(UsageError, match=line) as caught:
            start(**keys)
        assert "\n" not in str(caught.value)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UsageError, match="start: cannot read the model in"):
        start(start={"checkpoint": folder})
    with pytest.raises(ValueError, match="set either checkpoint, or vision and text"):
        TrainConfig(steps=1, start={"checkpoint": "a", "text": "b"})


def test_a_pretrained_model_is_fine_tuned_saved_and_loaded_by_hugging_face(tmp_path, words):
    ShardLake(tmp_path / "lake").publish([shard_row(n) for n in range(50)])
    source = save_pretrained(tmp_path / "start", words)
    keys = SMALL | {"steps": 6, "lake": str(tmp_path / "lake"), "output": str(tmp_path / "out"), "image_size": None}
    phase = {"freeze": ["vision_model.*", "visual_projection*"], "layer_decay": 0.5}
    config = TrainConfig(**keys | {"start": {"checkpoint": str(tmp_path / "start")}, "phase": phase, "lr": 0.01})
    folder = Path(train(config, ALONE)["checkpoint"])
    model = AutoModel.from_pretrained(folder)
    assert type(model) is MetaClip2Model
    for name, value in source.state_dict().items():
        is_same = torch.equal(value, model.state_dict()[name])
        assert is_same == name.startswith("vis"), name
    processor = AutoProcessor.from_pretrained(folder)
    image, labels = Image.new("RGB", (40, 30), "red"), [f"a {color} circle" for color in COLORS]
    batch = processor(text=labels, images=[image], return_tensors="pt", padding=True)
    expected = model(**batch).logits_per_image.softmax(-1)[0].tolist()
    found = pipeline("zero-shot-image-classification", model=str(folder))(
        image, candidate_labels=COLORS, hypothesis_template="a {} circle"
    )
    scores = {result["label"]: result["score"] for result in found}
    assert [scores[color] for color in COLORS] == pytest.approx(expected, abs=1e-5)
    loaded, tokenizer = checkpoint.load_model(folder)
    ours = TwoTowers(loaded).eval().embed_texts(tokenizer(labels))
    theirs = model.get_text_features(**{k: batch[k] for k in ("input_ids", "attention_mask")}).pooler_output
    assert torch.allclose(ours, torch.nn.functional.normalize(theirs), atol=1e-5)
