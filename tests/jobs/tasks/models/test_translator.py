"""Translations are those of greedy search, one text at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from jobs.tasks.models import translator
from jobs.tasks.models.translator import Translator
from support.model_folders import save_translator

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROWS = [("ein Hund", "de"), ("a dog", "en"), ("un chien", "fr"), ("eine Katze sitzt", "de"), ("犬", "ja")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_translator(tmp_path_factory.mktemp("translator"))


def rows() -> pa.Table:
    return pa.Table.from_pylist([{"text": text, "lang": lang} for text, lang in ROWS])


def translate(folder, text: str, **options) -> str:
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        tokens = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=8, **options)
    return " ".join(tokenizer.decode(tokens[0], skip_special_tokens=True).split())


def test_a_translation_is_the_greedy_one_and_english_stays(folder, monkeypatch):
    monkeypatch.setattr(translator, "BATCH", 2)
    made = Translator(folder, max_tokens=8, prefix="en: ", device="cpu")(rows(), 0)
    expected = [text if lang == "en" else translate(folder, f"en: {text}") or None for text, lang in ROWS]
    assert made == expected
    assert len(set(made)) > 3


def test_only_the_languages_that_the_model_knows_are_translated(folder):
    made = Translator(folder, languages={"de": "<de>"}, target="<en>", max_tokens=8, device="cpu")(rows(), 0)
    expected = [translate(folder, ROWS[number][0], forced_bos_token_id=2) or None for number in (0, 3)]
    assert made == [expected[0], "a dog", None, expected[1], None]


def test_languages_and_their_target_go_together(folder):
    with pytest.raises(ValueError, match="languages and target go together"):
        Translator(folder, languages={"de": "<de>"})
