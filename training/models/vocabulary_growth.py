"""Grow the vocabulary of a tokenizer and a model by the tokens of further texts (CLL-CLIP, arXiv 2401.17186).

New tokens get new ids, and their merges follow all earlier ones, so the rows of earlier tokens keep their meaning.
Still, a new merge may join tokens of an earlier text: `changed_share` measures how often.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Literal

import tokenizers
import torch
from tokenizers import trainers
from torch import Tensor, nn
from transformers import MetaClip2Model

from curation.errors import UsageError
from training.data.tokenizer import Tokenizer


def grow_tokenizer(tokenizer: Tokenizer, texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Return a tokenizer that also has the tokens of a BPE trained on texts.

    Raises UsageError if the tokenizer is not a BPE.

    Args:
        tokenizer: the present tokenizer, which is not changed.
        texts: texts to train on.
        vocab_size: size of the vocabulary that is trained on them; known tokens of it are shared.
    """
    grown = json.loads(tokenizer.to_json())
    if grown["model"]["type"] != "BPE":
        raise UsageError(f"tokenizer: a vocabulary of type {grown['model']['type']} cannot grow: use a BPE")
    learned = json.loads(_train_like(tokenizer, texts, vocab_size).to_str())["model"]
    vocabulary, merges = grown["model"]["vocab"], grown["model"]["merges"]
    known = {tuple(merge) for merge in merges}
    next_id = tokenizer.vocab_size
    for token in sorted(learned["vocab"].keys() - vocabulary.keys(), key=lambda token: learned["vocab"][token]):
        vocabulary[token], next_id = next_id, next_id + 1
    merges += [merge for merge in learned["merges"] if tuple(merge) not in known]
    return Tokenizer.from_json(json.dumps(grown), tokenizer.context_length, tokenizer.special_tokens)


def _train_like(tokenizer: Tokenizer, texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Train a BPE on texts that are normalized and split as a tokenizer does it."""
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    alphabet = [token for token in core.get_vocab(with_added_tokens=False) if len(token) == 1]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(texts, trainer)
    return core


def changed_share(before: Tokenizer, after: Tokenizer, texts: Sequence[str]) -> float:
    """Return the share of texts whose ids differ between two tokenizers, padding aside."""
    if not texts:
        return 0.0
    first, second = before(texts), after(texts)
    first, second = (
        torch.where(ids == tokenizer.pad_id, -1, ids) for ids, tokenizer in ((first, before), (second, after))
    )
    return (first != second).any(1).double().mean().item()


def grow_embeddings(
    model: MetaClip2Model, known: int, vocab_size: int, *, seed: int, new_rows: Literal["matrix"] | float = "matrix"
) -> None:
    """Draw embeddings of new tokens, in new rows if the model has too few; those of known tokens keep their bits.

    Args:
        model: the model, whose configuration gets the new size.
        known: number of ids before; a model may have more rows, which no token uses.
        vocab_size: number of ids afterwards.
        seed: determines the new rows.
        new_rows: `matrix` draws them with mean and standard deviation of all present numbers (TEIR); a number draws
            them with mean 0 and this standard deviation.
    """
    present = model.text_model.embeddings.token_embedding
    mean, std = row_statistics(present.weight) if new_rows == "matrix" else (0.0, new_rows)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(vocab_size - known, present.embedding_dim, generator=generator) * std + mean
    weight = present.weight.detach()
    rows = torch.cat([weight[:known], drawn.to(weight), weight[vocab_size:]])
    grown: nn.Embedding = nn.Embedding.from_pretrained(rows, freeze=False)  # type: ignore[no-untyped-call]  # in torch
    model.text_model.embeddings.token_embedding = grown
    model.text_model.config.vocab_size = len(rows)  # a part of the model's configuration


def row_statistics(weight: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation (of a sample: n - 1) of all numbers of a matrix."""
    return weight.mean().item(), weight.std().item()
