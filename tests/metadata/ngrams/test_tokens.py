from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata.languages import LanguageTable
from metadata.ngrams.tokens import BREAK, joiner, spaced_words, tokenizer, unspaced_words

LANGUAGES = LanguageTable.load().languages
MIXED = st.text(st.sampled_from("ab é\u0301́नमस्ते \n\u00a0\u3000,.-—。$’😀文字\u200c9\ud800"), max_size=40) | st.text(
    max_size=40
)


def oracle_words(text, *, spaces_break):
    """Split character by character: punctuation and, optionally, white space break bigrams."""
    words, word = [], ""
    for char in unicodedata.normalize("NFC", text) + " ":
        mark = unicodedata.category(char)[0] in "PS" or char == BREAK
        if not mark and not char.isspace():
            word += char
            continue
        words += [word] if word else []
        words += [BREAK] if mark or spaces_break else []
        word = ""
    return words


def runs(words):
    """Return the words between breaks, ignoring the number of consecutive breaks."""
    found = [[]]
    for word in words:
        if word == BREAK:
            found.append([])
        else:
            found[-1].append(word)
    return [run for run in found if run]


@settings(deadline=None)
@given(MIXED)
def test_white_space_and_punctuation_separate_words(text):
    assert runs(spaced_words(text)) == runs(oracle_words(text, spaces_break=False))


@settings(deadline=None)
@given(MIXED)
def test_in_text_without_spaces_white_space_breaks_bigrams_too(text):
    pieces = oracle_words(text, spaces_break=True)
    expected = [list(run) for run in runs(pieces) for run in run]
    assert runs(unspaced_words(text, list)) == expected


def test_punctuation_breaks_bigrams_and_is_not_a_word():
    words = spaced_words("The dog's tail, the U.S. army\nand $5 © now")
    assert runs(words) == [["The", "dog"], ["s", "tail"], ["the", "U"], ["S"], ["army", "and"], ["5"], ["now"]]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("en", "New York, don't", [["New", "York"], ["don"], ["t"]]),
        ("zh", "红色的狗在北京市。 iPhone手机", [["红色", "的", "狗", "在", "北京市"], ["iPhone", "手机"]]),
        ("zh_yue", "我係香港人", [["我", "係", "香港", "人"]]),
        ("ja", "新しいiPhoneケース・東京都", [["新しい", "iPhone", "ケース"], ["東京", "都"]]),
        ("th", "ประเทศไทยเป็นประเทศที่สวยงาม ภาษา", [["ประเทศไทย", "เป็น", "ประเทศ", "ที่", "สวยงาม"], ["ภาษา"]]),
        ("lo", "ພາສາລາວເປັນພາສາ", [["ພາສາ", "ລາວ", "ເປັນ", "ພາສາ"]]),
        ("km", "ភាសា\u200bខ្មែរ", [["ភាសា", "ខ្មែរ"]]),
        ("my", "မြန်မာစကားသည်", [["မြန်မာ", "စကား", "သည်"]]),
        ("shn", "ၵႂၢမ်းတႆးပဵၼ်2024ၼႃႈ", [["ၵႂၢမ်း", "တႆး", "ပဵၼ်", "2024", "ၼႃႈ"]]),
        ("bo", "བོད་ཡིག་གི། སྐད་ཡིག", [["བོད", "ཡིག", "གི"], ["སྐད", "ཡིག"]]),
        ("dz", "ཨ༌ཙི༌ཅིག༌", [["ཨ", "ཙི", "ཅིག"]]),
        ("wuu", "𠀀字", [["𠀀", "字"]]),
    ],
)
def test_every_script_is_split_into_words(code, text, expected):
    assert runs(tokenizer(LANGUAGES[code])(text)) == expected


def test_every_wikipedia_has_words_and_a_joiner():
    for language in LANGUAGES.values():
        assert runs(tokenizer(language)("Wikipedia 2024")) == (
            [["Wikipedia", "2024"]] if language.spacing == "space" else [["Wikipedia"], ["2024"]]
        )
    assert {joiner(LANGUAGES[code]) for code in ("zh", "ja", "th", "shn")} == {""}
    assert (joiner(LANGUAGES["en"]), joiner(LANGUAGES["bo"])) == (" ", "་")
