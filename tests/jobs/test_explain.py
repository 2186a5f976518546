"""Explanations say what the jobs did: the same languages, entries, probabilities and verdicts as the tables."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml

from curation.errors import InputError
from curation.hashing import draw
from curation.lake.files import WrittenFile
from curation.lake.tombstones import add_tombstones
from jobs import balance, explain, ingest, match
from jobs.explain import Explainer
from support.nights import ENTRIES, publish_entries, publish_metadata

pytestmark = pytest.mark.spark


@pytest.fixture
def explained(night_done):
    """A finished night whose entries are published too."""
    publish_entries(night_done, ENTRIES)
    return night_done


@pytest.fixture
def command(explained, tmp_path, capsys):
    """Run the command on the finished night; return its exit code, what it printed and its error line."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(explained.config.model_dump(mode="json", exclude_none=True)))

    def run(*flags):
        code = explain.main(["--config", str(path), *flags])
        said = capsys.readouterr()
        return code, said.out, "".join(line for line in said.err.splitlines() if line.startswith("error:"))

    return run


def read(context, table):
    files = context.lake.snapshot(table).files
    return {r["image_id"]: r for f in files for r in pq.read_table(f.path, partitioning=None).to_pylist()}


def test_every_image_is_explained_as_the_tables_have_it(explained):
    explainer = Explainer(explained)
    pairs, matches, curated = (read(explained, table) for table in ("pairs", "matches", "curated"))
    images, shards = read(explained, "images"), read(explained, "shards")
    assert len(pairs) == len(matches) > len(curated) > len(shards) > 0
    for image_id, pair in pairs.items():
        found = explainer.image(image_id)
        assert [text.text for text in found.texts] == [text["text"] for text in pair["texts"]]
        matched = [
            (text.source, text.text, text.lang, [entry.entry_id for entry in text.entries])
            for text in found.texts
            if text.entries
        ]
        published = matches[image_id]["texts"]
        assert matched == [(t["source"], t["text"], t["lang"], t["entry_ids"]) for t in published]
        chosen = found.texts[found.draw.chosen]
        assert found.draw.u == draw(explained.config.seed, image_id, chosen.text)
        assert found.draw.drawn == (image_id in curated)
        if image_id not in curated:
            assert found.verdict == "dropped by balance: not drawn"
            continue
        row = curated[image_id]
        assert (chosen.text, chosen.lang, chosen.keep_probability) == (
            row["text"],
            row["lang"],
            row["keep_probability"],
        )
        status = images[image_id]["status"]
        assert (status == "ok") == (image_id in shards) == ("was fetched, " in found.verdict)
        assert status == "ok" or found.verdict.endswith(f"{status}, {images[image_id]['reason']}")


def test_entries_come_with_their_source_count_and_probability(explained):
    counts = {(r["lang"], r["entry_id"]): r["count"] for r in rows(explained, "totals")}
    thresholds = {row["lang"]: row["t"] for row in rows(explained, "thresholds")}
    found = Explainer(explained).text("the big red dog, the cat", "en")
    assert [entry.entry for entry in found.entries] == ["big", "cat", "dog", "red", "red dog", "the"]
    assert found.t == thresholds["en"]
    product = 1.0
    for entry in found.entries:
        count = counts[("en", entry.entry_id)]
        assert ENTRIES["en"][entry.entry_id] == entry.entry
        assert entry.origin == ("wordnet" if entry.entry_id % 2 else "title")
        assert (entry.score, entry.count) == (entry.entry_id / 4, count)
        assert entry.q == found.t / max(count, found.t)
        product *= 1 - entry.q
    assert found.keep_probability == 1 - product


def rows(context, table):
    files = context.lake.snapshot(table).files
    return [r for f in files for r in pq.read_table(f.path, partitioning=None).to_pylist()]


def test_a_text_is_read_by_people_and_programs(command):
    code, said, _ = command("--text", "the big red dog is on the table")
    assert code == 0
    assert "language: en, score 0." in said
    assert "matched as: |the|big|red|dog|is|on|the|table|" in said
    assert "'red dog'" in said
    assert "keep probability 0." in said
    code, said, _ = command("--text", "ein Hund, logo", "--lang", "de")
    assert code == 0
    assert "language: other (de has no list), given" in said
    assert "'logo'" in said
    code, said, _ = command("--text", "le grand chien", "--lang", "fr", "--json")
    assert code == 0
    found = json.loads(said)
    assert (found["lang"], found["lang_score"], found["labels"]) == ("fr", None, [])
    assert {entry["entry"] for entry in found["entries"]} == {"chien", "grand", "grand chien", "le"}


def test_an_image_is_read_by_people_and_programs(command, explained):
    kept = next(iter(read(explained, "shards")))
    code, said, _ = command("--image_id", kept)
    assert code == 0
    assert said.startswith(f"image {kept}, batch b1, recipe default\n")
    assert "verdict: kept; its image was fetched, " in said
    assert "is the smallest of the matched texts; u = 0." in said
    code, said, _ = command("--image_id", kept, "--json")
    assert json.loads(said)["draw"]["drawn"] is True


def test_an_image_without_a_match_or_not_fetched_yet_says_so(night):
    made = night(images=12)
    publish_metadata(made, {"en": ["cat"]})
    publish_entries(made, {"en": ["cat"]})
    for job in (ingest, match, balance):
        job.run(made)
    explainer = Explainer(made)
    matches, curated = read(made, "matches"), read(made, "curated")
    verdicts = {image_id: explainer.image(image_id).verdict for image_id in read(made, "pairs")}
    assert 0 < len(matches) < len(verdicts)
    for image_id, verdict in verdicts.items():
        assert (verdict == "dropped by match: no text matches an entry of its language") == (image_id not in matches)
        assert (verdict == "kept; its image has not been fetched") == (image_id in curated)


def test_totals_that_changed_since_are_refused(explained):
    lake = explained.lake
    part = lake.snapshot("totals", {"batch": "b1"})
    files = [
        WrittenFile(f.path.partition("/totals/")[2].replace(part.run_ids[0], "later"), f.size, f.rows, "")
        for f in part.files
    ]
    lake.publish("totals", part.files[0].partition, files, expected=part.run_ids, metadata={"run_id": "later"})
    with pytest.raises(InputError, match=r"totals of batch b1 changed since batch b1 was balanced: run jobs\.balance"):
        Explainer(explained)


def test_a_hidden_image_says_so(command, explained):
    kept = next(iter(read(explained, "shards")))
    add_tombstones(explained.lake, image_ids=[kept], reason="takedown")
    assert "verdict: hidden" in command("--image_id", kept)[1]


def test_text_without_entries_or_threshold_is_never_kept(explained):
    explainer = Explainer(explained)
    nothing = explainer.text("xyzzy", "en")
    assert (nothing.entries, nothing.keep_probability) == ([], 0)
    assert "  no entry of en matches" in list(nothing.lines())
    assert "  language: other (sw has no list), given" in list(explainer.text("mbwa", "sw").lines())
    assert "  no entry of other matches" in list(explainer.text("mbwa", "sw").lines())
    unseen = explainer.text("0", "other")
    explainer.thresholds.pop("other", None)
    assert [entry.entry for entry in unseen.entries] == ["0"]
    assert explainer.text("0", "other").keep_probability == 0


def test_the_recipe_explains_and_not_the_thresholds_of_the_config(command, explained):
    image_id = next(iter(read(explained, "curated")))
    as_configured = command("--image_id", image_id)
    assert as_configured[0] == 0
    assert command("--image_id", image_id, "--balance.t_en", "3", "--seed", "9") == as_configured


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([], 2, "give one of --image_id and --text"),
        (["--text", "a", "--image_id", "b"], 2, "give one of --image_id and --text"),
        (["--image_id", "b", "--lang", "en"], 2, "--lang: only allowed with --text"),
        (["--text", "a", "--lang", "xx"], 2, "no language 'xx'"),
        (["--text"], 2, "--text"),
        (["--image_id", "0000"], 3, "no image '0000' in the pairs of batch b1"),
        (["--text", "a", "--batch", "b2"], 2, "batch: 'b2' is not in the lake: its batches are b1"),
        (["--text", "a", "--match.rules", "reference"], 2, "'default' was made with match_id"),
        (["--text", "a", "--match.rules", "reference", "--recipe", "r2"], 2, "run jobs.balance first"),
    ],
)
def test_a_mistake_is_one_line(command, flags, code, said):
    found, out, line = command(*flags)
    assert (found, out) == (code, "")
    assert said in line
