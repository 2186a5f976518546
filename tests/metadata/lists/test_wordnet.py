from __future__ import annotations

import io
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.build import source_list
from metadata.lists.merge import merge_lists
from metadata.lists.wordnet import find_wikipedia, read_index, read_synsets, read_tab, read_wordnets, wordnet_files

LANGUAGES = LanguageTable.load()


def tab(text):
    drops = Counter()
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_tab(io.BytesIO(data), "x.tab", drops)), dict(drops)


def read(files, **options):
    opened = wordnet_files(files, **options)
    return read_wordnets(opened, lambda path: io.BytesIO(files[path].encode()), LANGUAGES)


def test_only_lemma_rows_count():
    lines = [
        "# Wordnet\txxx\tlemma\tfree",
        "00001740-n\txxx:lemma\tentity",
        "00001740-n\tlemma\tthing",
        "00001740-n\txxx:lemma:root\troot",
        "00001740-n\txxx:def\t0\ta lemma",
        "00001740-n\txxx:exe\t1\tan example",
        "00001740-n\t*roa-jer:lemma\têtre\r",
        "00001740-n\txxx:lemma\tice_cream",
        "00001740-n\txxx:lemma\tput+off",
        "",
    ]
    assert tab("\n".join(lines)) == (["entity", "thing", "être", "ice cream", "putoff"], {})


def test_broken_rows_are_counted_and_the_rest_is_read():
    data = b"1-n\txxx:lemma\tbad \xff\n1-n\txxx:lemma\n1-n\n\n1-n\txxx:lemma\tgood"
    assert tab(data) == (["good"], {"not_utf8": 1, "malformed": 1})


UNSEEN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u061c\u200e\u034f\u115f\u3164\uffa0\u2800\ufe0f\u0301\U000e0041\U000f0000"
)
SPACES = "_ \u00a0\u3000"
CONTROLS = st.characters(codec="utf-8", categories=["Cc"], exclude_characters="\t\n")


@st.composite
def no_words(draw):
    """A tab file's lemma that is no word: a placeholder, nothing that shows, or a damaged word; and the reason."""
    kind = draw(st.sampled_from(["placeholder", "blank", "control_character"]))
    around = st.text(UNSEEN + SPACES, max_size=4)
    if kind == "placeholder":
        name = draw(st.sampled_from(["GAP!", "PSEUDOGAP!", "Gap!", "PseudoGap!"]))
        return kind, draw(around) + name + draw(around)
    if kind == "blank":
        return kind, draw(st.text(UNSEEN + SPACES, max_size=6))
    return kind, "x" + draw(CONTROLS) + draw(st.text("dog_", max_size=3)) + "y"


def entries_of(lemmas):
    return [entry.entry for entry in merge_lists([source_list(Limits(), lemmas=lemmas)])]


@settings(max_examples=150, deadline=None)
@given(st.lists(no_words(), max_size=8))
@example([("placeholder", "GAP!"), ("blank", ""), ("blank", "_"), ("blank", "\u200b"), ("control_character", "x\0y")])
def test_rows_without_a_word_are_counted_and_never_become_entries(rows):
    lines = [f"{n:08}-n\teng:lemma\t{lemma}" for n, (_, lemma) in enumerate(rows)]
    lemmas, drops = tab("\n".join([*lines, "9-n\teng:lemma\tred_dog"]))
    assert lemmas == ["red dog"]
    assert drops == Counter(kind for kind, _ in rows)
    assert entries_of([lemma for kind, lemma in rows if kind == "blank"]) == entries_of([])
    entries = entries_of([lemma for _, lemma in rows])
    assert not [entry for entry in entries if any(unicodedata.category(char) == "Cc" for char in entry)]
    index = "".join(f"{lemma} n 1\n" for _, lemma in rows if not set(lemma) & {" ", "\r"} and lemma)
    assert not list(read_index(io.BytesIO(index.encode()), "index.noun", Counter()))


def test_a_plus_sign_is_removed_between_the_parts_of_a_word_only():
    words = ["put+off", "活泼+的", "क+ा", "C++", "A+", "C++11", "+", "<script>alert(1)</script>"]
    lemmas, drops = tab("\n".join(f"1-n\teng:lemma\t{word}" for word in words))
    assert lemmas == ["putoff", "活泼的", "का", "C++", "A+", "C++11", "+", "<script>alert(1)</script>"]
    assert not drops
    assert {"C++", "A+"} <= set(entries_of(lemmas))
    assert not {"C", "A", "+"} & set(entries_of(lemmas))


def test_an_index_gives_every_lemma_after_its_license():
    text = (
        "  1 This software\n  2 and database\n.22 n 1 2 @ ~ 1 0 04510146  \n's_gravenhage n 1 2 @ #p 1 0 08970180  \n"
    )
    assert list(read_index(io.BytesIO(text.encode()), "index.noun", Counter())) == [".22", "'s gravenhage"]


def test_the_code_is_taken_from_the_file_name_not_the_folder():
    paths = ["omw/mcr/wn-data-cat.tab", "omw/cow/wn-data-cmn.tab", "omw/wikt/wn-wikt-jpn.tab", "dict/index.noun"]
    paths += ["omw/mcr/LICENSE", "omw/mcr/citation.bib", "dict/index.sense", "dict/data.noun", "wn-data-cat.tab.bak"]
    assert [(file.code, file.kind) for file in wordnet_files(paths)] == [
        ("eng", "data"),
        ("cat", "tab"),
        ("cmn", "tab"),
    ]
    codes = {file.code: find_wikipedia(file, LANGUAGES) for file in wordnet_files(paths, wiktionary=True)}
    assert codes == {"eng": "en", "cat": "ca", "cmn": "zh", "wikt-jpn": "ja"}


def test_files_of_one_code_and_codes_of_one_wikipedia_are_merged_without_duplicates():
    files = {
        "iwn/wn-data-ita.tab": "1-n\tita:lemma\tcane\n2-n\tita:lemma\tgatto",
        "ita/wn-data-ita.tab": "1-n\tita:lemma\tcane\n3-n\tita:lemma\ttopo",
        "cow/wn-data-cmn.tab": "1-n\tcmn:lemma\t狗",
        "cwn/wn-data-qcn.tab": "1-n\tqcn:lemma\t犬",
    }
    found = read(files)
    assert found.lemmas == {"it": ["cane", "topo", "gatto"], "zh": ["狗", "犬"]}
    assert found.rows == {"ita/wn-data-ita.tab": 2, "iwn/wn-data-ita.tab": 2} | dict.fromkeys(list(files)[2:], 1)
    assert not found.unmapped
    assert not found.errors


def test_als_is_albanian_except_in_the_wiktionary_file_where_it_is_alemannic():
    files = {"als/wn-data-als.tab": "1-n\tals:lemma\tqen", "wikt/wn-wikt-als.tab": "1-n\tals:lemma\tHund"}
    assert read(files).lemmas == {"sq": ["qen"]}
    assert read(files, wiktionary=True).lemmas == {"sq": ["qen"], "als": ["Hund"]}


def test_a_code_without_a_wikipedia_is_reported():
    files = {"wikt/wn-wikt-grc.tab": "1-n\tgrc:lemma\tκύων", "wikt/wn-wikt-deu.tab": "1-n\tdeu:lemma\tHund"}
    found = read(files, wiktionary=True)
    assert found.unmapped == ["wikt/wn-wikt-grc.tab"]
    assert found.lemmas == {"de": ["Hund"]}
    assert found.rows["wikt/wn-wikt-grc.tab"] == 1


def test_a_wiktionary_file_is_used_only_without_a_hand_made_wordnet():
    files = {
        "fin/wn-data-fin.tab": "1-n\tfin:lemma\tkoira",
        "wikt/wn-wikt-fin.tab": "1-n\tfin:lemma\tkissa",
        "wikt/wn-wikt-jpn.tab": "1-n\tjpn:lemma\t犬",
    }
    found = read(files, wiktionary=True)
    assert found.lemmas == {"fi": ["koira"], "ja": ["犬"]}
    assert set(found.rows) == {"fin/wn-data-fin.tab", "wikt/wn-wikt-jpn.tab"}


SYNSETS = """  1 This software and database
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived
02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 000 | a member of the genus Canis
00003553 00 s 01 cut_off(p) 0 000 | detached
08970180 15 n 02 The_Hague 0 's_Gravenhage 0 000 | the site of the royal residence
not a synset
"""


def test_princeton_data_files_give_the_first_lemma_of_each_synset_with_its_case():
    drops = Counter()
    lemmas = list(read_synsets(io.BytesIO(SYNSETS.encode()), "data.noun", drops))
    assert lemmas == ["entity", "dog", "cut off", "The Hague"]
    assert drops == {"malformed": 1}


def test_an_index_is_read_only_if_its_folder_has_no_data_files():
    both = {"dict/data.noun": SYNSETS, "dict/index.noun": "hague n 1\n", "dict/data.txt": "none of ours"}
    assert read(both).lemmas == {"en": ["entity", "dog", "cut off", "The Hague"]}
    apart = {"wn31/index.noun": "hague n 1\n", "other/data.txt": ""}
    assert read(apart).lemmas == {"en": ["hague"]}


def test_an_unreadable_file_is_reported_and_the_others_are_read():
    def open_binary(path):
        if "ita" in path:
            raise InputError(f"cannot read {path}: gone")
        return io.BytesIO(b"1-n\tlemma\thund")

    files = wordnet_files(["wn-data-ita.tab", "wn-data-dan.tab"])
    found = read_wordnets(files, open_binary, LANGUAGES)
    assert found.errors == {"wn-data-ita.tab": "cannot read wn-data-ita.tab: gone"}
    assert found.lemmas["da"] == ["hund"]


def test_only_files_of_the_named_wikipedias_are_read_and_counted():
    files = {
        "wn-data-ita.tab": "1-n\tlemma\tcane\n1-n\tlemma\n",
        "wn-data-dan.tab": "1-n\tlemma\thund\n1-n\tlemma\n",
        "wn-data-xyz.tab": "1-n\tlemma\tdog\n",
    }
    opened = wordnet_files(files)
    found = read_wordnets(opened, lambda path: io.BytesIO(files[path].encode()), LANGUAGES, ["da", "en"])
    assert found.lemmas == {"da": ["hund"]}
    assert found.drops == {"wn-data-dan.tab": {"malformed": 1}, "wn-data-xyz.tab": {}}
    assert found.unmapped == ["wn-data-xyz.tab"]


@pytest.fixture(scope="module")
def real(fixtures_dir):
    def read_folder(name):
        paths = [str(path) for path in (fixtures_dir / name).rglob("*") if path.is_file()]
        return read_wordnets(wordnet_files(paths), lambda path: open(path, "rb"), LANGUAGES)  # noqa: PTH123 (a callable of str)

    return read_folder


def test_every_lemma_row_of_the_open_multilingual_wordnet_is_read(real):
    found = real("omw")
    assert len(found.rows) == 28
    drops = sum(found.drops.values(), Counter())
    assert sum(found.rows.values()) + drops.total() == 1_213_532
    assert drops == {"placeholder": 1_337, "control_character": 19}
    assert (found.unmapped, found.errors) == ([], {})
    expected = "ar bg ca da el eu fa fr gl he hr id is it lt ms nl nn no pl pt sk sl sq sv zh"
    assert sorted(found.lemmas) == expected.split()


def test_every_lemma_of_the_princeton_index_is_read(real):
    found = real("dict")
    assert list(found.lemmas) == ["en"]
    assert len(found.lemmas["en"]) == len(set(found.lemmas["en"])) == 147_478
    assert {"new york", "'hood", "dog", ".22"} <= set(found.lemmas["en"])
