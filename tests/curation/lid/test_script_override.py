from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.lid.identifier import LanguageIdentifier
from curation.lid.script_override import LANGUAGES, ScriptIdentifier, override_by_script
from curation.models import default_model_path
from metadata.languages import LanguageTable

# characters whose Unicode names start with the name of their script, by which the oracle recognizes them
SAMPLES = {
    "th": "ที่นี่มีแมว๒",
    "lo": "ແມວນ້ຳ",
    "km": "ឆ្មានេះ",
    "bo": "ཞི་མི།",
    "ta": "பூனை",
    "te": "పిల్లి",
    "kn": "ಬೆಕ್ಕು",
    "ml": "പൂച്ച",
    "si": "පූසා",
    "gu": "બિલાડી",
    "pa": "ਬਿੱਲੀ",
    "or": "ବିଲେଇ",
    "dv": "ބުޅާ",
    "hy": "կատու",
    "el": "γάτα",
    "ko": "고양이",
    "ja": "ねこネコ",
}
NEUTRAL = "cat дом قط 猫 5 . 👍é"
texts = st.lists(st.text("".join(SAMPLES.values()) + NEUTRAL * 3, max_size=12), max_size=8)


def oracle(text: str, lang: str) -> str:
    letters = [char for char in text if unicodedata.category(char)[0] in "LM"]
    for language in sorted(SAMPLES):
        names = tuple(script.upper() for script, found in LANGUAGES.items() if found == language)
        own = [char for char in letters if unicodedata.name(char, "").startswith(names)]
        together = any(one in own and other in own for one, other in pairwise(text))
        if len(own) * 2 > len(letters) and (together or language == "ko"):
            return language
    return lang


@settings(deadline=None)
@given(texts)
@example(["ท๒", "1π2", "ท๒ทท"])
def test_a_script_decides_if_it_has_most_letters_and_some_form_a_word(found):
    langs = [("en", "other", "th")[n % 3] for n in range(len(found))]
    assert override_by_script(found, langs) == [oracle(*pair) for pair in zip(found, langs, strict=True)]


def test_every_script_has_a_sample_and_a_language_with_a_list_of_its_own():
    table = LanguageTable.load()
    assert set(SAMPLES) == set(LANGUAGES.values())
    for lang, text in SAMPLES.items():
        assert override_by_script([text], ["other"]) == [lang]
        assert table.target(lang) == lang


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "cat", "猫", "дом", "τ = 0.5 seconds", "iPhone ケ", "๒๕๖๗", "ที่ means that"),
        *("π", "3.14159… = π", "α, β", "10 Ω", "δ-δ", "ケ 100", "μ 5", "Σ ∆ Π"),
    ],
)
def test_other_texts_keep_their_language(text):
    assert override_by_script([text], ["fr"]) == ["fr"]


@pytest.mark.parametrize(("text", "lang"), [("개", "ko"), ("개 1", "ko"), ("ΑΒ", "el"), ("το", "el"), ("ก็", "th")])
def test_a_word_of_two_letters_or_a_syllable_of_hangul_is_enough(text, lang):
    assert override_by_script([text], ["fr"]) == [lang]


def test_an_overridden_identifier_keeps_its_scores():
    labels = LanguageTable.load().label_to_lang
    plain, by_script = (kind(default_model_path(), labels) for kind in (LanguageIdentifier, ScriptIdentifier))
    found = ["여기서요?", "the cat is on the table", "ថាម៉េច?"]
    assert plain.identify(found)[0] == ["en", "en", "en"]
    assert by_script.identify(found) == (["ko", "en", "km"], plain.identify(found)[1])
