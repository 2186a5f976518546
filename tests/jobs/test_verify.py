"""Verify finds every kind of damage and names the job to run; after a repair, that run gives the lake as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from jobs import nightly, verify
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run
from jobs.tasks.verify.pictures import DecodePictures
from support.damage import flip_one, flips
from support.lakes import TABLES, digests

JOBS = {
    "pairs": "jobs.ingest --batch b1",
    "matches": "jobs.match --batch b1",
    "counts": "jobs.match --batch b1",
    "totals": "jobs.balance --batch b1",
    "thresholds": "jobs.balance --recipe default --batch b1",
    "curated": "jobs.balance --recipe default --batch b1",
    "images": "jobs.fetch_images --recipe default --batch b1",
    "shards": "jobs.fetch_images --recipe default --batch b1",
}


@pytest.fixture
def run(night_here, tmp_path, capsys):
    """Run the command on the night; return its exit code, its problems and its repairs."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(night_here.config.model_dump(mode="json", exclude_none=True)))

    def command(*flags: str) -> tuple[int, list[dict[str, str]], list[str]]:
        code = verify.main(["--config", str(path), "--json", *flags])
        out, err = capsys.readouterr()
        report = json.loads(out)
        assert ("error: " in err) == (code == 4)
        return code, report["problems"], report["repairs"]

    return command


def test_a_finished_night_has_no_problems(run, night_here):
    assert run() == (0, [], [])
    assert run("--quick") == (0, [], [])


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_is_found_and_the_run_after_a_repair_gives_the_lake_as_it_was(run, night_here, table):
    before, path = digests(night_here.lake), Path(night_here.lake.snapshot(table).files[-1].path)
    flip_one(path)
    code, problems, repairs = run()
    assert code == 4
    assert [(problem["where"], problem["job"]) for problem in problems] == [(str(path), JOBS[table])]
    assert repairs == []
    assert run("--quick")[0] == 0
    code, problems, repairs = run("--repair")
    assert code == 0
    assert len(repairs) == 1
    assert repairs[0].endswith(f"is marked incomplete: run {JOBS[table]}")
    nightly.run(Context(night_here.config, "nightly"))
    assert digests(night_here.lake) == before
    assert run() == (0, [], [])


def test_every_flip_anywhere_in_a_file_is_found(run, night_here):
    path = Path(night_here.lake.snapshot("shards").files[0].path)
    for _ in flips(path, 25):
        code, problems, _ = run()
        assert (code, [problem["where"] for problem in problems]) == (4, [str(path)])


@pytest.mark.parametrize("flags", [(), ("--quick",)])
def test_missing_shortened_and_replaced_files_are_found(run, night_here, flags):
    paths = {table: Path(night_here.lake.snapshot(table).files[0].path) for table in ("pairs", "matches", "curated")}
    paths["pairs"].unlink()
    paths["matches"].write_bytes(paths["matches"].read_bytes()[:-10])
    paths["curated"].write_bytes(paths["curated"].read_bytes() + b"more")
    code, problems, _ = run(*flags)
    assert code == 4
    assert {problem["where"]: problem["what"].split()[0] for problem in problems} == {
        str(paths["pairs"]): "missing",
        str(paths["matches"]): "it",
        str(paths["curated"]): "it",
    }


def test_a_whole_file_in_the_place_of_another_is_found(run, night_here):
    path = Path(night_here.lake.snapshot("pairs").files[0].path)
    other = bytearray(path.read_bytes())
    from curation.lake import checksums

    section = other.rindex(checksums.MARK)
    sums = checksums.BlockSums()
    rows = other[: checksums.FileSums.parse(bytes(other), len(other)).rows_size]
    rows[8] ^= 1
    sums.update(rows)
    footer = bytes(other[section + len(checksums.MARK) :])
    path.write_bytes(bytes(rows) + sums.section(footer) + footer)  # consistent in itself
    code, problems, _ = run()
    assert (code, problems[0]["what"]) == (4, "damaged: its SHA-256 is not the published one")


def test_the_last_line_names_the_command_that_helps(night_here, capsys):
    flags = ["--lake", night_here.config.lake, "--quick"]

    def last_line(*more: str) -> str:
        assert verify.main([*flags, *more]) == (0 if more else 4)
        return capsys.readouterr().err.splitlines()[-1] if not more else ""

    Path(night_here.lake.snapshot("matches").files[0].path).unlink()
    Path(night_here.lake.layout.recipe("default")).write_bytes(b"")
    verify.main(flags)
    out, err = capsys.readouterr()
    assert "recipes/default.json: damaged: empty: --repair restores it" in out
    command = f"run `python -m jobs.verify --lake {night_here.config.lake} --quick --repair`"
    assert err.splitlines()[-1].endswith(f": 2 problems: {command}")
    last_line("--repair")
    assert last_line().endswith(": 1 problem: run the jobs that they name, such as jobs.match --batch b1")


def test_a_file_that_cannot_be_restored_must_come_from_a_copy(night_here, capsys):
    Path(night_here.lake.layout.recipe("default")).write_bytes(b"")
    night_here.lake.table("runs").delete("stage = 'balance'")
    assert verify.main(["--lake", night_here.config.lake, "--quick", "--repair"]) == 4
    assert "1 problem left, such as" in (err := capsys.readouterr().err)
    assert err.splitlines()[-1].endswith("damaged: empty: restore it from a copy")


def test_counters_that_contradict_the_files_are_found(run, night_here):
    runs = night_here.lake.table("runs")
    for row in runs.to_pyarrow_table().to_pylist():
        if row["stage"] == "match":
            totals = json.loads(row["totals"])
            totals |= {"images": totals["images"] + 1, "images_matched": totals["images_matched"] - 1}
            runs.update(predicate=f"run_id = '{row['run_id']}'", new_values={"totals": json.dumps(totals)})
    code, problems, _ = run("--quick")
    assert code == 4
    assert {problem["table"] for problem in problems} == {"matches"}
    assert [problem["what"].split()[:2] for problem in problems] == [["it", "holds"], ["its", "run"]]


def test_files_of_no_published_version_are_counted_and_are_no_problem(run, night_here, tmp_path, capsys):
    path = Path(night_here.lake.snapshot("pairs").files[0].path)
    path.with_name("orphan.parquet").write_bytes(b"12345")
    verify.main(["--lake", str(night_here.config.lake)])
    assert "of no published version: 1 file (5 bytes)" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "missing"])
def test_a_recipe_is_restored_from_the_runs(run, night_here, content):
    path = Path(night_here.config.lake, "recipes/default.json")
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    code, problems, _ = run()
    assert (code, [problem["where"] for problem in problems]) == (4, [str(path)])
    assert run("--repair")[0] == 0
    assert path.read_bytes() == whole
    assert run()[0] == 0


def test_damaged_matchers_and_manifests_are_removed_for_the_next_build(run, night_here):
    root = Path(night_here.config.lake)
    matcher, manifest = next(root.glob("matchers/*/worldwide.*/fr.matcher")), next(root.glob("matchers/*/manifest*"))
    flip_one(matcher)
    code, problems, _ = run()
    assert (code, [(problem["where"], problem["job"]) for problem in problems]) == (
        4,
        [(str(matcher), "jobs.build_metadata")],
    )
    run("--repair")
    assert not matcher.exists()
    manifest.write_bytes(manifest.read_bytes()[:-5])
    assert run("--repair")[0] == 0
    assert not manifest.exists()


def test_pictures_that_do_not_decode_are_named_and_a_repair_leaves_them(run, night_here):
    """The pictures were broken before they were published, so checksums cannot tell."""
    rows = shard_rows(night_here)
    broken = {row["image_id"] for row in rows[::7]}
    small = rows[1]["image_id"]
    publish_with(night_here, lambda row: spoil(row, broken, small))
    assert run()[0] == 0
    code, problems, _ = run("--decode", "1")
    assert code == 4
    assert {problem["where"].rpartition(" ")[2] for problem in problems} == broken | {small}
    subjects = {problem["where"].rpartition(" ")[2]: problem["what"] for problem in problems}
    assert set(map(subjects.get, broken)) == {"it does not decode: truncated"}
    assert subjects[small].endswith(f"{rows[1]['width'] + 1} x {rows[1]['height']} are recorded")
    assert problems[0]["remedy"].startswith("run jobs.takedown --image_id ")
    code, again, repairs = run("--decode", "1", "--repair")
    assert (code, again, repairs) == (4, problems, [])


def test_the_share_of_decoded_pictures_grows_and_includes_smaller_shares(night_here):
    files = night_here.lake.snapshot("shards").files
    pictures = {row["image_id"]: row for row in shard_rows(night_here)}
    chosen = []
    for share in (0.0, 0.3, 0.7, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            seen: list[bytes] = []
            patch.setattr("jobs.tasks.verify.pictures.picture_problem", lambda image, *_, seen=seen: seen.append(image))
            counts = [DecodePictures(night_here.storage, share, 10**6)(0, file.path).decoded for file in files]
        assert sum(counts) == len(seen)
        chosen.append(set(seen))
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3] == {row["image"] for row in pictures.values()}


def test_pictures_are_decoded_up_to_the_pixels_that_the_config_allows(run, night_here):
    rows = shard_rows(night_here)
    largest = max(row["width"] * row["height"] for row in rows)
    assert run("--decode", "1", "--images.max_pixels", str(largest))[0] == 0
    code, problems, _ = run("--decode", "1", "--images.max_pixels", str(largest - 1))
    assert code == 4
    assert {problem["what"] for problem in problems} == {"it does not decode: too_many_pixels"}


def shard_rows(context: Context) -> list[dict]:
    files = context.lake.snapshot("shards").files
    return [row for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]


def spoil(row: dict, broken: set[str], small: str) -> dict:
    if row["image_id"] in broken:
        return row | {"image": row["image"][:-40]}
    return row | {"width": row["width"] + (row["image_id"] == small)}


def publish_with(context: Context, change) -> None:
    """Replace the shards by changed rows, published by the same run."""
    lake = context.lake
    snapshot = lake.snapshot("shards", {"recipe": "default", "batch": "b1"})
    [run_id] = snapshot.run_ids
    row = find_run(lake, run_id, "shards")
    with PartitionWriter(
        lake.storage, lake.layout.table("shards"), f"recipe=default/batch=b1/{run_id}", 0, SCHEMAS["shards"]
    ) as writer:
        rows = [change(row) for row in shard_rows(context)]
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["shards"]))
    metadata = {"run_id": run_id, "run": json.dumps(row, default=str)}
    lake.publish(
        "shards", {"recipe": "default", "batch": "b1"}, writer.files, expected=snapshot.run_ids, metadata=metadata
    )


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)  # no more than the start of a file


def test_originals_that_need_a_package_that_is_missing_are_not_checked(run, night_here, monkeypatch, capsys):
    rows = shard_rows(night_here)
    heic = {row["image_id"] for row in rows[::5]}
    publish_with(night_here, lambda row: {**row, "image": HEIC} if row["image_id"] in heic else row)
    for module in ("curation.images.precheck", "jobs.tasks.verify.pictures"):
        monkeypatch.setattr(f"{module}.has_heif", lambda: False)
    assert run("--decode", "1") == (0, [], [])
    assert verify.main(["--lake", night_here.config.lake, "--decode", "1"]) == 0
    told = (
        f"decoded: {len(rows) - len(heic)} pictures; not checked: {len(heic)} HEIC pictures: install worldcurate[heif]"
    )
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"; {told}")
