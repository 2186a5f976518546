"""The choice among duplicates is that of the definition, picture by picture."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup.duplicates import choose_duplicates
from curation.dedup.matches import EMBEDDING, MATCHES, best_matches, find_matches, matches_of_removed
from curation.dedup.picture_hashes import HASHES, hashes_of_images, hashes_of_list, parse_hex
from curation.lake.schemas import SCHEMAS


def pictures_of(rows):
    columns = zip(*((*row, None, 0) for row in rows), strict=True) if rows else [[]] * 6
    return pa.Table.from_arrays(
        [pa.array(list(c), f.type) for c, f in zip(columns, HASHES, strict=True)], schema=HASHES
    )


def digest(number):
    return hashlib.sha256(str(number).encode()).digest()


# contents with few perceptual hashes, many of them near one another; the same content has the same hashes
CONTENTS = [(digest(n), (n // 2 % 6) * 0b111 ^ (n % 5) << 60) for n in range(60)]
content = st.sampled_from(CONTENTS)
rows = st.lists(st.tuples(st.integers(0, 3), content), max_size=30)


def named(prefix, drawn):
    return [(f"{prefix}{n:02d}", pixels, *content) for n, (pixels, content) in enumerate(drawn)]


def bits(first, second):
    return (first ^ second).bit_count()


def nearest(phash, others, radius):
    found = min(((bits(phash, other[3]), n) for n, other in enumerate(others)), default=(99, -1))
    return None if radius is None or found[0] > radius else (others[found[1]][0], found[0])


def same(sha256, others):
    return next((other[0] for other in others if other[2] == sha256), None)


def slow_choice(batch, listed, earlier, exact, radius, list_radius):
    """The definition as written, with one rule for equal hashes: they duplicate the same picture."""
    kept, found, known = [], {}, {}
    for picture in sorted(batch, key=lambda picture: (-picture[1], picture[0])):
        name, _, sha256, phash = picture
        if original := same(sha256, listed):
            found[name] = ("benchmark", original, 0)
        elif near := nearest(phash, listed, list_radius):
            found[name] = ("benchmark", *near)
        elif exact and (original := same(sha256, earlier) or same(sha256, kept)):
            found[name] = ("exact", original, 0)
        elif radius is not None and (near := nearest(phash, earlier, radius)):
            found[name] = ("near", *near)
        elif near := known.get(phash) or nearest(phash, kept, radius):
            if near[1]:
                known[phash] = near
            found[name] = ("near", *near)
        else:
            kept.append(picture)
    return found


@settings(max_examples=300)
@given(rows, rows, rows, st.booleans(), st.none() | st.integers(0, 4), st.none() | st.integers(0, 4))
def test_the_choice_is_that_of_the_definition(batch, listed, earlier, exact, radius, list_radius):
    batch, listed, earlier = named("b", batch)[::-1], named("l", listed), named("e", earlier)
    table = pictures_of(batch)
    in_lists = find_matches(table, pictures_of(listed), exact=True, radius=list_radius)
    before = find_matches(table, pictures_of(earlier), exact=exact, radius=radius)
    removed = choose_duplicates(table, in_lists, before, exact=exact, radius=radius).to_pylist()
    assert [row["image_id"] for row in removed] == sorted((row["image_id"] for row in removed), reverse=True)
    chosen = {row["image_id"]: (row["reason"], row["duplicate_of"], row["distance"]) for row in removed}
    assert chosen == slow_choice(batch, listed, earlier, exact, radius, list_radius)
    sha256 = {row[0]: row[2] for row in (*batch, *listed, *earlier)}
    for row in removed:
        if row["reason"] != "near":  # those of a near-duplicate may be exact copies of a removed picture
            same_bytes = sha256[row["image_id"]] == sha256[row["duplicate_of"]]
            assert row["hash"] == ("sha256" if same_bytes else "phash")
        else:
            assert row["hash"] == "phash"
    kept = {row[0] for row in (*batch, *listed, *earlier)} - chosen.keys()
    assert {original for _, original, _ in chosen.values()} <= kept, "no picture is a duplicate of a removed one"


@given(rows, rows, st.none() | st.integers(0, 4), st.data())
def test_removed_pictures_tell_what_a_search_of_the_lists_finds(batch, listed, list_radius, data):
    batch, others = named("b", batch), pictures_of(named("l", listed))
    table, none = pictures_of(batch), MATCHES.empty_table()
    found = find_matches(table, others, exact=True, radius=list_radius)
    removed = choose_duplicates(table, found, none, exact=True, radius=2)
    removed = removed.filter(pc.equal(removed["reason"], "benchmark"))
    left = pictures_of([row for row in batch if data.draw(st.booleans())])
    told = matches_of_removed(left, removed)
    assert told.to_pylist() == find_matches(left, others, exact=True, radius=list_radius).to_pylist()


hashes_or_none = st.lists(st.none() | st.integers(0, 15))


@given(hashes_or_none, hashes_or_none, st.integers(0, 3))
def test_embeddings_are_compared_where_nothing_else_matches(batch, stored, radius):
    def table(prefix, values, phash):
        picture = [(f"{prefix}{n:02d}", 1, digest(f"{prefix}{n}"), phash) for n in range(len(values))]
        return pictures_of(picture).set_column(4, HASHES.field(4), pa.array(values, pa.uint64()))

    pictures, others = table("b", batch, 0), table("s", stored, 2**64 - 1)
    found = find_matches(pictures, others, exact=True, radius=4, embedding_radius=radius).to_pylist()
    expected = []
    for row, value in enumerate(batch):
        both = [(bits(value, other), n) for n, other in enumerate(stored) if None not in (value, other)]
        least, first = min(both, default=(99, -1))
        if least <= radius:
            expected.append({"row": row, "hash": EMBEDDING, "distance": least, "name": f"s{first:02d}"})
    assert found == expected
    assert not len(find_matches(pictures, others, exact=True, radius=4))


@given(rows, rows, st.integers(0, 30), st.integers(0, 4))
def test_parts_give_the_same_matches_as_the_whole(batch, stored, cut, radius):
    batch, stored = pictures_of(named("b", batch)), pictures_of(named("s", stored))
    parts = [find_matches(batch, part, exact=True, radius=radius) for part in (stored[:cut], stored[cut:])]
    assert best_matches(parts).to_pylist() == find_matches(batch, stored, exact=True, radius=radius).to_pylist()


def test_digests_with_the_same_first_word_are_different_pictures():
    first, second = (bytes(8) + bytes([n] * 24) for n in (1, 2))
    batch = pictures_of([("a", 1, first, 0), ("b", 1, second, 1 << 40)])
    none = MATCHES.empty_table()
    assert choose_duplicates(batch, none, none, exact=True, radius=None).num_rows == 0
    assert find_matches(batch[:1], batch[1:], exact=True, radius=None).num_rows == 0


def test_the_hashes_of_images_are_those_of_the_fetched_ones():
    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
    common = {"bucket": 3, "image": b"", "width": 3, "height": 2, "image_sha256": one, "phash": "00000000000000ff"}
    images = [
        {**common, "image_id": "0" * 24, "status": "ok", "original_sha256": two},
        {**common, "image_id": "1" * 24, "status": "ok", "original_sha256": None},
        {"image_id": "2" * 24, "status": "failed", "reason": "timeout"},
    ]
    batch = pa.RecordBatch.from_pylist(images, SCHEMAS["images"])
    expected = [("0" * 24, 6, bytes.fromhex(two), 255, None, 3), ("1" * 24, 6, bytes.fromhex(one), 255, None, 3)]
    assert [tuple(row.values()) for row in hashes_of_images(batch).to_pylist()] == expected
    old = hashes_of_images(batch.drop_columns(["original_sha256"]))
    assert {row["sha256"] for row in old.to_pylist()} == {bytes.fromhex(one)}
    embedded = hashes_of_images(batch, lambda pictures: np.arange(len(pictures), dtype=np.uint64))
    assert embedded["embedding"].to_pylist() == [0, 1]


def test_a_list_with_a_bad_digest_is_refused():
    good = pa.table({"name": ["a"], "sha256": ["0" * 64], "phash": ["0" * 16], "embedding": ["f" * 16]})
    row = {"name": "a", "pixels": 0, "sha256": bytes(32), "phash": 0, "embedding": 2**64 - 1, "bucket": 0}
    assert hashes_of_list(good).to_pylist() == [row]
    without = good.set_column(3, "embedding", pa.nulls(1, pa.string()))
    assert hashes_of_list(without)["embedding"].to_pylist() == [None]
    some = pa.concat_tables([without, good])
    assert hashes_of_list(some)["embedding"].to_pylist() == [None, 2**64 - 1]
    assert len(hashes_of_list(good[:0])) == 0
    for column, value in (("sha256", "0" * 63), ("phash", "0" * 15 + "g"), ("phash", None), ("embedding", "0")):
        index = good.column_names.index(column)
        bad = good.set_column(index, column, pa.array([value], pa.string()))
        with pytest.raises(ValueError, match=f"column {column} must"):
            hashes_of_list(bad)


@given(st.lists(st.binary(min_size=5, max_size=5)))
def test_hex_digits_are_parsed(values):
    digits = np.array([value.hex() for value in values], "S10")
    assert [row.tobytes() for row in parse_hex(digits)] == values
