from __future__ import annotations

import random
import unicodedata

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from training.data.sentencepiece import read_sentencepiece
from training.data.tokenizer import Tokenizer

WORDS = ["the", "a", "red", "blue", "circle", "square", "собака", "кот", "новый", "新しい", "カメラ", "หมา", "고양이"]
KINDS = [
    {"model_type": "unigram"},
    {"model_type": "bpe"},
    {"model_type": "unigram", "byte_fallback": True, "add_dummy_prefix": False},
    {"model_type": "bpe", "byte_fallback": True},
    {"model_type": "unigram", "remove_extra_whitespaces": False, "normalization_rule_name": "identity", "pad_id": 3},
]


@pytest.fixture(scope="module", params=range(len(KINDS)))
def model(request, tmp_path_factory):
    """The path of a SentencePiece model of each kind."""
    folder, options = tmp_path_factory.mktemp("sentencepiece"), KINDS[request.param]
    rng = random.Random(3)
    (folder / "texts").write_text("\n".join(" ".join(rng.choices(WORDS, k=6)) for _ in range(500)))
    size = 420 if options.get("byte_fallback") else 130
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"),
        model_prefix=str(folder / "words"),
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return folder / "words.model"


TEXTS = st.lists(st.sampled_from([*WORDS, " ", "  ", "é", "ﬁ", "①", "\t", "▁", "Ａ", "z"]) | st.text(max_size=4)).map(
    "".join
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_ids_equal_those_of_sentencepiece(model, text):
    names = ("<s>", "</s>", "<unk>", "<pad>")  # SentencePiece never reads them from a text
    if any(name in unicodedata.normalize("NFKC", text) for name in names):
        return
    ours = read_sentencepiece(model).encode(text, add_special_tokens=False).ids
    assert ours == sentencepiece.SentencePieceProcessor(model_file=str(model)).encode(text)


@settings(max_examples=100, deadline=None)
@given(text=st.lists(st.sampled_from([*WORDS, "</s>", "<s>", "<pad>", "＜/s＞", " "])).map("".join))
def test_a_text_has_one_end_token_even_if_it_names_one(model, text):
    tokenizer = Tokenizer.read(model, 10)
    row = tokenizer([text])[0].tolist()
    assert row.count(tokenizer.eos_id) == row.count(tokenizer.bos_id) == 1
    assert row[0] == tokenizer.bos_id
    assert Tokenizer.from_json(tokenizer.to_json(), 10, {})([text])[0].tolist() == row


def test_a_file_that_is_no_sentencepiece_model_is_refused_in_one_line(tmp_path):
    path = tmp_path / "broken.model"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match=r"tokenizer: cannot read .*broken\.model: it is not a SentencePiece model"):
        Tokenizer.read(path, 8)
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="it is not a SentencePiece model"):
        Tokenizer.read(path, 8)


def test_a_model_with_user_defined_symbols_is_refused(tmp_path):
    (tmp_path / "texts").write_text("a red circle\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "texts"),
        model_prefix=str(tmp_path / "w"),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        user_defined_symbols=["[new]"],
    )
    with pytest.raises(UsageError, match=r"w\.model: it has user-defined symbols: convert it to a tokenizer\.json"):
        Tokenizer.read(tmp_path / "w.model", 8)
