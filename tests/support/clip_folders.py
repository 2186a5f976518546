"""Folders with small models like CLIP, with random weights, as `save_pretrained` of transformers writes them."""

from __future__ import annotations

import json

import torch
import transformers

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {"clip": "CLIP", "metaclip_2": "MetaClip2"}


def save_clip(folder, kind):
    """Save a small random model with a tokenizer of bytes and an image processor."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    names = {token: index for index, token in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    made = Tokenizer(models.BPE(names, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=16
    )
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": len(names)}
    config = getattr(transformers, f"{KINDS[kind]}Config")(
        text_config=SIZES | ids | {"max_position_embeddings": 16},
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    model = getattr(transformers, f"{KINDS[kind]}Model")(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    processor = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 32},
                 "do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_rescale": True,
                 "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
                 "do_convert_rgb": True, "resample": 3}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)
