"""Merged metadata, and recipes side by side: they keep what slow arithmetic over the tables says."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import partial

import pyarrow.parquet as pq
import pytest
import yaml

from curation.errors import UsageError
from curation.language_keys import MERGED
from curation.matching.rules import normalize_entry
from jobs import balance, compare, explain, match, merge_metadata, report
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from jobs.tasks.metadata import lists as metadata_lists
from metadata.lists.merge import Entry, metadata_version
from support.nights import ENTRIES, publish_entries, publish_metadata
from support.oracles import ORACLES
from support.tables import oracle_t

pytestmark = pytest.mark.spark


def rows(context, table, **partition):
    files = context.lake.snapshot(table, partition).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def under(context, recipe, *, version="latest", **keys) -> Context:
    """The finished night under another recipe, metadata version and `balance` keys."""
    metadata = context.config.metadata.model_copy(update={"version": version})
    section = context.config.balance.model_copy(update=keys)
    update = {"recipe": recipe, "metadata": metadata, "balance": section}
    return Context(context.config.model_copy(update=update), "ablation")


@pytest.fixture
def merged(night_done):
    """The finished night, matched and balanced with merged metadata too."""
    publish_entries(night_done, ENTRIES)
    [outcome] = merge_metadata.run(night_done)
    made = under(night_done, "merged", version=outcome.totals["version"])
    match.run(made)
    balance.run(made)
    return made


def test_every_text_is_matched_against_the_one_merged_list(merged):
    entries = sorted({word for words in ENTRIES.values() for word in words})
    match_id = open_match_spec(merged).match_id
    found = {
        (image["image_id"], text["text"]): [entries[i] for i in text["entry_ids"]]
        for image in rows(merged, "matches", match_id=match_id)
        for text in image["texts"]
    }
    inside = ORACLES["worldwide"]
    texts = [(image["image_id"], text["text"]) for image in rows(merged, "pairs") for text in image["texts"]]
    expected = {(image, text): [entry for entry in entries if inside(entry, text)] for image, text in texts}
    assert found == {key: words for key, words in expected.items() if words}
    assert any("table" in words and "chat" in words for words in found.values())

    counts = rows(merged, "counts", match_id=match_id)
    assert {row["lang"] for row in counts} == {MERGED}
    tally = Counter(word for key in texts for word in expected[key])
    assert {entries[row["entry_id"]]: row["count"] for row in counts} == dict(tally)
    assert [(row["lang"], row["t"]) for row in rows(merged, "thresholds", recipe="merged")] == [(MERGED, 20)]
    curated = rows(merged, "curated", recipe="merged")
    assert {row["lang"] for row in curated} > {"en", "fr"}
    for row in curated:
        keep = 1 - math.prod(1 - 20 / max(tally[entries[i]], 20) for i in row["entry_ids"])
        assert row["keep_probability"] == pytest.approx(keep, abs=1e-12)
    report.run(merged)


def test_merging_is_done_once_and_leaves_latest_alone(merged, capsys):
    plain = Context(under(merged, "x").config, "again")
    [again] = merge_metadata.run(plain)
    assert not again.fresh
    assert open_match_spec(plain).manifest.entries == {lang: len(words) for lang, words in ENTRIES.items()}
    with pytest.raises(UsageError, match=r"metadata\.version: \w+ is merged already"):
        merge_metadata.run(merged)
    english = plain.config.metadata.model_copy(update={"languages": ["en", "simple"]})
    [outcome] = merge_metadata.run(Context(plain.config.model_copy(update={"metadata": english}), "english"))
    assert outcome.totals["entries"] == len(ENTRIES["en"])
    german = plain.config.metadata.model_copy(update={"languages": ["de"]})
    with pytest.raises(UsageError, match=r"metadata\.languages: version \w+ has no list of de"):
        merge_metadata.run(Context(plain.config.model_copy(update={"metadata": german}), "german"))
    found = explain.Explainer(merged).text("le chat on the table", "fr")
    assert [entry.entry for entry in found.entries] == ["chat", "le", "table", "the"]
    assert found.t == 20


def test_entries_of_one_form_become_one_with_every_spelling_whatever_buckets_they_are_merged_in(context, monkeypatch):
    lists = {
        "de": ["Bad", "St . Gallen", "ﬁn", *(f"wort {n}" for n in range(60))],
        "en": ["C++", "St. Gallen", "bad", "fin", *(f"word {n}" for n in range(60))],
        "fr": ["C ++", "Bad", *(f"mot {n}" for n in range(30))],
    }
    known = {"C++": ["C++\u00ad"], "St . Gallen": ["St\u00a0.Gallen"]}
    made = context("merge")
    publish_metadata(made, lists)
    publish_entries(made, lists, known)
    spellings, first = {}, {}
    for words in lists.values():
        for number, word in enumerate(sorted(words)):
            first.setdefault(word, ("wordnet" if number % 2 else "title", number / 4))
            spellings.setdefault(normalize_entry(word), set()).update([word, *known.get(word, [])])
    expected = [(word, *first[word], rest) for word, *rest in sorted(map(sorted, spellings.values()))]
    assert ("C ++", "wordnet", 0.25, ["C++", "C++\u00ad"]) in expected

    for most in (1, 3):  # lists a bucket
        monkeypatch.setattr(metadata_lists, "LISTS", most)
        monkeypatch.setattr(merge_metadata, "ALGORITHM", -most)  # not to find it done
        [outcome] = merge_metadata.run(made)
        version = outcome.totals["version"]
        found = rows(made, "entries", metadata_version=version)
        assert [row["entry_id"] for row in found] == list(range(len(expected)))
        assert [(row["entry"], row["origin"], row["score"], row["aliases"]) for row in found] == expected
    assert version == metadata_version({MERGED: [Entry(word, "") for word, *_ in expected]})
    assert open_match_spec(under(made, "x", version=version)).manifest.entries == {MERGED: len(expected)}


def test_recipes_are_compared_by_what_they_keep(merged, tmp_path, capsys):
    context = under(merged, "default")
    balance.run(under(merged, "one_t", policy="fixed"))
    balance.run(under(merged, "everything", policy="none", t_en=None))
    balance.run(under(merged, "every_epoch", selection="all"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(context.config.model_dump(mode="json", exclude_none=True)))
    names = ["everything", "one_t", "default", "merged", "every_epoch"]
    assert compare.main(["--config", str(path), "--recipes", ",".join(names), "--json"]) == 0
    found = {effect["recipe"]: effect for effect in json.loads(capsys.readouterr().out)}
    assert list(found) == names
    for name in names:
        assert found[name] == slow_effect(context, name), name
    assert found["everything"]["kept"] == found["everything"]["matched"] > found["default"]["kept"]
    assert found["everything"]["tail_share"] < found["default"]["tail_share"]
    assert 0 < found["every_epoch"]["kept"] < found["every_epoch"]["matched"]

    assert compare.main(["--config", str(path), "--recipes", "everything,every_epoch", "--languages", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in said}) == 1
    table = {cells[0]: cells[1:] for line in said if (cells := re.split(r"  +", line.strip()))}
    assert list(table)[-3:] == ["en", "fr", "1 more"]
    for place, name in enumerate(("everything", "every_epoch")):
        effect, about = found[name], "~" if name == "every_epoch" else ""
        english = effect["kept_by_lang"]["en"]
        expected = {
            "recipe": name,
            "drawn": "every epoch" if about else "once",
            "images matched": f"{effect['matched']}",
            "pairs kept": f"{about}{effect['kept']:.0f} ({effect['kept'] / effect['matched']:.1%})",
            "entry matches kept": f"{about}{effect['matches']:,.0f}",
            "of rare entries": f"{effect['tail_share']:.2%}",
            "rare by counts to": "b1",
            "entries kept": f"{effect['entries']}",
            "entropy, bits": f"{effect['entropy']:.3f}",
            "en": f"{about}{english:.0f} ({english / effect['kept']:.1%}), t {effect['thresholds']['en']}",
        }
        assert {key: table[key][place] for key in expected} == expected
    assert compare.main(["--config", str(path)]) == 2
    assert compare.main(["--config", str(path), "--recipes", "default,absent"]) == 2


def slow_effect(context, recipe):
    """The figures, pair by pair; of every matched pair, each text of an image in its share and at its probability."""
    meaning = context.lake.recipe(recipe)
    match_id, every = meaning["match_id"], meaning["selection"] == "all"
    pairs = [
        (text["lang"], text["entry_ids"], text["keep_probability"] / len(row["texts"]) if every else 1)
        for row in rows(context, "curated", recipe=recipe)
        for text in (row["texts"] if every else [row])
    ]
    kept, langs, totals = Counter(), Counter(), {}
    for row in rows(context, "totals", match_id=match_id):
        totals.setdefault(row["lang"], {})[row["entry_id"]] = row["count"]
    for lang, ids, weight in pairs:
        langs[lang] += weight
        for i in ids:
            kept[MERGED if MERGED in totals else lang, i] += weight
    rare = {key: oracle_t(counts.values(), 0.06) for key, counts in totals.items()}
    matches = kept.total()
    close = partial(pytest.approx, rel=1e-12)
    return {
        "recipe": recipe,
        "selection": meaning["selection"],
        "matched": len(rows(context, "matches", match_id=match_id)),
        "kept": close(langs.total()) if every else langs.total(),
        "kept_by_lang": {lang: close(count) if every else count for lang, count in langs.items()},
        "thresholds": {row["lang"]: row["t"] for row in rows(context, "thresholds", recipe=recipe)},
        "matches": close(matches) if every else matches,
        "rare_by": "b1",
        "tail_share": close(sum(n for (key, i), n in kept.items() if totals[key][i] < rare[key]) / matches),
        "entries": len(kept),
        "entropy": pytest.approx(-sum(n / matches * math.log2(n / matches) for n in kept.values()), abs=1e-9),
    }
