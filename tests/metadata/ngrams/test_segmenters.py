from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from metadata.languages import LanguageTable
from metadata.ngrams import segmenters
from metadata.ngrams.segmenters import SEGMENTERS, find_segmenter, fingerprint, segment

LANGUAGES = LanguageTable.load().languages
SCRIPTS = st.text(
    st.sampled_from("红色的狗北京東都カメラอะไรภาษาລາວខ្មែរမြန်မာ၎၂ၵႂၢမ်း𠀀𠮷가a9é\u0301"), min_size=1, max_size=30
)


@settings(deadline=None)
@given(SCRIPTS, st.sampled_from(["icu", "myanmar"]))
def test_the_words_together_are_the_text(text, name):
    assert "".join(segment(name, "zh")(text)) == text


@settings(deadline=None)
@given(st.lists(st.text("བཡིགདོ", min_size=1, max_size=4), min_size=1, max_size=6), st.sampled_from("་༌"))
def test_tshegs_separate_tibetan_syllables(syllables, tsheg):
    assert segment("tsheg", "bo")(tsheg.join(syllables) + tsheg) == syllables


def test_zero_width_spaces_separate_words_and_are_removed():
    assert segment("icu", "th")("\u200bภาษา\u200b\u200bไทย\u2060") == ["ภาษา", "ไทย"]


@pytest.mark.parametrize("text", ["မြန်မာ", "ဗုဒ္ဓ", "အိမ့်", "တၢင်း", "ဝ်ႈ"])
def test_a_stacked_or_closing_consonant_does_not_start_a_syllable(text):
    assert all(len(part) > 1 for part in segment("myanmar", "mnw")(text))


@pytest.mark.parametrize(
    ("name", "code", "text", "words"),
    [
        ("jieba", "zh", "我爱自然语言处理", ["我", "爱", "自然语言", "处理"]),
        ("fugashi", "ja", "東京都に住む", ["東京", "都", "に", "住む"]),
        ("pythainlp", "th", "ประเทศไทยสวยงาม", ["ประเทศ", "ไทย", "สวยงาม"]),
    ],
)
def test_optional_segmenters_work_if_they_are_installed(name, code, text, words):
    if importlib.util.find_spec(SEGMENTERS[name].module) is None:
        pytest.skip(f"{name} is not installed: it is an option")
    assert "".join(segment(name, code)(text)) == text
    assert len(set(words) & set(segment(name, code)(text))) >= 2
    assert fingerprint(replace(LANGUAGES[code], segmenter=name)).startswith(f"{name} ")


def test_an_unknown_or_missing_segmenter_is_refused_with_a_remedy(monkeypatch):
    with pytest.raises(UsageError, match=r"language table: zh: unknown segmenter 'best': use one of icu, tsheg"):
        find_segmenter(replace(LANGUAGES["zh"], segmenter="best"))
    missing = replace(SEGMENTERS["icu"], module="no_such_module")
    monkeypatch.setitem(segmenters.SEGMENTERS, "icu", missing)
    with pytest.raises(UsageError, match=r"zh is split into words by icu, which needs no_such_module: pip install '"):
        find_segmenter(LANGUAGES["zh"])


def test_the_fingerprint_names_the_release_that_holds_the_dictionaries():
    assert fingerprint(LANGUAGES["en"]) == "whitespace"
    assert fingerprint(LANGUAGES["bo"]) == "tsheg"
    assert fingerprint(LANGUAGES["th"]).startswith("icu 7")
