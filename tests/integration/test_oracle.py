"""The jobs give exactly what a slow, obvious implementation gives, on thousands of random multilingual texts."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from functools import reduce
from hashlib import blake2b

import fasttext
import pyarrow.parquet as pq
import pytest

from curation.models import default_model_path
from jobs import balance, match
from metadata.languages import LanguageTable
from support.nights import publish_metadata, publish_pairs
from support.oracles import ORACLES

pytestmark = pytest.mark.spark

WORDS = {
    "en": "the dog sits on a red chair near New York, don't look at St. Louis! a cat-like hot dog costs $100 (U.S.)",
    "de": "der große Hund liegt auf dem Sofa und die Straße ist naß, z.B. in St. Gallen",
    "fr": "le chien n'est pas là, l'été à la plage : une photo d'un château",
    "ru": "собака сидит на красном стуле рядом с домом в Санкт-Петербурге",
    "ar": "الكلب يجلس على الكرسي الأحمر قرب البيت في الصورة",
    "he": "הכלב יושב על הכיסא האדום ליד הבית בתמונה",
    "hi": "कुत्ता लाल कुर्सी पर बैठा है और घर के पास है",
    "ja": "新しい カメラ で 犬 の 写真 を 撮りました クリスマス リス 2024年 iPhone ケース Tシャツ",
    "zh": "一 只 红色 的 狗 坐 在 椅子 上 北京 2024年 的 照片",
    "th": "สุนัข นั่ง บน เก้าอี้ สีแดง ที่ บ้าน ใน ประเทศไทย",
    "ko": "한국의 개가 빨간 의자에 앉아 있다 서울 사진 iPhone의",
}
SPACELESS = {"ja", "zh", "th"}
SKEWED = "ru"  # of its words each is a quarter as frequent as the one before
FEW = {"he": [], "ko": ["서울"], "hi": ["कुत्ता", "घर", "लाल"]}  # lists without any, one and few entries
NOISE = ["IMG_0023.jpg", "C++", "3.5 mm", "™", "…", "#1", "\u200b", "é", "logo", "½"]


def random_texts(dice: random.Random, count: int) -> list[str]:
    texts = []
    for _ in range(count):
        lang = dice.choice(list(WORDS))
        known = WORDS[lang].split()
        weights = [4.0**-place for place in range(len(known))] if lang == SKEWED else None
        words = dice.choices(known, weights, k=dice.randint(1, 9))
        if dice.random() < 0.3:
            words.insert(dice.randrange(len(words) + 1), dice.choice(NOISE))
        texts.append(("" if lang in SPACELESS else " ").join(words))
    return texts


def random_entries(dice: random.Random, texts: list[str]) -> dict[str, list[str]]:
    """Entries cut out of the texts themselves, the same ones in every language, so that labels decide nothing."""
    entries = {"dog", "cat", "カメラ", "リス", "狗", "ที", "한국", "St. Louis", "C++", "New York", "0", "."}
    for text in dice.sample(texts, 400):
        start = dice.randrange(len(text))
        if cut := text[start : start + dice.randint(1, 8)].strip():
            entries.add(cut)
        entries.add(dice.choice(text.split()))
    lists = {lang: sorted(dice.sample(sorted(entries), 450)) for lang in [*WORDS, "other"]}
    return lists | FEW | {SKEWED: sorted({*WORDS[SKEWED].split(), *lists[SKEWED]})}


@pytest.mark.parametrize("rules", ["worldwide", "reference"])
def test_matches_counts_thresholds_and_probabilities_are_those_of_brute_force(context, rules):
    dice = random.Random(f"oracle {rules}")
    texts = random_texts(dice, 3000)
    entries = random_entries(dice, texts)
    made = context("oracle", match={"rules": rules}, balance={"t_en": 12})
    publish_metadata(made, entries)
    images = [
        {"image_id": f"{n:024x}", "texts": [{"source": "alt", "text": text} for text in texts[3 * n : 3 * n + 3]]}
        for n in range(1000)
    ]
    publish_pairs(made, images)
    match.run(made)
    balance.run(made)

    expected, counts = oracle_matches(images, entries, rules)
    found = {
        row["image_id"]: [(t["text"], t["lang"], t["entry_ids"]) for t in row["texts"]] for row in read(made, "matches")
    }
    assert found == {image: matched for image, matched in expected.items() if matched}
    assert {(r["lang"], r["entry_id"]): r["count"] for r in read(made, "counts")} == dict(counts)

    by_lang = {lang: sorted(n for (key, _), n in counts.items() if key == lang) for lang in entries}
    assert not by_lang["he"]
    assert len(by_lang["ko"]) == 1
    assert 1 < len(by_lang["hi"]) <= 3
    assert by_lang[SKEWED][-1] > 100 * by_lang[SKEWED][0]
    p, ts = oracle_thresholds(counts, 12)
    thresholds = read(made, "thresholds")
    assert {row["lang"]: row["t"] for row in thresholds} == ts
    assert {row["p"] for row in thresholds} == {float(p)}

    curated = {row["image_id"]: row for row in read(made, "curated")}
    kept = 0
    for image, matched in expected.items():
        if not matched:
            continue
        text, lang, ids = min(matched, key=lambda m: oracle_hash("text", image, m[0]))
        keep = 1 - reduce(lambda product, i: product * (1 - ts[lang] / max(counts[lang, i], ts[lang])), ids, 1.0)
        drawn = (oracle_hash("draw", image, text) >> 11) / 2**53 < keep
        assert (image in curated) == drawn
        if drawn:
            kept += 1
            assert (curated[image]["text"], curated[image]["lang"]) == (text, lang)
            assert abs(curated[image]["keep_probability"] - keep) <= 1e-12
    assert kept == len(curated) < len([m for m in expected.values() if m])
    order = [row["image_id"] for row in read(made, "curated")]
    assert order == sorted(order, key=lambda image: (oracle_hash("order", image), image))


def oracle_hash(*keys: str) -> int:
    return int.from_bytes(blake2b("|".join(["0", *keys]).encode(), digest_size=8).digest(), "big")


def oracle_matches(images, entries, rules):
    model = fasttext.load_model(str(default_model_path()))
    label_to_lang = LanguageTable.load().label_to_lang
    inside = ORACLES[rules]
    expected, counts = {}, Counter()
    for image in images:
        matched = []
        for text in [text["text"] for text in image["texts"]]:
            label = model.predict([text])[0][0][0].removeprefix("__label__")
            lang = label_to_lang[label] if label_to_lang[label] in entries else "other"
            ids = [number for number, entry in enumerate(entries.get(lang, [])) if inside(entry, text)]
            counts.update((lang, number) for number in ids)
            if ids:
                matched.append((text, lang, ids))
        expected[image["image_id"]] = matched
    return expected, counts


def oracle_thresholds(counts, t_en):
    english = [count for (lang, _), count in counts.items() if lang == "en"]
    p = Fraction(sum(c for c in english if c < t_en), sum(english))
    ts = {}
    for lang in {lang for lang, _ in counts}:
        ordered = sorted(count for (other, _), count in counts.items() if other == lang)
        shares = [Fraction(sum(ordered[: k + 1]), sum(ordered)) for k in range(len(ordered))]
        ts[lang] = ordered[min(range(len(ordered)), key=lambda k: abs(shares[k] - p))]
    return p, {**ts, "en": t_en}


def read(made, table):
    files = made.lake.snapshot(table).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]
