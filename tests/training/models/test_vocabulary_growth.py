from __future__ import annotations

import pytest
import tokenizers
import torch

from curation.errors import UsageError
from support.models import build_model
from support.vectors import expected, inputs
from training.data.tokenizer import Tokenizer
from training.models.metaclip2 import PRESETS, read_model
from training.models.towers import TwoTowers
from training.models.vocabulary_growth import changed_share, grow_embeddings, grow_tokenizer, row_statistics

GREEK = ["κόκκινο ψάρι", "μπλε ψάρι κοντά στο βράχο", "κόκκινος βράχος", "ένα ψάρι"] * 5


@pytest.fixture(scope="module")
def grown(tokenizer) -> Tokenizer:
    return grow_tokenizer(tokenizer, GREEK, vocab_size=320)


def texts_of(tokenizer: Tokenizer) -> dict[str, int]:
    return tokenizer._core.get_vocab(with_added_tokens=True)


def lengths(tokenizer: Tokenizer, texts) -> int:
    return int((tokenizer(texts) != tokenizer.pad_id).sum())


def test_earlier_tokens_keep_their_ids_and_new_ones_follow(tokenizer, grown):
    before, after = texts_of(tokenizer), texts_of(grown)
    assert {token: after[token] for token in before} == before
    new = sorted(after[token] for token in after.keys() - before.keys())
    assert new == list(range(tokenizer.vocab_size, grown.vocab_size))
    assert len(new) > 10
    assert (grown.bos_id, grown.eos_id, grown.pad_id) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)


def test_new_texts_become_shorter_and_are_decoded_as_they_were(tokenizer, grown):
    assert lengths(grown, GREEK[:4]) < lengths(tokenizer, GREEK[:4])
    for text in GREEK[:4]:
        ids = grown([text])[0].tolist()
        assert grown._core.decode(ids, skip_special_tokens=True) == text


def test_growing_by_known_texts_changes_nothing(tokenizer, grown):
    again = grow_tokenizer(grown, GREEK, vocab_size=320)
    assert texts_of(again) == texts_of(grown)
    assert changed_share(grown, again, GREEK) == 0


def test_the_share_of_texts_whose_ids_change_is_counted(tokenizer, grown):
    assert changed_share(tokenizer, grown, ["xyz", "ψάρι", "", "βράχο"]) == 0.5
    assert changed_share(tokenizer, grown, []) == 0


def test_new_rows_have_the_statistics_of_the_vector():
    wanted = expected("cll", "teir_init")
    mean, std = row_statistics(inputs("cll", "teir_init")["embeddings"])
    assert (mean, std) == pytest.approx((wanted["mean"], wanted["std"]), rel=1e-9)


@pytest.mark.parametrize("new_rows", ["matrix", 0.02])
def test_a_grown_model_reads_earlier_texts_as_before(tokenizer, grown, new_rows, tmp_path):
    model = build_model(PRESETS["tiny"], tokenizer).eval()
    tokens = tokenizer(["a red fish", "one"])
    rows = model.text_model.embeddings.token_embedding.weight.detach().clone()
    with torch.no_grad():
        before = TwoTowers(model).embed_texts(tokens)
    # so many new rows that their statistics are measurable
    grow_embeddings(model, len(rows), size := len(rows) + 400, seed=3, new_rows=new_rows)
    weight = model.text_model.embeddings.token_embedding.weight
    assert torch.equal(weight[: len(rows)], rows)
    mean, std = row_statistics(rows) if new_rows == "matrix" else (0.0, new_rows)
    new = weight[len(rows) :]
    assert new.std().item() == pytest.approx(std, rel=0.03)
    assert new.mean().item() == pytest.approx(mean, abs=4 * std / new.numel() ** 0.5)
    with torch.no_grad():
        assert torch.equal(TwoTowers(model).embed_texts(tokens), before)
    model.save_pretrained(tmp_path)
    assert read_model(tmp_path).text_model.embeddings.token_embedding.num_embeddings == size


def test_rows_that_no_token_used_are_drawn_for_new_tokens_and_the_model_never_shrinks(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    rows = model.text_model.embeddings.token_embedding.weight.detach().clone()
    grow_embeddings(model, len(rows) - 9, len(rows) - 4, seed=3, new_rows=0.02)
    weight = model.text_model.embeddings.token_embedding.weight
    assert (weight != rows).any(1).nonzero().flatten().tolist() == list(range(len(rows) - 9, len(rows) - 4))
    assert model.config.text_config.vocab_size == len(rows)


def test_another_kind_of_vocabulary_is_refused_in_one_line(tokenizer):
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "</s>": 1, "[UNK]": 2}, unk_token="[UNK]"))
    with pytest.raises(UsageError, match="tokenizer: a vocabulary of type WordLevel cannot grow: use a BPE"):
        grow_tokenizer(Tokenizer(core, 8), ["x"], vocab_size=10)
