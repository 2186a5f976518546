from __future__ import annotations

import bz2
import gzip
import io
import itertools
import math
import unicodedata
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.lake.shuffle import spread
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.titles import ViewCounters, best_titles, read_views, sum_bucket

SITES = {
    site: code
    for site, code in LanguageTable.load().site_to_code.items()
    if code in ("en", "de", "be_tarask", "zh_yue")
}


@dataclass
class Read:
    """The result of reading one file: the sum of its tables, and its counters."""

    views: dict
    counters: ViewCounters
    tables: list


def read(*lines, sites=SITES, pack=bytes, pending=1000):
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return read_data(pack(data), sites, pending)


def read_data(data, sites=SITES, pending=1000):
    counters, sums = ViewCounters(), Counter()
    tables = list(read_views(io.BytesIO(data), "views.gz", sites, counters, pending))
    for table in tables:
        for row in table.to_pylist():
            sums[row["code"], row["title"]] += row["views"]
    return Read(sums, counters, tables)


def rows(read):
    return [(*key, views) for key, views in sorted(read.views.items())]


def test_desktop_mobile_and_zero_rated_views_are_summed():
    assert rows(read("en Dog 3 0", "en.m Dog 4 0", "en.zero Dog 5 0")) == [("en", "Dog", 12)]


def test_other_projects_and_other_sites_are_dropped():
    others = ["en.b", "en.d", "en.n", "en.q", "en.s", "en.v", "en.voy", "en.m.b", "en.m.d", "commons.m", "commons.m.m"]
    others += ["www.wd", "fr", "EN", "en.", ".m", "meta.m", "en.wikibooks", "fr.wikipedia", '""']
    views = read(*(f"{site} Dog 3 0" for site in others))
    assert rows(views) == []
    assert views.counters.drops == {"other_site": len(others)}
    assert (views.counters.lines, views.counters.kept, views.counters.error) == (len(others), 0, None)


def test_site_names_are_taken_from_the_language_table():
    assert rows(read("be-tarask A 1 0", "be-x-old.m A 1 0", "zh-yue.wikipedia A 7 desktop 1 A1")) == [
        ("be_tarask", "A", 2),
        ("zh_yue", "A", 1),
    ]


def test_daily_lines_of_all_layouts_are_summed_with_hourly_lines():
    views = read(
        "en.wikipedia Dog 4269567 desktop 120 A60X60",
        "en.wikipedia Dog 4269567 mobile-web 30 B30",
        "en.wikipedia Dog null 5 C5",
        "en.wikipedia Dog 4269567 2",
        "en Dog 1 0",
    )
    assert rows(views) == [("en", "Dog", 158)]
    assert views.counters.kept == 5


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("New_York_City", "New York City"),
        ("Caf%C3%A9", "Café"),
        ("Cafe\u0301", "Café"),
        ("100%", "100%"),
        ("50%_off", "50% off"),
        ("Star_Wars:_Episode_IV", "Star Wars: Episode IV"),
        ("_Dog__house_", "Dog house"),
        ('"Heroes"', '"Heroes"'),
        (r'"\"Heroes\"_(album)"', '"Heroes" (album)'),
        ("2001:_A_Space_Odyssey", "2001: A Space Odyssey"),
    ],
)
def test_titles_are_decoded_for_display(written, title):
    assert rows(read(f"en.wikipedia {written} 1 desktop 3 A3")) == [("en", title, 3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("en Dog 3", "malformed"),
        ("en Dog 3 0 0", "malformed"),
        ("en Dog x 0", "malformed"),
        ("en Dog -3 0", "malformed"),
        (f"en Dog {10**18} 0", "malformed"),
        ("en", "malformed"),
        ("", "malformed"),
        ("en.wikipedia Dog 12 desktop", "malformed"),
        ("en.wikipedia Dog 12 desktop x A1", "malformed"),
        ("en.wikipedia Dog 12 desktop 1 A1 more", "malformed"),
        ("en - 3 0", "no_title"),
        ("en _ 3 0", "no_title"),
        ("en Special:Search 3 0", "namespaced"),
        ("en.m User_talk:Me 3 0", "namespaced"),
        ("de File:A.jpg 3 0", "namespaced"),
        ("en wikipedia:About 3 0", "namespaced"),
        ("en Special%3ASearch 3 0", "namespaced"),
        (b"en \xff\xfe 3 0", "not_utf8"),
        ("en Caf%E9 3 0", "not_utf8"),
    ],
)
def test_dropped_lines_are_counted_by_reason(line, reason):
    views = read("en Dog 1 0", line, "en Dog 1 0")
    assert rows(views) == [("en", "Dog", 2)]
    assert views.counters.drops == {reason: 1}
    assert (views.counters.lines, views.counters.kept, views.counters.error) == (3, 2, None)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_the_compression_does_not_matter(pack):
    assert rows(read("en Dog 1 0", "de Hund 2 0", "", pack=pack)) == [("de", "Hund", 2), ("en", "Dog", 1)]


def test_lines_before_the_damage_are_kept_and_the_damage_is_reported():
    lines = [f"en Title_{n * 7919 % 99991} {n} 0" for n in range(30_000)]
    for pack in (gzip.compress, bz2.compress):
        # Two members, the second one truncated.
        halves = [pack("\n".join([*half, ""]).encode()) for half in (lines[:20_000], lines[20_000:])]
        found = read_data(halves[0] + halves[1][:200]).counters
        assert found.error is not None
        assert "views.gz" in found.error
        assert 20_000 <= found.kept < 30_000
        assert found.lines == found.kept, "the truncated line is left out, not misread"


def test_memory_holds_at_most_the_allowed_titles_and_all_views_are_counted():
    found = read(*(f"en Title_{n % 23} {n} 0" for n in range(400)), pending=7)
    assert max(table.num_rows for table in found.tables) == 7
    assert rows(found) == sorted(("en", f"Title {t}", sum(range(t, 400, 23))) for t in range(23))


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "it is empty"), (b"<html>\nnot found\n</html>\n", "holds no line of page views")]
)
def test_a_file_without_any_page_views_is_refused(data, message):
    assert message in (read_data(data).counters.error or "")


# All steps compared with a dictionary: many files, partial sums, buckets, namespaces, share, floor.
LINES = st.lists(
    st.tuples(
        st.sampled_from(["en", "en.m", "en.zero", "de", "de.m", "en.b", "de.m.v", "commons.m"]),
        st.sampled_from(["Dog", "Hund", "Café", "Cafe\u0301", "B_b", "A:B", "Datei:X", "Special:S", "-", "ｚ", "𐌰"]),
        st.integers(0, 9),
    ),
    max_size=25,
)


def naive_titles(files, code, share, floor, namespaces):
    sums = {}
    for site, title, views in (line for file in files for line in file):
        project = {"en": "en", "en.m": "en", "en.zero": "en", "de": "de", "de.m": "de"}.get(site)
        name = unicodedata.normalize("NFC", title.replace("_", " "))
        if project == code and name != "-" and name.split(":")[0].lower() not in {"special", *namespaces}:
            sums[name] = sums.get(name, 0) + views
    best = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return [(title, n) for title, n in best[: math.floor(share * len(best))] if n >= floor]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(LINES, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.5, 0.76, 1.0]),
    st.integers(0, 6),
)  # fmt: skip
def test_titles_equal_those_of_a_plain_dictionary(files, pending, buckets, share, floor):
    namespaces = {"de": {"datei"}}
    bucketed = [[] for _ in range(buckets)]
    for file in files:
        for table in read(*(f"{site} {title} {n} 0" for site, title, n in file), pending=pending).tables:
            for bucket, split in zip(bucketed, spread(table, "title", buckets), strict=True):
                bucket.append(split)
    summed = [sum_bucket(tables, namespaces) for tables in bucketed]
    for code in ("en", "de"):
        tables = [ranked[code] for ranked in summed if code in ranked]
        streams = [iter([(row["title"], row["views"]) for row in table.to_pylist()]) for table in tables]
        limits = Limits(title_share=share, title_min_views=floor)
        found = list(best_titles(streams, sum(table.num_rows for table in tables), limits))
        assert found == naive_titles(files, code, share, floor, namespaces.get(code, ()))


def test_titles_are_read_lazily():
    def endless(start):
        return ((f"T{n}", 10**6 - n) for n in itertools.count(start))

    found = best_titles([endless(0), endless(1)], 10**6, Limits())
    assert [views for _, views in itertools.islice(found, 3)] == [10**6, 10**6 - 1, 10**6 - 1]
