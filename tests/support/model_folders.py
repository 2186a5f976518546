"""Folders with small models of random weights and tokenizers of bytes, as `save_pretrained` writes them."""

from __future__ import annotations

import json

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {"clip": "CLIP", "metaclip_2": "MetaClip2"}
TOKENS = ["<s>", "</s>", "<en>", "<de>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": len(TOKENS)}


def byte_tokenizer(template: str, length: int):
    """Return a tokenizer whose tokens are bytes."""
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(TOKENS)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 0), ("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=length
    )


def save_clip(folder, kind):
    """Save a model like CLIP with its image processor."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{KINDS[kind]}Config")(
        text_config=SIZES | IDS | {"max_position_embeddings": 16},
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    model = getattr(transformers, f"{KINDS[kind]}Model")(config)
    model.save_pretrained(folder)
    byte_tokenizer("<s> $A </s>", 16).save_pretrained(folder)
    processor = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 32},
                 "do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_rescale": True,
                 "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
                 "do_convert_rgb": True, "resample": 3}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


def save_causal(folder):
    """Save a causal language model, whose weights are so large that its tokens are far from equally likely."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, **IDS, max_position_embeddings=512, initializer_range=0.3)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    byte_tokenizer("<s> $A", 512).save_pretrained(folder)
    return str(folder)


def save_translator(folder):
    """Save a sequence-to-sequence model."""
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
    config = transformers.BartConfig(
        **sizes, **IDS, decoder_start_token_id=0, max_position_embeddings=128, init_std=0.3, forced_eos_token_id=None
    )
    transformers.BartForConditionalGeneration(config).save_pretrained(folder)
    byte_tokenizer("$A </s>", 64).save_pretrained(folder)
    return str(folder)
