from __future__ import annotations

import string
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.matching import char_classes
from curation.matching.rules import normalize_entry, normalize_text, normalize_worldwide

# Characters for which every rule applies in some combination.
PROVOKING = (
    "aZ1é'-_·.,״׳’ʼ‐‑ ;!?#+$°\t\n\u00a0…½²①™℃№®❤≠=\u0338\u0301\u0308\u20dd\u0327\ufe0f\u200b\u200c\u200d\u00ad\u061c"
    "\u2060\ufeff\x00ŀﬁŉ¨´ªΩאَبдя"
    "漢字々〆〇⽇⻖あァカリスー・ｶﾞﾗ゙゚ﾟㄅไทยที่น้ำ๑ລາວຳខ្មែរ។မြန်ㆍབོད་༌།한국의ㄱᄀ가〮㉠㈜㌔𠀀𝒳👩🏽"
)
provoking_texts = st.text(st.sampled_from(PROVOKING), max_size=14)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("dog", " dog "),
        ('"dog"', ' " dog " '),
        ("U.S.", " U.S . "),
        ("St. Louis", " St . Louis "),
        ("don't, rock-n-roll", " don't , rock-n-roll "),
        ("IMG_0023.jpg", " IMG_0023.jpg "),
        ("1,000 3.5", " 1,000 3.5 "),
        ("a--b ..c", " a - - b . . c "),
        ("don’t e‐mail", " don't e-mail "),
        ("col·lecció coŀlecció", " col·lecció col·lecció "),
        ("צה״ל", " צה״ל "),
        ("a\u00a0 b\tc\r\nd", " a b c d "),
        ("dog™ 20℃ 5㎏ №5", " dog TM 20 ° C 5 kg No 5 "),
        ("1½ cups", " 1 1 ⁄ 2 cups "),
        ("H₂O m²", " H2O m2 "),
        ("新しいiPhoneケース2024年", " 新しい iPhone ケース 2024 年 "),
        ("iPhone의 T셔츠", " iPhone 의 T 셔츠 "),
        ("T.シャツ", " T . シャツ "),
        ("ｶﾞﾗ，ﾗ", " ガラ , ラ "),
        ("⽇本", " 日本 "),
        ("བོད་སྐད།", " བོད་སྐད ། "),
        ("I ❤️ NY, I❤NY", " I ❤ NY , I ❤ NY "),
        ("a≠b, a=\u0338b", " a ≠ b , a ≠ b "),
        ("c<\u20d2d", " c <\u20d2 d "),
        ("1\ufe0f\u20e3 one", " 1\u20e3 one "),
        ("می\u200cخواهم", " می\u200cخواهم "),
        ("so\u00adft ze\u200bro \ufeffbom \u200fbidi wo\u2060rd co\x07ntrol", " soft zero bom bidi word control "),
        ("", " "),
        (" \u200b\u00ad ", " "),
    ],
)
def test_texts_are_normalized(text, normalized):
    assert normalize_worldwide(text) == normalize_text(text) == normalized


@pytest.mark.parametrize(
    ("entry", "normalized"),
    [
        ("dog", " dog "),
        ("New  York", " New York "),
        ("C++", " C + + "),
        ("カメラ", "カメラ"),
        ("ー", "ー"),
        ("〆切", "〆切"),
        ("ไทย", "ไทย"),
        ("ที่", "ที่"),
        ("བོད་", "བོད་"),
        ("한국", " 한국"),
        ("Tシャツ", " T シャツ"),
        ("シャツT", "シャツ T "),
        ("T셔츠", " T 셔츠"),
        ("カメラ!", "カメラ ! "),
        ("\u0e48ไทย", "\u0e48ไทย"),  # a mark without a base is of its own script
        ("か ゙", "か ゙ "),  # the mark after a space is of no script
        ("", ""),
        ("\u200b", ""),
    ],
)
def test_an_entry_is_open_where_its_script_is(entry, normalized):
    assert normalize_entry(entry) == normalized


@pytest.mark.parametrize(
    ("entry", "normalized"),
    [
        ("dog", " dog "),
        ("U.S.", " U.S."),
        ("(a", "(a "),
        ("カメラ", " カメラ "),  # kana and Hangul are not open
        ("한국", " 한국 "),
        ("漢カ", "漢カ "),
        ("ไทย", "ไทย"),
        ("「a」", "「a」"),
        ("a\tb  c", " a\tb  c "),  # nothing inside changes
        ("", ""),
    ],
)
def test_reference_entries_follow_the_public_code_to_the_letter(entry, normalized):
    assert normalize_entry(entry, "reference") == normalized


def test_reference_is_open_for_these_characters_and_no_others():
    blocks = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)]
    blocks += [(0x2B820, 0x2CEAF), (0x2CEB0, 0x2EBEF), (0xF900, 0xFAFF), (0x2E80, 0x2EFF), (0x2F00, 0x2FDF)]
    blocks += [(0x2FF0, 0x2FFF), (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF)]
    expected = {chr(code) for first, last in blocks for code in range(first, last + 1)}
    expected |= {*string.punctuation, *"，。、；：？！“”‘’（）【】《》〈〉「」『』～—"}
    everything = map(chr, range(sys.maxunicode + 1))
    assert {char for char in everything if normalize_entry(char, "reference") == char} == expected


def test_reference_texts_follow_the_public_code_to_the_letter():
    assert normalize_text("a, b", "reference") == " a ,  b "
    assert normalize_text('"x"\ty\r\nz', "reference") == ' "x" y  z '
    assert normalize_text(",.;:?!`", "reference") == "  ,  .  ;  :  ?  !  `  "


@pytest.mark.parametrize("normalize", [normalize_text, normalize_entry])
def test_unknown_rules_are_refused_by_name(normalize):
    with pytest.raises(UsageError, match=r"match\.rules: unknown rule set 'strict'"):
        normalize("a", "strict")


@settings(max_examples=1000)
@given(provoking_texts | st.text())
def test_normalizing_twice_changes_nothing(text):
    assert normalize_worldwide(normalize_worldwide(text)) == normalize_worldwide(text)


def test_normalizing_any_symbol_twice_changes_nothing():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if _unusual(char):
            text = f"a{char}b.{char}\u0301カ{char}1"
            assert normalize_worldwide(normalize_worldwide(text)) == normalize_worldwide(text), hex(code)


def _unusual(char):
    assigned = unicodedata.category(char) not in ("Cn", "Co", "Cs")
    return assigned and (not char.isalnum() or not unicodedata.is_normalized("NFKC", char))


@given(provoking_texts | st.text())
def test_normalized_texts_have_single_spaces_and_one_at_either_end(text):
    normalized = normalize_worldwide(text)
    assert normalized[0] == normalized[-1] == " "
    assert "  " not in normalized
    assert not any(char.isspace() and char != " " for char in normalized)


@given(provoking_texts)
def test_composed_and_decomposed_texts_are_normalized_alike(text):
    assert normalize_worldwide(unicodedata.normalize("NFD", text)) == normalize_worldwide(
        unicodedata.normalize("NFC", text)
    )


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_the_fast_path_for_ascii_agrees_with_the_general_one(text):
    assert normalize_worldwide(f"é {text}") == f" é{normalize_worldwide(text)}"


@given(provoking_texts)
def test_an_entry_matches_its_own_text(text):
    assert normalize_entry(text) in normalize_text(text)
    assert bool(normalize_entry(text)) == bool(normalize_worldwide(text).strip())


def test_script_ranges_are_those_of_unicode_16():
    icu = pytest.importorskip("icu", reason="PyICU, from the extra `segment`, is the second source of script ranges")
    if icu.UNICODE_VERSION != "16.0":
        pytest.skip(f"this PyICU knows Unicode {icu.UNICODE_VERSION}, the table is of 16.0")
    named = ["Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"]
    for code in range(sys.maxunicode + 1):
        script = icu.Script.getScript(chr(code)).getName() if not 0xD800 <= code < 0xE000 else ""
        assert (code in char_classes.OPEN) == (script in named or chr(code) in "ー々〆〇"), hex(code)
        assert (code in char_classes.HANGUL) == (script == "Hangul"), hex(code)
