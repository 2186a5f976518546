from __future__ import annotations

import string
import unicodedata
from random import Random

import pytest

from curation import models
from curation.errors import UsageError
from curation.lid.identifier import LanguageIdentifier
from curation.matching.matcher import Matcher
from demo.words import KINDS, SCENES, languages
from metadata.languages import LanguageTable

LANGUAGES = languages().values()


def each_caption(lang):
    for template in range(len(lang.captions)):
        for kind in KINDS:
            for scene in SCENES:
                yield kind, lang.caption(template, kind, scene)


def test_there_are_many_languages_with_unspaced_and_right_to_left_scripts():
    assert len(LANGUAGES) >= 12
    assert {"zh", "ja", "th", "ar", "he"} <= set(languages())


@pytest.mark.parametrize("lang", LANGUAGES, ids=lambda lang: lang.code)
def test_every_slot_is_filled_and_every_text_is_nfc(lang):
    slots = {
        "captions": {"x", "at"},
        "words": {"word", "number", "year"},
        "places": {"name", "other", "number", "year"},
    }
    for group, expected in slots.items():
        used = {name for text in getattr(lang, group) for _, name, _, _ in string.Formatter().parse(text) if name}
        assert used == expected, group
    for _, text in each_caption(lang):
        assert not set("{}[]") & set(text)
        assert text == " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("lang", LANGUAGES, ids=lambda lang: lang.code)
def test_kinds_scenes_and_sentences_are_distinct(lang):
    assert len({noun.word for noun in lang.nouns.values()}) == len(KINDS)
    assert len(set(lang.scenes.values())) == len(SCENES)
    captions = [caption for _, caption in each_caption(lang)]
    assert len(set(captions)) == len(captions)


@pytest.mark.parametrize("lang", LANGUAGES, ids=lambda lang: lang.code)
def test_every_caption_matches_its_noun(lang):
    words = [lang.nouns[kind].word for kind in KINDS]
    matcher = Matcher.build(words, "worldwide")
    for kind, caption in each_caption(lang):
        assert KINDS.index(kind) in matcher.match(caption), caption


def test_captions_are_identified_as_their_language():
    try:
        path = models.default_model_path()
    except UsageError as error:
        pytest.skip(str(error))
    table = LanguageTable.load()
    identifier = LanguageIdentifier(path, table.label_to_lang)
    for lang in LANGUAGES:
        identified, _ = identifier.identify([caption for _, caption in each_caption(lang)])
        assert identified.count(lang.code) > 0.97 * len(identified), lang.code


@pytest.mark.parametrize("lang", LANGUAGES, ids=lambda lang: lang.code)
def test_invented_names_are_in_the_language_s_script(lang):
    rng = Random(5)
    scripts = {unicodedata.name(char).split()[0] for _ in range(50) for char in lang.invented_name(rng)}
    script_names = {
        "latin": "LATIN", "cyrillic": "CYRILLIC", "arabic": "ARABIC", "hebrew": "HEBREW", "devanagari": "DEVANAGARI",
        "hangul": "HANGUL", "han": "CJK", "kana": "KATAKANA", "thai": "THAI",
    }  # fmt: skip
    assert scripts == {script_names[lang.script]}
