from __future__ import annotations

import json
import random
import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.errors import InputError, UsageError
from curation.matching import matcher as matching
from curation.matching import trie_build
from curation.matching.aho_corasick import AhoCorasickMatcher
from curation.matching.matcher import Matcher
from curation.matching.matcher_file import FORMAT, compile_entries
from curation.matching.text_block import BLOCK_BYTES
from support.oracles import ORACLES, oracle_worldwide

ALPHABETS = [
    "abé.,'- _1·",
    "aZ1é'-_·.,״׳’ʼ‐‑ ;!?#+$°\t\n\u00a0…½²①™℃№®❤≠=\u0338\u0301\u0308\u200b\u200c\u00ad\ufe0f\u2060אَבдя",
    "アカリスーラガ\u3099゚・ｶﾞﾗ ぁあ1a",
    "漢字々〆〇⽇㈱アあㄅa1，。「」 .",
    "ไทยที่น้ำ๑ລາວຳខ្មែរ។မြန်བོད་༌། a1",
    "한국의ㄱ가〮\u1100\u1161 a1.㉠漢",
]
SOUP = "".join(ALPHABETS)
texts = st.one_of([st.text(st.sampled_from(alphabet), max_size=12) for alphabet in [*ALPHABETS, SOUP, SOUP]])


@st.composite
def texts_with_entries(draw):
    """Draw a few texts, and entries; many entries are parts of the texts, some decomposed."""
    some = draw(st.lists(texts, min_size=1, max_size=4))
    entries = draw(st.lists(texts, max_size=4))
    for text in some:
        ends = st.integers(0, len(text))
        for _ in range(3):
            first, last = sorted((draw(ends), draw(ends)))
            entries.append(unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), text[first:last]))
    return some, entries


@pytest.mark.parametrize("rules", ORACLES)
@settings(max_examples=250, deadline=None)
@given(case=texts_with_entries())
@example(case=(["クリスマス リス ー", "カ゚リス゚"], ["リス", "リ", "ー", "スマ", "カ゚", "クリス"]))
def test_matches_are_those_of_the_oracle(rules, case):
    assert_like_oracle(rules, *case)


@pytest.mark.parametrize("rules", ORACLES)
def test_matches_are_those_of_the_oracle_on_thousands_of_texts(rules):
    dice = random.Random(f"matching {rules}")
    for _ in range(1000):
        alphabet = dice.choice([*ALPHABETS, SOUP])
        some = ["".join(dice.choices(alphabet, k=dice.randrange(14))) for _ in range(8)]
        cuts = [(text, sorted(dice.choices(range(len(text) + 1), k=2))) for text in some]
        entries = [text[first:last] for text, (first, last) in cuts] + dice.choices(alphabet, k=8)
        assert_like_oracle(rules, some, entries)


def assert_like_oracle(rules, some, entries):
    expected = [[i for i, entry in enumerate(entries) if ORACLES[rules](entry, text)] for text in some]
    for engine in (Matcher.build, AhoCorasickMatcher):
        assert engine(entries, rules).match_batch(pa.array(some, pa.string())).to_pylist() == expected


FACTS = """dog/"dog" yes · dog/hotdog no · U.S./the U.S. army yes · 3.5/v3.5 no · 3.5/3.5 mm yes
· don't/I don't know yes · カメラ/新しいカメラです yes · 한국/한국의 yes · 한국/남한국 no
· New York/"New  York" yes · C++/C++ code yes · dog/#dog yes · dog/dog-friendly no · ไทย/ประเทศไทย yes
· cafe\u0301/café yes · café/cafe\u0301 yes · a/á no · dog/dog® yes · dog/dog™ yes · 100/$100 yes
· iPhone/新しいiPhoneケース yes · 2024/2024年 yes · Tシャツ/白いTシャツ yes · ｶﾒﾗ/カメラ yes · ที/ที่ no
· リス/クリスマス no · リス/森のリスが yes · リス/リース no · カメラ/デジタルカメラ yes · St. Louis/in St. Louis, MO yes
· St . Louis/St. Louis yes · 犬/子犬の絵 yes · 11/1½ cups no · dog/Dog no"""


@pytest.mark.parametrize("case", re.split(r"\s*·\s*(?=\S+)", FACTS.replace("\n", "")))
def test_worldwide_examples(case):
    question, _, answer = case.rpartition(" ")
    entry, _, text = question.partition("/")
    assert Matcher.build([entry], "worldwide").match(text) == ([0] if answer == "yes" else [])
    assert oracle_worldwide(entry, text) == (answer == "yes")


@pytest.mark.parametrize(
    ("entry", "text", "expected"),
    [
        ("U.S.", "the U.S. army", False),
        ("St. Louis", "St. Louis", False),
        ("3.5", "3.5 mm", False),
        ("dog", '"dog"', False),
        ("dog", "a dog, a cat", True),
        ("カメラ", "新しいカメラです", False),
        ("한국", "한국의", False),
        ("犬", "子犬の絵", True),
        ("New York", "New  York", False),
        ("dog", "dog\ncat", True),
    ],
)
def test_reference_examples(entry, text, expected):
    assert Matcher.build([entry], "reference").match(text) == ([0] if expected else [])


def real_texts(fixtures_dir):
    """Return some texts per available language: Tatoeba sentences, emoji names, captions of Wikipedia images."""
    texts = {}
    for path in sorted((fixtures_dir / "laser-tatoeba" / "data" / "tatoeba" / "v1").glob("tatoeba.*-eng.*")):
        texts[path.name] = path.read_text(encoding="utf-8").splitlines()
    with (fixtures_dir / "emoji-pairs-base.tsv").open(encoding="utf-8") as rows:
        next(rows)
        for lang, _, _, name, keywords in (row.rstrip("\n").split("\t") for row in rows):
            texts.setdefault(f"emoji {lang}", []).append(f"{name} {keywords}")
    for path in sorted((fixtures_dir / "iglue" / "datasets" / "wit" / "annotations").glob("*.jsonl")):
        captions = [json.loads(line).get("caption_reference_description") for line in path.open(encoding="utf-8")]
        texts[path.name] = [caption for caption in captions if caption]
    assert len(texts) > 2 * 112 + 150 + 10
    return {name: lines[:: max(1, len(lines) // 8)][:8] for name, lines in texts.items() if lines}


@pytest.mark.parametrize("rules", ORACLES)
def test_matches_on_real_texts_are_those_of_the_oracle(rules, fixtures_dir):
    dice = random.Random(rules)
    some = real_texts(fixtures_dir)
    words_of = {name: {word for text in lines for word in text.split()} for name, lines in some.items()}
    for name, lines in some.items():
        for text in lines:
            first, last = sorted(dice.choices(range(len(text) + 1), k=2))
            words_of[name] |= {text[first : min(last, first + 12)], text[first : first + 2]}
    entries = sorted(set().union(*words_of.values()) - {""})
    matcher, automaton = Matcher.build(entries, rules), AhoCorasickMatcher(entries, rules)
    column = pa.array([text for lines in some.values() for text in lines])
    assert matcher.match_batch(column).equals(automaton.match_batch(column))
    hits = 0
    for name, lines in some.items():  # asking the oracle about every entry would take an hour
        asked = sorted({*words_of[name], *dice.choices(entries, k=200)} - {""})
        expected = [entry for entry in asked if ORACLES[rules](entry, lines[0])]
        matched = {entries[number] for number in matcher.match(lines[0])}
        assert [entry for entry in asked if entry in matched] == expected
        hits += len(expected)
    assert hits > 4 * len(some)


@pytest.mark.parametrize("rules", ORACLES)
def test_no_entries_match_nothing(rules):
    matcher = Matcher.build([], rules)
    assert len(matcher) == 0
    assert matcher.match("a dog") == []
    assert matcher.match_batch(pa.array(["a", None])).to_pylist() == [[], []]


def test_all_entries_with_the_same_normalized_form_match():
    entries = ["dog", "St . Louis", "cafe\u0301", "St. Louis", "caf\u00e9", "St.  Louis"]
    matcher = Matcher.build(entries, "worldwide")
    assert matcher.match("St. Louis café") == [1, 2, 3, 4, 5]
    assert matcher.match("St. Louis") == [1, 3, 5]
    assert AhoCorasickMatcher(entries, "worldwide").match("St. Louis café") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rules", ORACLES)
def test_a_list_of_single_tokens_among_many_characters_matches(rules):
    pairs = [chr(0x4F57 + number) + chr(0x5083 + number) for number in range(300)]
    matcher = Matcher.build(["dog", "cat", *pairs], rules)
    assert matcher.match(f"dog cat {pairs[7]}") == [0, 1, 9]


def test_ids_are_sorted_and_distinct():
    matcher = Matcher.build(["b", "a b", "a", "c"], "worldwide")
    assert matcher.match("a b a b c") == [0, 1, 2, 3]


def test_a_batch_gives_one_list_of_ids_per_row_and_an_empty_one_for_a_null():
    matcher = Matcher.build(["a", "b"], "worldwide")
    chunked = pa.chunked_array([["a b", None], [], ["", "b"]], pa.string())
    lists = matcher.match_batch(chunked)
    assert lists.type == pa.list_(pa.int32())
    assert lists.to_pylist() == [[0, 1], [], [], [1]]
    assert matcher.match_batch(pa.array(["x", "a", "b"]).slice(1, 1)).to_pylist() == [[0]]


@pytest.mark.parametrize("rules", ORACLES)
def test_a_stored_matcher_matches_like_the_built_one(rules, tmp_path):
    entries = ["dog", "カメラ", "リス", "한국", "\u200b", "a\nb", "犬"]
    matcher = Matcher.build(entries, rules)
    (tmp_path / "en.matcher").write_bytes(compile_entries(entries, rules))
    stored = Matcher.open(tmp_path / "en.matcher", rules)
    assert (len(stored), stored.rules) == (len(entries), rules)
    for text in ["dog 犬 カメラ", "クリスマス", "リス 한국", "a\nb \u200b"]:
        assert stored.match(text) == matcher.match(text)


@pytest.mark.parametrize("rules", ORACLES)
def test_the_same_entries_compile_to_the_same_bytes(rules):
    entries = [f"{word} {number}" for word in ("dog", "カメラ", "한국", "犬") for number in range(50)]
    assert compile_entries(entries, rules) == compile_entries(entries, rules)


DATA = compile_entries(["dog", "cat"], "worldwide")
HEADER, PAYLOAD = DATA.split(b"\n", 1)
FIELDS = json.loads(HEADER.removeprefix(b"worldcurate matcher "))


def with_header(**changes):
    return b"worldcurate matcher " + json.dumps(FIELDS | changes).encode() + b"\n" + PAYLOAD


BAD_FILES = [
    (b"", InputError, "cannot read the matcher"),
    (b"PK\x03\x04 something else\n", InputError, "not a matcher file"),
    (HEADER[:-3] + b"\n", InputError, "damaged"),
    (b"worldcurate matcher 7\n" + PAYLOAD, InputError, "header is damaged"),
    (DATA[:-1], InputError, "damaged or cut short"),
    (HEADER + b"\n", InputError, "damaged or cut short"),
    (DATA[:-9] + b"x" + DATA[-8:], InputError, "damaged or cut short"),
    (with_header(entries=3), InputError, "damaged or cut short"),
    (with_header(format=99), UsageError, f"matcher format 99, this version reads {FORMAT}; rebuild it"),
    (with_header(format=1), UsageError, f"matcher format 1, this version reads {FORMAT}; rebuild it"),
    (with_header(rules="reference"), UsageError, "built for the rules 'reference', match.rules asks for"),
]


@pytest.mark.parametrize(("data", "error", "message"), BAD_FILES)
def test_a_bad_matcher_is_refused_in_one_line_that_names_it(data, error, message, tmp_path):
    path = tmp_path / "en.matcher"
    path.write_bytes(data)
    with pytest.raises(error, match=re.escape(message)) as raised:
        Matcher.open(path, "worldwide")
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@settings(max_examples=150, deadline=None)
@given(index=st.integers(0, len(DATA) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_detected(index, bit):
    damaged = bytearray(DATA)
    damaged[index] ^= 1 << bit
    blank = DATA[index] == 0x20 and index < len(HEADER)  # padding of the header may change into other white space
    try:
        Matcher.from_bytes(bytes(damaged), "worldwide")
    except (InputError, UsageError):
        return
    assert blank


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"en\.matcher: cannot read the matcher: .*No such file"):
        Matcher.open(tmp_path / "en.matcher", "worldwide")


def test_unknown_rules_are_refused():
    with pytest.raises(UsageError, match=r"match\.rules: unknown rule set 'loose'"):
        Matcher.build(["a"], "loose")


@settings(max_examples=200, deadline=None)
@given(
    entries=st.lists(st.text("ab\0", min_size=1, max_size=20), max_size=12, unique=True),
    picks=st.lists(st.integers(0, 30), max_size=12),
    others=st.lists(st.text("ab\0", max_size=20), min_size=1, max_size=4),
)
def test_tokens_with_the_same_first_bytes_are_distinguished(entries, picks, others):
    words = [*entries, *others, *(entry[:-1] + "ab" for entry in entries)]
    text = " ".join(words[pick % len(words)] for pick in picks)
    pairs = [f"{first} {second}" for first, second in zip(entries, others, strict=False)]
    everything = sorted({*entries, *pairs})
    expected = [index for index, entry in enumerate(everything) if f" {entry} " in f" {text} "]
    assert Matcher.build(everything, "reference").match(text) == expected


ADVERSARIAL = {
    "empty": "",
    "only spaces": " \t\u3000 \u00a0",
    "all punctuation": "!?,.;:'\"()[]{}…—–«»¿¡、。" * 40,
    "a megabyte": "the dog sat on カメラ 한국의 ที่นี่ New York " * 20_000,
    "one long token": "dog" * 30_000,
    "astral characters": "𠮷野家 😀👩‍👩‍👧 𝔸 🇩🇪 dog",
    "combining marks": "e\u0301\u0323\u0301 d\u0327og a\u0301" + "\u0301" * 500,
    "mixed scripts": "dogカメラ한국dog漢字ไทยdog",
    "right-to-left marks": "\u200fכלב\u200e dog\u202b \u2067dog\u2069",
    "zero-width characters": "d\u200bog do\u200cg d\u200dog \ufeffdog dog\u2060",
    "NUL": "dog\0cat \0 dog",
}


@pytest.mark.parametrize("rules", ORACLES)
@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_adversarial_texts_match_as_in_the_oracle(rules, text):
    entries = [
        "dog",
        "cat",
        "カメラ",
        "メラ",
        "한국",
        "ที",
        "ที่",
        "New York",
        "dogdog",
        "漢",
        "😀",
        "é",
        "!",
        "'",
        "…",
        "כלב",
    ]
    entries += ["\0", "dog\0cat", " ", "𠮷", "a\u0301", "the dog", "🇩🇪", "👩‍👩‍👧", "dog 漢字", "カメラ한"]
    expected = [index for index, entry in enumerate(entries) if ORACLES[rules](entry, text)]
    for engine in (Matcher.build, AhoCorasickMatcher):
        assert engine(entries, rules).match(text) == expected


def test_texts_with_more_ids_than_the_initial_capacity_are_matched_completely():
    entries = [f"w{number}" for number in range(5000)]
    matcher = Matcher.build(entries, "worldwide")
    texts = ["", " ".join(reversed(entries)), "w7 w7 w3", " ".join(entries * 3)]
    everything = list(range(5000))
    assert matcher.match_batch(pa.array(texts)).to_pylist() == [[], everything, [3, 7], everything]


def test_texts_with_more_hits_than_the_initial_capacity_are_matched_completely():
    entries = ["漢" * length for length in range(1, 201)]
    texts = ["漢" * 300, "漢漢", "字", "漢" * 250]
    expected = [list(range(200)), [0, 1], [], list(range(200))]
    assert Matcher.build(entries, "worldwide").match_batch(pa.array(texts)).to_pylist() == expected


def test_duplicate_entries_beyond_the_capacity_for_hits_all_match():
    entries = ["cat", *("dog" + "\u200b" * length for length in range(300)), "dog dog"]
    texts = pa.array(["dog"] * 100 + ["dog dog"])
    assert len(texts) * 300 > matching.HIT_CAPACITY
    expected = [list(range(1, 301))] * 100 + [list(range(1, 302))]
    assert Matcher.build(entries, "worldwide").match_batch(texts).to_pylist() == expected


@pytest.mark.parametrize("many", [matching.HIT_CAPACITY - 1, matching.HIT_CAPACITY, matching.HIT_CAPACITY + 1])
@pytest.mark.parametrize("entry", ["b", "漢"])
def test_hits_that_just_fill_the_capacity_are_not_lost(entry, many):
    assert Matcher.build(["a", entry], "worldwide").match(f"{entry} " * many + "zz 字字") == [1]


def test_duplicates_of_hits_beyond_the_capacity_all_match():
    dots = ["...", "…", ". . .", ".. .", ". .."]
    assert Matcher.build(dots, "worldwide").match("." * 60_000) == [0, 1, 2, 3, 4]
    dogs = ["a", *("dog" + "\u200b" * length for length in range(300))]
    assert Matcher.build(dogs, "worldwide").match("a " * 20_000 + "dog " * 1000) == list(range(301))


@pytest.mark.parametrize("rules", ORACLES)
def test_texts_match_wherever_a_block_ends(rules):
    entries = ["dog", "the dog", "カメラ", "メラ", "ﷺ", "a,b", *(f"w{number}" for number in range(200))]
    filler = ["the dog", "カメラ dog", "e\u0301,", "ﷺ", "", "no"]
    texts = [filler[index % len(filler)] for index in range(600)]
    for index in (0, 255, 256, 511):
        texts[index] = ""
    texts[300] = "the dog カメラ " * (BLOCK_BYTES // 10)
    texts[301] = " ".join(f"w{number}" for number in range(126)) + " dog the dog"  # 128 ids
    texts[302] = " ".join(f"w{number}" for number in range(127)) + " dog the dog"
    column = pa.array([None, *texts])
    assert Matcher.build(entries, rules).match_batch(column) == AhoCorasickMatcher(entries, rules).match_batch(column)


@pytest.mark.parametrize("alphabet", ["ab \0", "漢字あ"])
def test_entries_in_overflowing_rows_match(alphabet, monkeypatch):
    monkeypatch.setattr(trie_build, "LOAD_FACTOR", 0.999)
    dice = random.Random(alphabet)
    for _ in range(30):
        entries = sorted({"".join(dice.choices(alphabet, k=dice.randrange(1, 24))) for _ in range(dice.randrange(60))})
        texts = ["".join(dice.choices(alphabet, k=60)) for _ in range(3)]
        texts += [" ".join(dice.choices(entries, k=6)) for _ in range(3) if entries]
        assert_like_oracle("reference", texts, entries)


def test_a_text_too_long_for_31_bit_offsets_is_refused(monkeypatch):
    monkeypatch.setattr(matching, "MAX_TEXT_BYTES", 10)
    matcher = Matcher.build(["dog"], "worldwide")
    assert matcher.match("dog cat ok") == [0]
    with pytest.raises(InputError, match=r"a text of 11 bytes: the longest to match has 10; set filters\.max_chars"):
        matcher.match("dog cat ok!")
