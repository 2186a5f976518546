"""build_metadata: from files to entries and matchers, each language once, and the same version every time."""

from __future__ import annotations

import bz2
import json
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from curation.lake.lake import Lake
from curation.matching.store import MatcherStore, matcher_name
from jobs import build_metadata, show_metadata, verify
from jobs.runtime.context import Context
from support.nights import run_here

pytestmark = pytest.mark.spark

TEXTS = {
    "en": ["the red dog and the cat", "the red dog in New York", "New York, New York"],
    "simple": ["a simple dog"],
    "ltg": ["suņs i kačs", "suņs nu Latgolys"],
    "zh": ["红色的狗和红色的猫", "北京的狗"],
}
LEMMAS = {"eng": ["dog", "hot_dog"], "cmn": ["狗", "红+色"], "qqq": ["lost"]}
VIEWS = ["en Red_dog 9 0", "en.m Red_dog 5 0", "en.b Cookbook 99 0", "zh 广州 7 0", "en - 3 0", "en Special:X 8 0"]


def dump(pages: list[str]) -> str:
    body = "".join(
        f"<page><title>{n}</title><ns>0</ns><revision><text>{escape(text)}</text></revision></page>"
        for n, text in enumerate(pages)
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">{body}</mediawiki>'


@pytest.fixture
def build(context, tmp_path):
    """Write the sources and return a context to build them; keys override the metadata section."""
    for code, pages in TEXTS.items():
        path = tmp_path / f"{code}wiki.xml.bz2"
        path.write_bytes(bz2.compress(dump(pages).encode()))
    for code, lemmas in LEMMAS.items():
        lines = [f"# {code}", *(f"0000000{n}-n\tlemma\t{lemma}" for n, lemma in enumerate(lemmas))]
        broken = b"\n00000009-n\tlemma\t\xff\xfe\n"
        (tmp_path / f"wn-data-{code}.tab").write_bytes("\n".join(lines).encode() + broken)
    (tmp_path / "pageviews").write_text("\n".join(VIEWS) + "\n", encoding="utf-8")

    def make(**keys) -> Context:
        section = {
            "languages": ["en", "simple", "ltg", "zh"],
            "wikipedia": [str(tmp_path / "{code}wiki.xml.bz2")],
            "pageviews": [str(tmp_path / "pageviews")],
            "wordnet": [str(tmp_path / "wn-data-*.tab")],
            "limits": {
                "en": {"unigram_min_count": 1, "title_min_views": 1},
                "default": {"unigram_share": 1.0, "bigram_share": 1.0, "title_share": 1.0},
            },
        }
        return context("build_metadata", metadata={**section, **keys}, batch=None)

    return make


def entries(made: Context, lang: str) -> dict[str, str]:
    version = MatcherStore(made.storage, made.lake.root).read_manifest("latest").version
    files = made.lake.snapshot("entries", {"metadata_version": version, "lang": lang}).files
    rows = [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]
    assert [row["entry_id"] for row in rows] == list(range(len(rows)))
    assert [row["entry"] for row in rows] == sorted(row["entry"] for row in rows)
    return {row["entry"]: row["origin"] for row in rows}


@pytest.fixture
def here(monkeypatch):
    """Build without Spark's workers, which is faster: for tests of the result only."""
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)


def test_every_source_ends_in_the_list_it_belongs_to(build):
    made = build()
    (outcome,) = build_metadata.run(made)
    english = entries(made, "en")
    assert english["7"] == "number"
    assert english["dog"] == english["hot dog"] == "wordnet"
    assert english["red"] == english["simple"] == "unigram"
    assert "bigram" in english.values()
    assert english["Red dog"] == "title"
    assert not {"Cookbook", "Special:X", "-"} & set(english)
    chinese = entries(made, "zh")
    assert (chinese["狗"], chinese["红色"], chinese["广州"]) == ("wordnet", "wordnet", "title")
    assert (chinese["的"], chinese["和红色"]) == ("unigram", "bigram")
    assert entries(made, "other")["suņs"] == "unigram"
    lists = {file.partition["wikipedia"] for file in made.lake.snapshot("source_lists").files}
    assert lists == {"en", "simple", "ltg", "zh"}
    (lost,) = outcome.totals["files_unmapped"]
    counters = {row["path"]: row for row in made.lake.rows("ledger").to_pylist()}
    assert (counters[lost]["read"], counters[lost]["kept"]) == (2, 0)
    assert json.loads(counters[lost]["drops"]) == {"no_wikipedia": 1, "not_utf8": 1}
    assert all(row["read"] == row["kept"] + sum(json.loads(row["drops"]).values()) for row in counters.values())
    assert {"no_wikipedia", "not_utf8", "other_site", "namespaced", "no_title"} <= set(outcome.drops)
    manifest = MatcherStore(made.storage, made.lake.root).read_manifest("latest")
    for lang, count in manifest.entries.items():
        sha256 = manifest.files[matcher_name("worldwide", lang)]
        matcher = MatcherStore(made.storage, made.lake.root).load(manifest.version, "worldwide", lang, sha256)
        assert len(matcher) == count == len(entries(made, lang))


def test_a_rerun_does_nothing_and_the_version_is_that_of_the_entries(build, tmp_path):
    made = build()
    (first,) = build_metadata.run(made)
    (again,) = build_metadata.run(made)
    assert (first.fresh, again.fresh) == (True, False)
    other = Context(made.config.model_copy(update={"lake": str(tmp_path / "other")}), "other")
    (elsewhere,) = build_metadata.run(other)
    assert elsewhere.totals["version"] == first.totals["version"]
    fewer = made.config.metadata.model_copy(update={"wordnet": []})
    (changed,) = build_metadata.run(Context(made.config.model_copy(update={"metadata": fewer}), "fewer"))
    assert changed.totals["version"] != first.totals["version"]
    assert MatcherStore(made.storage, made.lake.root).read_manifest("latest").version == changed.totals["version"]
    build_metadata.run(made)
    assert MatcherStore(made.storage, made.lake.root).read_manifest("latest").version == first.totals["version"]


@pytest.mark.usefixtures("here")
def test_a_build_that_lost_its_manifest_is_done_again(build):
    made = build()
    (first,) = build_metadata.run(made)
    for path in Path(made.lake.root, "matchers").rglob("*.json"):
        path.unlink()
    (again,) = build_metadata.run(made)
    assert again.fresh
    assert MatcherStore(made.storage, made.lake.root).read_manifest("latest").version == first.totals["version"]


def test_a_truncated_dump_counts_as_failed_and_the_rest_is_built(build, tmp_path):
    path = tmp_path / "enwiki.xml.bz2"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"1 of \d+ input files failed.*enwiki"):
        build_metadata.run(build())
    made = build()
    tolerant = Context(made.config.model_copy(update={"max_failed_inputs": 0.5}), "tolerant")
    (outcome,) = build_metadata.run(tolerant)
    assert outcome.totals["files_failed"] == 1
    assert entries(tolerant, "other")["suņs"] == "unigram"
    runs = made.lake.rows("runs").to_pylist()
    assert [run["complete"] for run in runs] == [False]
    statuses = {Path(row["path"]).name: row["status"] for row in made.lake.rows("ledger").to_pylist()}
    assert statuses["enwiki.xml.bz2"] in ("partial", "failed")
    assert json.loads(runs[0]["totals"])["files"] == len(statuses)


def test_every_damaged_source_is_named_and_the_rest_is_built_unharmed(build, tmp_path):
    whole = build()
    (clean,) = build_metadata.run(Context(whole.config.model_copy(update={"lake": str(tmp_path / "clean")}), "clean"))
    bad = {
        "truncated.xml.bz2": bz2.compress(dump(["kačs"]).encode())[:-15],
        "broken.xml": dump(["brok"]).replace("</page>", "</pgae>").encode(),
        "empty.xml": b"",
        "no-pages.xml": dump([]).encode(),
        "search.json": b'{"index":{}}\n{"title": 1}\n',
        "page.html": b"<html></html>",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    with (tmp_path / "pageviews").open("a") as views:
        views.write("en Red_dog x 0\nen\nen Too many fields 1 2 3\n\n")
    dumps = [*whole.config.metadata.wikipedia, *(f"ltg={tmp_path / name}" for name in bad)]
    made = build(wikipedia=dumps)
    tolerant = Context(made.config.model_copy(update={"max_failed_inputs": 1.0}), "tolerant")
    (outcome,) = build_metadata.run(tolerant)
    assert outcome.totals["version"] == clean.totals["version"]
    rows = {Path(row["path"]).name: row for row in tolerant.lake.rows("ledger").to_pylist()}
    assert {name for name, row in rows.items() if row["status"] != "ok"} == set(bad) - {"no-pages.xml"}
    assert all(name in rows[name]["error"] and "\n" not in rows[name]["error"] for name in set(bad) - {"no-pages.xml"})
    assert json.loads(rows["pageviews"]["drops"])["malformed"] == 4
    with pytest.raises(UsageError, match=r"metadata\.languages: unknown language 'xx'"):
        build_metadata.run(build(languages=["en", "xx"]))
    with pytest.raises(UsageError, match=r"metadata\.wikipedia: unknown language 'xx'"):
        build_metadata.run(build(wikipedia=[f"xx={tmp_path}/enwiki.xml.bz2"]))


@pytest.mark.parametrize("score", ["rescored", "pmi"])
def test_the_version_does_not_depend_on_pieces_and_buckets(build, monkeypatch, tmp_path, score):
    documents = ({"title": str(n), "namespace": n % 2, "text": f"suņs {n} nu Reigys"} for n in range(20))
    lines = "".join(f'{{"index":{{}}}}\n{json.dumps(document)}\n' for document in documents)
    (tmp_path / "ltg.json.bz2").write_bytes(bz2.compress(lines.encode()))
    dumps = [str(tmp_path / "{code}wiki.xml.bz2"), f"ltg={tmp_path}/ltg.json.bz2"]
    limits = {
        "en": {"unigram_min_count": 1, "title_min_views": 1, "bigram_min_pmi": 0.5},
        "default": {
            "unigram_share": 0.9,
            "bigram_share": 1.0,
            "title_share": 1.0,
            "bigram_min_pmi": 0.5,
            "unigram_min_count": 1,
        },
    }
    made = build(limits=limits, bigram_score=score, wikipedia=dumps)
    (one,) = build_metadata.run(made)
    assert {"unigram", "bigram"} <= set(one.totals["by_wikipedia"]["ltg"])
    assert {"unigram", "bigram"} <= set(one.totals["by_wikipedia"]["zh"])
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)
    monkeypatch.setattr("jobs.tasks.metadata.titles.BUCKET_BYTES", 8)
    monkeypatch.setattr("jobs.tasks.metadata.ngrams.BUCKET_BYTES", 64)
    monkeypatch.setattr("jobs.tasks.metadata.ngrams.MAX_BUCKET_BITS", 2)
    monkeypatch.setattr("jobs.tasks.metadata.sorted_runs.CHUNK", 2)
    monkeypatch.setattr("jobs.tasks.metadata.ngrams.VALUES", 2)
    monkeypatch.setattr("jobs.build_metadata.SPLIT_BYTES", 100)
    monkeypatch.setattr("jobs.tasks.metadata.lists.LISTS", 0.4)
    monkeypatch.setattr("jobs.tasks.metadata.lists.BLOCK", 3)
    monkeypatch.setattr("jobs.build_metadata.ALGORITHM", -1)
    (many,) = build_metadata.run(made)
    assert many.fresh
    assert many.totals["version"] == one.totals["version"]
    assert many.totals["by_wikipedia"] == one.totals["by_wikipedia"]
    counters = {run: [] for run in (one.run_id, many.run_id)}
    for row in sorted(made.lake.rows("ledger").to_pylist(), key=lambda row: row["path"]):
        counters[row["run_id"]].append([row[key] for key in ("path", "read", "kept", "drops", "status")])
    assert counters[many.run_id] == counters[one.run_id], "pieces of a file are one row"


@pytest.mark.usefixtures("here")
def test_an_empty_page_view_file_and_a_folder_without_wordnets_are_refused(build, tmp_path):
    (tmp_path / "pageviews").write_text("")
    with pytest.raises(InputError, match=r"pageviews holds no line of page views: it is empty"):
        build_metadata.run(build())
    with pytest.raises(InputError, match=r"metadata\.wordnet: no wordnet among 1 files"):
        build_metadata.run(build(wordnet=[str(tmp_path / "pageviews")]))


def read_files(made: Context, outcome) -> set[str]:
    rows = made.lake.rows("ledger").to_pylist()
    return {Path(row["path"]).name for row in rows if row["run_id"] == outcome.run_id}


@pytest.mark.usefixtures("here")
def test_a_build_with_one_more_language_reads_only_what_that_one_needs(build, tmp_path):
    fewer, all_ = build(languages=["en", "simple", "zh"]), build()
    build_metadata.run(fewer)
    (more,) = build_metadata.run(all_)
    assert "ltgwiki.xml.bz2" in read_files(all_, more)
    assert not {"enwiki.xml.bz2", "simplewiki.xml.bz2", "zhwiki.xml.bz2"} & read_files(all_, more)
    assert more.totals["lists_reused"] == 3
    alone = Context(all_.config.model_copy(update={"lake": str(tmp_path / "alone")}), "alone")
    (whole,) = build_metadata.run(alone)
    assert whole.totals["lists_reused"] == 0
    assert more.totals["version"] == whole.totals["version"]
    assert more.totals["by_wikipedia"] == whole.totals["by_wikipedia"]
    assert entries(all_, "en") == entries(alone, "en")


@pytest.mark.usefixtures("here")
def test_a_changed_dump_or_limit_makes_that_languages_list_anew(build, tmp_path):
    made = build()
    (first,) = build_metadata.run(made)
    (tmp_path / "ltgwiki.xml.bz2").write_bytes(bz2.compress(dump(["kačs i suņs"]).encode()))
    (second,) = build_metadata.run(made)
    assert read_files(made, second) >= {"ltgwiki.xml.bz2"}
    assert not {"enwiki.xml.bz2", "zhwiki.xml.bz2"} & read_files(made, second)
    assert second.totals["version"] != first.totals["version"]
    limits = {**made.config.model_dump()["metadata"]["limits"], "zh": {"title_cap": 0}}
    (third,) = build_metadata.run(build(limits=limits))
    assert third.totals["lists_reused"] == 3
    assert "title" not in third.totals["by_wikipedia"]["zh"]


@pytest.mark.usefixtures("here")
def test_a_list_made_from_a_damaged_file_is_made_again(build, tmp_path):
    path = tmp_path / "enwiki.xml.bz2"
    path.write_bytes(path.read_bytes()[:-20])
    tolerant = Context(build().config.model_copy(update={"max_failed_inputs": 0.5}), "tolerant")
    (first,) = build_metadata.run(tolerant)
    assert set(first.totals["fingerprints"]) == {"simple", "ltg", "zh"}
    (again,) = build_metadata.run(tolerant)
    assert again.fresh
    assert "enwiki.xml.bz2" in read_files(tolerant, again)
    assert again.totals["lists_reused"] == 3


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("what", ["source_lists", "entries", "matcher", "manifest"])
@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink])
def test_a_build_after_a_repair_makes_what_was_damaged_again_and_takes_the_rest(build, tmp_path, what, damage, capsys):
    made = build()
    (first,) = build_metadata.run(made)
    version, lake = first.totals["version"], Path(made.config.lake)
    before = [entries(made, lang) for lang in ("en", "zh", "other")]
    path = (
        next(lake.glob(f"matchers/{version}/{'worldwide.*/en.matcher' if what == 'matcher' else 'manifest.*'}"))
        if what in ("matcher", "manifest")
        else Path(made.lake.snapshot(what).files[0].path)
    )
    damage(path)
    flags = ["--lake", str(lake)]
    assert verify.main(flags) == 4
    assert f"{path}: " in (out := capsys.readouterr().out)
    assert "run jobs.build_metadata again" in out
    assert verify.main([*flags, "--repair"]) == 0
    (again,) = build_metadata.run(made)
    assert (again.fresh, again.totals["version"]) == (True, version)
    assert again.totals["lists_reused"] == (3 if what == "source_lists" else 4)
    assert [entries(made, lang) for lang in ("en", "zh", "other")] == before
    assert verify.main(flags) == 0
    assert not build_metadata.run(made)[0].fresh


@pytest.mark.usefixtures("here")
def test_titles_in_namespaces_that_a_file_beside_the_dumps_names_are_no_entries(build, tmp_path):
    (tmp_path / "pageviews").write_text("ltg Fails:Suņs 9 0\nltg Attāls:Kačs 8 0\nltg Suņs 7 0\n", encoding="utf-8")
    names = {"query": {"namespaces": {"6": {"id": 6, "*": "Fails"}}, "namespacealiases": [{"id": 6, "*": "Attāls"}]}}
    (tmp_path / "ltgwiki-latest-siteinfo-namespaces.json").write_text(json.dumps(names), encoding="utf-8")
    made = build(wikipedia=[f"ltg={tmp_path}/ltgwiki*"], wordnet=[], languages=["ltg"])
    (outcome,) = build_metadata.run(made)
    assert outcome.totals["by_wikipedia"]["ltg"]["title"]["examples"] == ["Suņs"]
    assert outcome.totals["files_failed"] == 0


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "moment",
    [
        "jobs.build_metadata.MetadataStage._make_lists",
        "jobs.build_metadata.merge_keys",
        "jobs.build_metadata.publish_manifest",
        "curation.lake.lake.Lake.publish",
        "jobs.runtime.stage.append_run",
        "jobs.build_metadata.MatcherStore.set_latest",
    ],
)
def test_a_build_that_dies_anywhere_and_is_run_again_is_like_any_other(build, monkeypatch, tmp_path, moment):
    made = build()
    clean = Context(made.config.model_copy(update={"lake": str(tmp_path / "clean")}), "clean")
    (expected,) = build_metadata.run(clean)
    publish = Lake.publish

    def die(*arguments, **options):
        if arguments[1:2] == ("source_lists",):  # of the two tables the second is not published
            return publish(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(moment, die)
        with pytest.raises(Killed):
            build_metadata.run(made)
    (again,) = build_metadata.run(made)
    assert again.totals["version"] == expected.totals["version"]
    assert again.totals["by_wikipedia"] == expected.totals["by_wikipedia"]
    assert all(entries(made, lang) == entries(clean, lang) for lang in ("en", "zh", "other"))
    owners = [made.lake.snapshot(table).run_ids for table in ("source_lists", "entries")]
    assert owners[0] == owners[1]
    assert len(owners[0]) == 1
    assert build_metadata.run(made)[0].fresh is False


@pytest.mark.usefixtures("here")
def test_the_run_says_what_each_source_gave_and_which_caps_were_reached(build):
    (outcome,) = build_metadata.run(build(limits={"default": {"unigram_share": 1.0, "unigram_cap": 2}}))
    assert outcome.totals["by_wikipedia"]["ltg"]["unigram"] == {
        "entries": 2, "cap": 2, "reached": True, "examples": ["suņs", "Latgolys"],
    }  # fmt: skip
    assert outcome.totals["by_wikipedia"]["ltg"]["number"]["cap"] is None
    assert outcome.totals["by_wikipedia"]["zh"]["wordnet"]["examples"] == ["狗", "红色"]


@pytest.mark.usefixtures("here")
def test_languages_without_a_source_are_named_in_the_log_the_run_and_the_page(build, caplog):
    made = build(languages=["en", "simple", "ltg", "zh", "de"])
    (outcome,) = build_metadata.run(made)
    assert outcome.totals["gaps"] == {
        "dump": ["de"], "page_views": ["de", "ltg", "simple"], "wordnet": ["de", "ltg", "simple"],
        "numbers_only": ["de"],
    }  # fmt: skip
    page = Path(made.lake.layout.metadata_page(outcome.totals["version"])).read_text()
    for line in (
        "no words from a dump for 1 of 5 languages: German (de)",
        "no titles from page views for 3 of 5 languages: German (de), Latgalian (ltg), Simple English (simple)",
        "no lemmas from a wordnet for 3 of 5 languages: German (de), Latgalian (ltg), Simple English (simple)",
        "only numbers in the lists of German (de)",
    ):
        assert line in caplog.text
        assert line in page


def test_a_command_shows_every_wikipedia_and_where_each_entry_came_from(build, capsys):
    made = build()
    (outcome,) = build_metadata.run(made)
    page = Path(made.lake.layout.metadata_page(outcome.totals["version"])).read_text()
    assert "merged into en" in page

    def show(*arguments):
        code = show_metadata.main(["--lake", made.lake.root, *arguments])
        return code, capsys.readouterr()

    code, said = show()
    assert (code, len(said.out.splitlines())) == (0, 6), "a heading, 4 Wikipedias, a summary"
    assert "326 not built" in said.out
    code, said = show("--complete")
    assert code == 4
    assert "in no list: ab, ace" in said.err
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in said.out.splitlines()}
    assert lines["en"][0] == "own list"
    assert lines["simple"][0] == "merged into en"
    assert lines["ltg"][0] == "in other"
    assert lines["de"][0] == "own list: not built"
    figures = outcome.totals["by_wikipedia"]["ltg"]
    assert lines["ltg"][3] == str(figures["unigram"]["entries"])
    assert "330 Wikipedias: 2 with a list of their own, 1 merged into another, 1 in other, 326 not built" in said.out

    code, said = show("--entry", "dog", "--lang", "en")
    assert (code, said.out.splitlines()) == (0, [
        f"dog: en {sorted(entries(made, 'en')).index('dog')}, from wordnet", "  en: dog, wordnet, place 100",
        "  simple: dog, unigram, place 101, score 1",
    ])  # fmt: skip
    code, said = show("--entry", "和红色", "--json")
    (found,) = json.loads(said.out)
    assert (found["lang"], found["sources"][0]["origin"]) == ("zh", "bigram")
    code, said = show("--lang", "zh", "--origin", "wordnet", "--top", "1")
    assert (code, said.out) == (0, "zh\twordnet\t\t狗\n")
    assert show("--entry", "nowhere")[0] == 3
    assert show("--lang", "de")[0] == 2


@pytest.mark.usefixtures("here")
def test_an_entry_is_found_by_another_spelling(build, tmp_path, capsys):
    (tmp_path / "pageviews").write_text("en Hot-pot 9 0\nen Hot_-_pot 8 0\nen St._Louis 7 0\nen St_._Louis 3 0\n")
    made = build(languages=["en"])
    build_metadata.run(made)
    assert show_metadata.main(["--lake", made.lake.root, "--entry", "St. Louis"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("St . Louis: en ")
    assert lines[0].endswith(", from title, score 3, also written St. Louis")
    assert [line.split(", place")[0] for line in lines[1:]] == ["  en: St. Louis, title", "  en: St . Louis, title"]
