"""Synonyms and glosses come from wordnets, and are the same in every run."""

from __future__ import annotations

from collections import Counter
from io import BytesIO

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotations.load import load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError
from jobs.tasks.annotate.synonyms import EnglishGloss, Synonyms, rewrite
from metadata.lists.wordnet import WordnetFile, read_synset_lemmas

GERMAN = "\n".join(
    [
        "# deu",
        "02084071-n\tdeu:lemma\tHund",
        "02084071-n\tdeu:lemma\tKöter",
        "00000001-s\tlemma\tgroß",
        "00000001-a\tdeu:lemma\tweit+läufig",
        "00000002-n\tdeu:def\t0\tetwas",
        "00000003-n\tlemma\tBank",
        "00000004-n\tlemma\tBank",
        "00000005-n\tlemma\tBank",
        "00000006-n\tlemma\tBank",
        "00000003-n\tlemma\tSitz",
        "00000007-n\tlemma\tEIN",
        "00000007-n\tlemma\tGleichung",
    ]
)
DATA = "  1 license\n02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 1 n 0000 | a dog\n"
ADJECTIVES = "00000001 00 s 02 large(p) 0 big 0 000 | big\n"


@pytest.fixture
def folder(tmp_path) -> str:
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "wn-data-deu.tab").write_text(GERMAN)
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "data.adj").write_text(ADJECTIVES)
    return str(tmp_path)


def rows(*texts: tuple[str, str]) -> pa.Table:
    return pa.Table.from_pylist([{"text": text, "lang": lang, "texts": [{"text": text}]} for text, lang in texts])


def test_every_lemma_of_a_data_file_has_its_synset():
    pairs = read_synset_lemmas(WordnetFile("data.noun", "eng", "data"), BytesIO(DATA.encode()), Counter())
    assert list(pairs) == [("02084071-n", name) for name in ("dog", "domestic dog", "Canis familiaris")]
    pairs = read_synset_lemmas(WordnetFile("data.adj", "eng", "data"), BytesIO(ADJECTIVES.encode()), Counter())
    assert list(pairs) == [("00000001-a", "large"), ("00000001-a", "big")]


def test_words_are_replaced_by_synonyms_of_their_language(folder):
    maker = Synonyms(folder, share=1.0)
    made = maker(rows(("Ein Hund.", "de"), ("Ein Hund.", "en"), ("Eine Katze", "de"), ("a Dog", "en")), 0)
    [german] = [[text["text"] for text in made[0]]]
    assert german == ["Ein Köter."]
    assert made[1:3] == [[], []]
    assert {text["text"] for text in made[3]} <= {"a Domestic dog", "a Canis familiaris"}
    assert made[3]
    assert made[0][0] == {"text": "Ein Köter.", "style": "synonyms", "of": 0}
    assert maker(rows(("die Bank", "de")), 0) == [[]], "a word of many meanings stays"
    assert Synonyms(folder, max_synsets=4, share=1.0)(rows(("die Bank", "de")), 0)[0][0]["text"] == "die Sitz"


def test_a_gloss_has_english_words(folder):
    maker = EnglishGloss(folder)
    texts = [("großer Hund", "de"), ("großer", "de"), ("weitläufig", "de"), ("a dog", "en"), ("犬", "ja")]
    assert maker(rows(*texts), 0) == ["großer dog", None, "large", "a dog", None]


def test_a_folder_without_a_wordnet_is_refused(tmp_path):
    section = AnnotateSection(makers={"rewrites": {"model": str(tmp_path)}})
    with pytest.raises(UsageError, match=r"model: .* has no wordnet: give a folder with files wn-data-xxx\.tab"):
        load_maker(section, "rewrites")
    with pytest.raises(UsageError, match=r"annotate\.makers\.rewrites: .* refuses its parameters \(TypeError: .*model"):
        load_maker(AnnotateSection(), "rewrites")


SYNONYMS = {"dog": ("hound", "cur"), "red": ("crimson",), "cat": ("tomcat",)}


@given(
    st.lists(st.sampled_from(["dog", "red", "cat", "a", "big"]), max_size=8).map(" ".join),
    st.integers(1, 6),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(0, 5),
)
def test_rewrites_are_different_texts_with_synonyms_in_the_same_places(text, count, share, seed):
    texts = rewrite(text, SYNONYMS, count=count, share=share, seed=seed)
    assert len(texts) == len(set(texts)) <= count
    assert text not in texts
    for each in texts:
        for old, new in zip(text.split(" "), each.split(" "), strict=True):
            assert new == old or new in SYNONYMS[old]
    if share == 1 and set(text.split(" ")) & SYNONYMS.keys():
        assert texts
    assert texts == rewrite(text, SYNONYMS, count=count, share=share, seed=seed)
