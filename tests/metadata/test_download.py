from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time

import pytest
import yaml

from curation.cli.run import run_command
from curation.io.storage import Storage
from metadata import download
from metadata.config import MetadataSection
from metadata.languages import LanguageTable
from metadata.sources import find_sources
from support.loopback import Answer, file_server, serving

AGENT = ["--user_agent", "tests (tests@example.org)"]


def status(db, names, state="done"):
    files = {
        name: {"size": len(body), "url": f"/{db}/20240501/{name}", "sha1": hashlib.sha1(body).hexdigest()}
        for name, body in names.items()
    }
    return json.dumps({"version": "0.8", "jobs": {"articlesmultistreamdump": {"status": state, "files": files}}})


def dump_tree(db, *parts, state="done"):
    """Return the files of one dump, with an index for each part, under their names on dumps.wikimedia.org."""
    stem = f"{db}-20240501-pages-articles-multistream"
    names = {f"{stem}{part}.xml.bz2": f"{db} part {part}".encode() * 50 for part in parts}
    indexes = {f"{stem}-index{part}.txt.bz2": b"0:1:A" for part in parts}
    tree = {f"/{db}/20240501/{name}": body for name, body in {**names, **indexes}.items()}
    return {**tree, f"/{db}/20240501/dumpstatus.json": status(db, {**names, **indexes}, state).encode()}


def cirrus_tree(db, parts, *, whole=True):
    """Return the folder of one search index with its listing, in the layout of dumps.wikimedia.org since 2026."""
    folder = f"/other/cirrus_search_index/20260830/index_name%3D{db}_content/"
    names = {f"{db}_content-20260830-{part:05}.json.bz2": b"part %d" % part for part in range(parts)}
    rows = [*names, *(["_SUCCESS"] if whole else [])]
    listing = "".join(f'<a href="{name}">{name}</a>  30-Aug-2026 02:51  551960029\n' for name in rows)
    return {folder: f"<html><pre>{listing}</pre></html>".encode(), **{folder + name: names[name] for name in names}}


TREE = {
    **dump_tree("dewiki", "1", "2"),
    **dump_tree("be_x_oldwiki", ""),
    **dump_tree("itwiki", "", state="in-progress"),
    "/other/pageview_complete/2024/2024-05/pageviews-20240501-user.bz2": b"daily",
    **{f"/other/pageviews/2024/2024-05/pageviews-20240502-{hour:02}0000.gz": b"hourly" for hour in range(24)},
    "/other/cirrussearch/20240501/dewiki-20240501-cirrussearch-content.json.gz": b"json",
    "/dewiki/latest/dewiki-latest-siteinfo-namespaces.json.gz": b"names",
    **cirrus_tree("dewiki", 3),
    **cirrus_tree("itwiki", 2, whole=False),
    "/ita/wn-data-ita.tab": b"1-n\tita:lemma\tcane\n",
    "/iwn/wn-data-ita.tab": b"1-n\tita:lemma\tgatto\n",
    "/wikt/wn-wikt-deu.tab": b"1-n\tdeu:lemma\tHund\n",
}


@pytest.fixture
def server():
    with serving(file_server(TREE)) as running:
        yield running


@pytest.fixture
def fetch(server, tmp_path):
    """Run the command against the server; return its exit code."""

    def run(*flags):
        urls = ["--dumps_url", server.url, "--wordnets_url", server.url, "--backoff_s", "0.01"]
        return run_command(download.run, [*urls, *AGENT, "--out", str(tmp_path / "out"), *flags])

    return run


def fetched(tmp_path):
    folder = tmp_path / "out"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_parts_of_a_dump_are_fetched_without_their_indexes_and_verified(fetch, tmp_path, capsys):
    assert fetch("--languages", "de,be_tarask", "--date", "2024-05-01") == 0
    stem = "20240501-pages-articles-multistream"
    assert set(fetched(tmp_path)) == {
        f"wikipedia/de/dewiki-{stem}1.xml.bz2",
        f"wikipedia/de/dewiki-{stem}2.xml.bz2",
        f"wikipedia/be_tarask/be_x_oldwiki-{stem}.xml.bz2",
    }
    assert "missing\twordnet/deu/wn-data-deu.tab" in capsys.readouterr().out


def test_a_build_finds_the_fetched_files(fetch, tmp_path):
    fetch("--languages", "de,it", "--date", "20240501", "--pageview_dates", "2024-05-01", "--wiktionary", "true")
    out = tmp_path / "out"
    section = MetadataSection(
        languages=["de", "it"],
        wikipedia=[str(out / "wikipedia" / "{code}" / "*")],
        pageviews=[str(out / "pageviews")],
        wordnet=[str(out / "wordnet")],
        wiktionary=True,
    )
    sources = find_sources(Storage(), section, ["de", "it"], LanguageTable.load())
    assert [(source.kind, source.code, len(source.files)) for source in sources] == [
        ("dump", "de", 1), ("dump", "de", 1), ("views", "", 1), ("wordnet", "", 3),
    ]  # fmt: skip


def test_an_unfinished_or_missing_dump_is_reported_and_the_rest_is_fetched(fetch, tmp_path, capsys):
    assert fetch("--languages", "de,it,fr", "--date", "2024-05-01") == 3
    errors = capsys.readouterr().err
    assert "the dump of it of 2024-05-01 is not complete: its status is 'in-progress'" in errors
    assert "there is no dump of fr of 2024-05-01" in errors
    assert sum("dewiki" in path for path in fetched(tmp_path)) == 2


def test_hours_days_and_old_cirrus_dumps_are_found(fetch, tmp_path):
    assert fetch("--languages", "de", "--pageview_dates", "20240502", "--pageviews", "hourly") == 0
    assert sum(body == b"hourly" for body in fetched(tmp_path).values()) == 24
    assert fetch("--languages", "de", "--date", "20240501", "--dump", "cirrussearch", "--wordnets", "false") == 0
    assert fetched(tmp_path)["wikipedia/de/dewiki-20240501-cirrussearch-content.json.gz"] == b"json"


def test_a_search_index_is_fetched_in_parts_if_it_is_complete(fetch, tmp_path, capsys):
    assert fetch("--languages", "de,it", "--date", "20260830", "--dump", "cirrussearch", "--wordnets", "false") == 3
    assert "the dump of it of 2026-08-30 is not complete" in capsys.readouterr().err
    assert fetched(tmp_path) == {
        "wikipedia/de/dewiki-latest-siteinfo-namespaces.json.gz": b"names",
        **{f"wikipedia/de/dewiki_content-20260830-{part:05}.json.bz2": b"part %d" % part for part in range(3)},
    }


def test_a_second_run_fetches_only_files_that_failed_in_the_first(fetch, server, tmp_path):
    part = "/dewiki/20240501/dewiki-20240501-pages-articles-multistream2.xml.bz2"
    server.faults[part].extend([Answer(503)] * 3)
    assert fetch("--languages", "de", "--date", "2024-05-01", "--retries", "1") == 3
    before = len(server.requests)
    assert fetch("--languages", "de", "--date", "2024-05-01") == 0
    again = [request.path for request in server.requests[before:] if "multistream" in request.path]
    assert again == [part, part]


@pytest.mark.parametrize("connections", [1, 3])
def test_the_number_of_parallel_downloads_is_limited(tmp_path, connections):
    files, lock, open_, most = file_server(TREE), threading.Lock(), 0, 0

    def respond(request):
        nonlocal open_, most
        with lock:
            open_ += 1
            most = max(most, open_)
        time.sleep(0.03)  # time for other requests to arrive
        with lock:
            open_ -= 1
        return files(request)

    with serving(respond) as server:
        flags = ["--languages", "de", "--pageview_dates", "20240502", "--pageviews", "hourly", "--wordnets", "false"]
        flags += ["--dumps_url", server.url, "--out", str(tmp_path), "--connections", str(connections), *AGENT]
        assert run_command(download.run, flags) == 0
        assert len(server.requests) == 24
    assert most == connections


def test_https_requires_a_trusted_certificate(tmp_path, monkeypatch, capsys, certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with serving(file_server(TREE), tls) as server:
        flags = ["--languages", "de", "--date", "2024-05-01", "--wordnets", "false", "--retries", "0", *AGENT]
        flags += ["--dumps_url", server.url, "--out", str(tmp_path / "out")]
        assert run_command(download.run, flags) == 3
        assert "certificate" in capsys.readouterr().err
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert run_command(download.run, flags) == 0
    assert len(fetched(tmp_path)) == 2


def test_a_dry_run_lists_sizes_and_urls_and_fetches_nothing(fetch, server, tmp_path, capsys):
    assert fetch("--languages", "de", "--date", "2024-05-01", "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    size, url = lines[-1].split("\t")
    assert TREE[url.removeprefix(server.url)] == b"dewiki part 2" * 50
    assert int(size) == len(b"dewiki part 2" * 50)
    assert not (tmp_path / "out").exists()
    assert [request.path for request in server.requests] == ["/dewiki/20240501/dumpstatus.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--languages", "de", "--date", "May"], "date: 'May' is not a date"),
        (["--languages", "xx", "--date", "2024-05-01"], "unknown language 'xx'"),
        (["--languages", "de", "--wordnets", "false"], "nothing to fetch"),
        (["--date", "2024-05-01"], "key `languages` is missing"),
        (["--languages", "de", "--connections", "0"], "key `connections`"),
    ],
)
def test_bad_keys_are_refused_before_any_request(fetch, server, capsys, flags, message):
    assert fetch(*flags) == 2
    assert message in capsys.readouterr().err
    assert not server.requests


def test_a_user_agent_is_required(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"languages": ["de"], "date": "2024-05-01", "out": str(tmp_path)}))
    assert run_command(download.run, ["--config", str(file)]) == 2
    assert "key `user_agent` is missing" in capsys.readouterr().err
