from __future__ import annotations

import bz2
import gzip
import io
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.titles import VIEWS, merge_views, rank_titles, read_views

SITES = {
    site: code
    for site, code in LanguageTable.load().site_to_code.items()
    if code in ("en", "de", "be_tarask", "zh_yue")
}
ALL = Limits(title_share=1.0)


def read(*lines, sites=SITES, pack=bytes):
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return read_views(io.BytesIO(pack(data)), "pageviews", sites)


def rows(views):
    return [(row["code"], row["title"], row["views"]) for row in views.table.to_pylist()]


def test_desktop_mobile_and_zero_rated_views_of_one_wikipedia_add_up():
    assert rows(read("en Dog 3 0", "en.m Dog 4 0", "en.zero Dog 5 0")) == [("en", "Dog", 12)]


def test_other_projects_and_other_sites_are_dropped():
    others = ["en.b", "en.d", "en.n", "en.q", "en.s", "en.v", "en.voy", "en.m.b", "en.m.d", "commons.m", "commons.m.m"]
    others += ["www.wd", "fr", "EN", "en.", ".m", "meta.m", "en.wikibooks", "fr.wikipedia", '""']
    views = read(*(f"{site} Dog 3 0" for site in others))
    assert rows(views) == []
    assert views.drops == {"other_site": len(others)}
    assert (views.lines, views.kept) == (len(others), 0)


def test_site_names_are_those_of_the_language_table():
    assert rows(read("be-tarask A 1 0", "be-x-old.m A 1 0", "zh-yue.wikipedia A 7 desktop 1 A1")) == [
        ("be_tarask", "A", 2),
        ("zh_yue", "A", 1),
    ]


def test_daily_lines_of_all_ages_add_up_with_hourly_ones():
    views = read(
        "en.wikipedia Dog 4269567 desktop 120 A60X60",
        "en.wikipedia Dog 4269567 mobile-web 30 B30",
        "en.wikipedia Dog null 5 C5",
        "en.wikipedia Dog 4269567 2",
        "en Dog 1 0",
    )
    assert rows(views) == [("en", "Dog", 158)]
    assert views.kept == 5


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
def test_titles_are_as_people_read_them(written, title):
    assert rows(read(f"en.wikipedia {written} 1 desktop 3 A3")) == [("en", title, 3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("en Dog 3", "malformed"),
        ("en Dog 3 0 0", "malformed"),
        ("en Dog x 0", "malformed"),
        ("en Dog -3 0", "malformed"),
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
def test_useless_lines_are_counted_by_reason(line, reason):
    views = read("en Dog 1 0", line, "en Dog 1 0")
    assert rows(views) == [("en", "Dog", 2)]
    assert views.drops == {reason: 1}
    assert (views.lines, views.kept, views.error) == (3, 2, None)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_all_compressions_read_alike(pack):
    assert rows(read("en Dog 1 0", "de Hund 2 0", "", pack=pack)) == [("de", "Hund", 2), ("en", "Dog", 1)]


def test_good_lines_of_a_truncated_file_are_kept_and_the_damage_told():
    lines = [f"en Title_{n * 7919 % 99991} {n} 0" for n in range(30_000)]
    for pack in (gzip.compress, bz2.compress):
        # Two members, the second cut off.
        halves = [pack("\n".join([*half, ""]).encode()) for half in (lines[:20_000], lines[20_000:])]
        views = read_views(io.BytesIO(halves[0] + halves[1][:200]), "views.gz", SITES)
        assert views.error is not None
        assert "views.gz" in views.error
        assert 20_000 <= views.kept < 30_000
        assert views.lines == views.kept, "the line that is cut off is left out, not misread"


def test_more_titles_than_are_held_at_once_sum_exactly(monkeypatch):
    monkeypatch.setattr("metadata.titles.PENDING", 7)
    views = read(*(f"en Title_{n % 23} {n} 0" for n in range(400)))
    assert rows(views) == sorted(("en", f"Title {t}", sum(range(t, 400, 23))) for t in range(23))


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["en", "de"]), st.sampled_from("ABCé𐌰ｚ"), st.integers(0, 9)), max_size=9)
    )
)
def test_views_of_many_files_add_up(files):
    tables = [pa.table(list(map(list, zip(*file, strict=True))) or [[], [], []], schema=VIEWS) for file in files]
    sums = {}
    for code, title, views in (row for file in files for row in file):
        sums[code, title] = sums.get((code, title), 0) + views
    merged = merge_views(tables)
    assert [tuple(row.values()) for row in merged.to_pylist()] == [(*key, sums[key]) for key in sorted(sums)]
    assert merged.schema == VIEWS


def table(views):
    return pa.table([["de"] * len(views), list(views), list(views.values())], schema=VIEWS)


@given(
    st.dictionaries(st.text("AB:éz", min_size=1, max_size=4), st.integers(0, 5), max_size=20),
    st.sampled_from([0.0, 0.5, 0.76, 1.0]),
    st.integers(0, 4),
)
def test_titles_rank_by_views_then_code_points_within_share_and_floor(views, share, floor):
    ranked = sorted(views.items(), key=lambda item: (-item[1], item[0]))
    expected = [(title, n) for title, n in ranked[: math.floor(share * len(ranked))] if n >= floor]
    assert list(rank_titles(table(views), Limits(title_share=share, title_min_views=floor))) == expected


def test_titles_in_the_wikis_own_namespaces_are_no_articles_and_take_no_share():
    views = {"Spezial:Suche": 9, "Datei:A.jpg": 8, "Hund": 7, "Star Wars: Eins": 6, "Katze": 5, "Maus": 4}
    found = rank_titles(table(views), Limits(title_share=0.76), frozenset({"spezial", "datei"}))
    assert [title for title, _ in found] == ["Hund", "Star Wars: Eins", "Katze"]
