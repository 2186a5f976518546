from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AutoModel,
    AutoProcessor,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from curation.errors import InputError, UsageError
from support.models import build_model
from support.shards import draw
from training.data.transforms import decode, processor_config
from training.evaluation.embed import StoredImage, embed_images, embed_texts
from training.evaluation.encoder import is_trained_here, read_hugging_face, trained_encoder
from training.models.metaclip2 import PRESETS
from training.models.towers import TwoTowers

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = SIZES | {"image_size": 32, "patch_size": 8}
PICTURES = [StoredImage(str(n), draw(n, 40)[0]) for n in range(6)]
TEXTS = ["a red circle", "a blue square with many more words than the context has room for, as captions go"]


@pytest.fixture
def save(tmp_path, tokenizer):
    def save(kind: str):
        torch.manual_seed(0)
        ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
        text = SIZES | ids | {"vocab_size": 320, "max_position_embeddings": 16}
        if kind == "clip":
            CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)).save_pretrained(tmp_path)
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor_config(32)))
        elif kind == "siglip":
            text |= {"projection_size": 32}
            SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(tmp_path)
            SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
        else:
            BertModel(BertConfig(**SIZES, vocab_size=320)).save_pretrained(tmp_path)
        tokenizer.save(tmp_path)
        return tmp_path

    return save


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_hugging_face_folder_alone_gives_the_similarities_of_its_model(save, kind):
    folder = save(kind)
    assert not is_trained_here(folder)
    encoder = read_hugging_face(folder, CPU)
    ours = embed_images(encoder, PICTURES) @ embed_texts(encoder, TEXTS).T
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    inputs = processor(
        text=TEXTS,
        images=[decode(picture.data) for picture in PICTURES],
        padding="max_length",
        truncation=True,
        max_length=16,
        return_tensors="pt",
    )
    with torch.no_grad():
        output = model(**inputs)
    theirs = output.image_embeds @ output.text_embeds.T
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_model_that_training_saved_has_its_own_transform_which_differs_little(tmp_path, tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer, side=32, seed=1).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    assert is_trained_here(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor_config(32)))
    assert is_trained_here(tmp_path)
    ours, theirs = trained_encoder(TwoTowers(model), tokenizer), read_hugging_face(tmp_path, CPU)
    assert torch.allclose(embed_texts(ours, TEXTS), embed_texts(theirs, TEXTS), atol=1e-5)
    cosines = (embed_images(ours, PICTURES) * embed_images(theirs, PICTURES)).sum(1)
    assert cosines.min() > 0.99, "center crop before or after the resize"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor_config(32) | {"do_center_crop": False}))
    assert not is_trained_here(tmp_path), "a model with another transform is read as its folder says"


def test_folders_that_cannot_be_evaluated_are_named(save, tmp_path):
    with pytest.raises(UsageError, match="has a model of type 'bert': choose one like CLIP or SigLIP"):
        read_hugging_face(save("bert"), CPU)
    (tmp_path / "config.json").write_text("{")
    assert not is_trained_here(tmp_path)
    with pytest.raises(InputError, match="checkpoint: cannot read the model in"):
        read_hugging_face(tmp_path, CPU)
