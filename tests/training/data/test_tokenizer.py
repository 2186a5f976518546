from __future__ import annotations

import json
import pickle

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from curation.errors import UsageError
from training.data.tokenizer import Tokenizer

TEXTS = ["a red circle", "新しいカメラです", "собака и кот", "كلب كبير", "หมา", "ein Hund, zwei Hunde"] * 5


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=330, context_length=12)


@settings(max_examples=200)
@given(st.lists(st.text(max_size=40) | st.sampled_from(["</s>", "<s></s><pad>", "a </s> b", ""]), min_size=1))
def test_every_text_has_one_start_and_one_end(trained, texts):
    tokens = trained(texts)
    assert tokens.shape == (len(texts), 12)
    for row in tokens.tolist():
        end = row.index(trained.eos_id)
        assert row[0] == trained.bos_id
        assert row.count(trained.eos_id) == row.count(trained.bos_id) == 1
        assert trained.pad_id not in row[:end]
        assert set(row[end + 1 :]) <= {trained.pad_id}
        assert max(row) < trained.vocab_size


@given(st.lists(st.text(max_size=40), min_size=1))
def test_texts_are_padded_as_the_saved_tokenizer_pads_them(trained, texts):
    core = tokenizers.Tokenizer.from_str(trained.to_json())
    core.encode_special_tokens = True
    assert trained(texts).tolist() == [encoding.ids for encoding in core.encode_batch(texts)]


@given(st.text(max_size=8))
def test_no_character_is_unknown(trained, text):
    core = tokenizers.Tokenizer.from_str(trained.to_json())
    core.no_truncation()
    import unicodedata

    assert core.decode(core.encode(text, add_special_tokens=False).ids) == unicodedata.normalize("NFC", text)


def test_training_twice_gives_the_same_file():
    one, other = (Tokenizer.train(iter(TEXTS), vocab_size=330, context_length=12).to_json() for _ in range(2))
    assert one == other


def test_a_pickled_tokenizer_still_encodes_special_tokens_in_a_text_as_characters(trained):
    sent = pickle.loads(pickle.dumps(trained))
    texts = ["a </s> b", "<s>", *TEXTS]
    assert torch.equal(sent(texts), trained(texts))


@pytest.mark.parametrize("end", ["<stop>", {"__type": "AddedToken", "content": "<stop>"}])
def test_a_pickled_or_saved_tokenizer_keeps_an_end_token_that_only_its_folder_names(tmp_path, end):
    """Both took the known name `</s>`, and texts were pooled at another token than those of training."""
    other_tokenizer(["</s>", "<stop>"]).save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    read = Tokenizer.read(tmp_path, 6)
    assert read.eos_id == 4
    (tmp_path / "saved").mkdir()
    read.save(tmp_path / "saved")
    for other in (pickle.loads(pickle.dumps(read)), Tokenizer.load(tmp_path / "saved", 6), Tokenizer.load(tmp_path, 6)):
        assert other.special_tokens == read.special_tokens
        assert (other.eos_id, other.bos_id, other.pad_id) == (read.eos_id, read.bos_id, read.pad_id)
        assert torch.equal(other(["a </s> b", "<stop>", ""]), read(["a </s> b", "<stop>", ""]))


def test_this_project_and_hugging_face_read_the_saved_folder(trained, tmp_path):
    trained.save(tmp_path)
    texts = ["a red circle", "a </s> b", "新しい", "x" * 200]
    ours = Tokenizer.read(tmp_path / "tokenizer.json", 12)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert torch.equal(ours(texts), trained(texts))
    encoded = theirs(texts, padding="max_length", truncation=True, max_length=12)["input_ids"]
    assert encoded == trained(texts).tolist()


def other_tokenizer(names) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.add_tokens(names)
    return core


def test_any_tokenizer_file_with_an_end_token_is_accepted(tmp_path):
    path = tmp_path / "tokenizer.json"
    other_tokenizer(["<|startoftext|>", "<|endoftext|>"]).save(str(path))
    tokenizer = Tokenizer.read(path, 6)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad, tokenizer.pad_id) == (3, 4, "<|endoftext|>", 0)
    assert tokenizer(["a b", "a b a b a b"]).tolist() == [[3, 0, 1, 4, 0, 0], [3, 0, 1, 0, 1, 4]]
    other_tokenizer(["[SEP]"]).save(str(path))
    tokenizer = Tokenizer.read(path, 4)
    assert (tokenizer.bos_id, tokenizer(["a"]).tolist()) == (None, [[0, 3, 0, 0]])


def test_unusable_tokenizer_files_are_named_in_the_error(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UsageError, match=r"tokenizer: cannot read .*tokenizer\.json"):
        Tokenizer.read(path, 8)
    path.write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(UsageError, match=r"tokenizer: cannot read .*tokenizer\.json"):
        Tokenizer.read(path, 8)
    other_tokenizer([]).save(str(path))
    with pytest.raises(UsageError, match="has no end token: add one of </s>"):
        Tokenizer.read(path, 8)
