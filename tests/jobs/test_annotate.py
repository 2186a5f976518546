"""Annotations have the files, row groups and rows of the shards, whatever kills their run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.annotations.capitalized import capitalized_share
from curation.cli.annotate_config import AnnotateSection
from curation.errors import InputError, UsageError
from curation.lake.schemas import SCHEMAS, annotation_schema
from jobs import annotate
from jobs.runtime.context import Context
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.annotate.make import MakeRows
from jobs.tasks.annotate.write import METADATA_KEY, WriteShard
from support.compaction import Killed, kill_at
from support.in_process import change
from support.scenes import encoded, scene
from support.videos import write_video

KINDS = {"kinds": ["propn_share"]}


@pytest.fixture
def context(crawled, monkeypatch):
    """A context of a lake with two nights, whose work units are small."""
    monkeypatch.setattr(annotate, "UNIT_ROWS", 3)
    return asking(crawled[0], **KINDS)


def asking(context: Context, **keys) -> Context:
    """A context without a batch that asks for annotations."""
    changed = change(context, batch=None, annotate=AnnotateSection(**keys))
    return Context(changed.config, "annotate")


def files(context: Context, kind: str = "propn_share", table: str = "annotations") -> list[pq.ParquetFile]:
    partition = {"kind": kind} if table == "annotations" else {}
    return [pq.ParquetFile(file.path) for file in context.lake.snapshot(table, partition).files]


def rows(context: Context, kind: str = "propn_share") -> list[dict]:
    return [row for file in files(context, kind) for row in file.read().to_pylist()]


def group_rows(parquet: list[pq.ParquetFile]) -> list[list[int]]:
    return [[f.metadata.row_group(n).num_rows for n in range(f.num_row_groups)] for f in parquet]


def test_annotations_have_the_files_row_groups_and_rows_of_the_shards(context):
    outcomes = annotate.run(context)
    shards = files(context, table="shards")
    expected = [row for file in shards for row in file.read(["image_id", "text"]).to_pylist()]
    assert group_rows(files(context)) == group_rows(shards)
    assert [row["image_id"] for row in rows(context)] == [row["image_id"] for row in expected]
    values = [row["propn_share"] for row in rows(context)]
    shares = [capitalized_share(row["text"]) for row in expected]
    assert values == pytest.approx(shares)
    assert len(set(values)) > 1
    assert sum(outcome.totals["made"] for outcome in outcomes) == len(expected)
    assert sum(outcome.totals["without_value"] for outcome in outcomes) == sum(share is None for share in shares)
    assert not any(outcome.fresh for outcome in annotate.run(context))


def test_a_video_that_cannot_be_read_costs_its_own_row_and_is_counted_with_its_reason(context, tmp_path):
    pytest.importorskip("av")
    ids = [row["image_id"] for file in files(context, table="shards") for row in file.read(["image_id"]).to_pylist()]
    good, bad = write_video(tmp_path / "v.mp4"), tmp_path / "picture.mp4"
    bad.write_bytes(encoded(scene()))
    videos = dict(zip(ids, [good, str(bad), "/no/such", str(bad)], strict=False))
    lines = [json.dumps({"image_id": name, "video": video, "subtitle": "s"}) for name, video in videos.items()]
    (tmp_path / "videos.jsonl").write_text("\n".join(lines))
    maker = {"model": str(tmp_path / "videos.jsonl"), "count": 3}
    outcomes = annotate.run(asking(context, kinds=["frames"], makers={"frames": maker}))
    drops = Counter[str]()
    for outcome in outcomes:
        drops.update(outcome.drops)
    assert drops == {"not_a_video": 2, "video_missing": 1}
    made = {row["image_id"]: row["frames"] for row in rows(context, "frames")}
    assert made.keys() == set(ids)
    assert [name for name, frames in made.items() if frames is not None] == [ids[0]]
    assert len(made[ids[0]]) == 3


def test_every_file_names_its_maker(context):
    annotate.run(context)
    for file in files(context):
        assert file.schema_arrow.remove_metadata() == annotation_schema("propn_share")
        maker = json.loads(file.schema_arrow.metadata[METADATA_KEY.encode()])
        assert maker == {
            "kind": "propn_share",
            "maker": "curation.annotations.capitalized:CapitalizedShare",
            "version": "1",
        }


def contents(context: Context) -> list[bytes]:
    return [Path(file.path).read_bytes() for file in context.lake.snapshot("annotations").files]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("task", "number"), [(MakeRows, 0), (MakeRows, 2), (WriteShard, 0), (WriteShard, 2)])
def test_a_killed_run_is_continued_to_the_same_bytes(context, monkeypatch, task, number, after):
    one = change(context, batch="b1")
    with monkeypatch.context() as patch:
        kill_at(patch, task, number, after=after)
        with pytest.raises(Killed):
            annotate.run(one)
    assert not one.lake.snapshot("annotations").files, "nothing is published before the end"
    with monkeypatch.context() as patch:
        made, written = (kill_at(patch, each, -1, after=False) for each in (MakeRows, WriteShard))
        annotate.run(one)
    shards = one.lake.snapshot("shards", {"batch": "b1"}).files
    units = sum(-(-file.rows // 3) for file in shards)
    done = number + after
    expected = (units - done, len(shards)) if task is MakeRows else (0, len(shards) - done)
    assert (len(made), len(written)) == expected
    first = contents(one)
    whole = one.lake.snapshot("annotations")
    one.lake.publish("annotations", whole.files[0].partition, [], expected=whole.run_ids, metadata={})
    annotate.run(one)
    assert contents(one) == first
    assert not list(one.storage.list_files(one.lake.layout.staging + "/" + whole.run_ids[0]))


class Counting:
    """A maker of `english` that counts the rows that it is asked for, by instance."""

    version, reads, uses_seed = "1", ("text",), False
    asked: ClassVar[list[str]] = []

    def __init__(self, suffix: str = "!") -> None:
        self.suffix = suffix

    def __call__(self, rows, seed):
        self.asked.extend(rows["image_id"].to_pylist())
        return [text + self.suffix for text in rows["text"].to_pylist()]


def english(context, maker="Counting", **parameters) -> Context:
    makers = {"english": {"maker": f"{__name__}:{maker}", **parameters}}
    return asking(context, kinds=["english"], makers=makers)


@pytest.fixture
def asked():
    Counting.asked.clear()
    return Counting.asked


def test_only_rows_that_have_changed_are_made_again(context, asked):
    annotate.run(english(context))
    assert len(asked) == context.lake.snapshot("shards").rows
    before = {row["image_id"]: row for row in rows(context, "english")}
    asked.clear()
    gone = sorted(before)[3]
    remake_shards(context, without=gone, changed=sorted(before)[5])
    annotate.run(english(context))
    assert asked == [sorted(before)[5]]
    after = {row["image_id"]: row for row in rows(context, "english")}
    assert after.keys() == before.keys() - {gone}
    assert after[sorted(before)[5]]["english"] == "changed!"
    assert all(after[name] == before[name] for name in after if name != sorted(before)[5])
    asked.clear()
    annotate.run(english(context, suffix="?"))
    assert len(asked) == len(after), "another maker makes all rows"


def remake_shards(context, *, without: str, changed: str) -> None:
    """Publish the shards again, without one image and with another text of another one."""
    for batch in ("b1", "b2"):
        partition = {"recipe": "default", "batch": batch}
        part = context.lake.snapshot("shards", partition)
        kept = [
            {**row, "text": "changed" if row["image_id"] == changed else row["text"]}
            for file in part.files
            for row in pq.ParquetFile(file.path).read().to_pylist()
            if row["image_id"] != without
        ]
        run_id = f"20990101T000000-{batch}-x"
        with WriterFactory(context.storage, context.lake.root, run_id, {"shards": partition})("shards", 0) as writer:
            writer.write(pa.Table.from_pylist(kept, schema=SCHEMAS["shards"]))
        context.lake.publish("shards", partition, writer.files, expected=part.run_ids, metadata={"run_id": run_id})


class Short(Counting):
    def __call__(self, rows, seed):
        return super().__call__(rows, seed)[:-1]


class Failing(Counting):
    def __call__(self, rows, seed):
        raise KeyError("no\nword")


class Mistyped(Counting):
    def __call__(self, rows, seed):
        return [[1]] * rows.num_rows


class NotAMaker:
    version = "1"


@pytest.mark.parametrize(
    ("maker", "problem"),
    [
        ("Short", r"annotate\.makers\.english: it returned 2 values for 3 rows: return one per row"),
        ("Failing", r"annotate\.makers\.english: it failed for rows 0 to 3 of .* \(KeyError: .*\): correct the maker"),
        ("Mistyped", r"annotate\.makers\.english: it failed for rows 0 to 3 of .* \(Arrow.*\): correct the maker"),
        ("NotAMaker", r"annotate\.makers\.english: .* is not an annotation maker \(it has no reads, uses_seed\): see "),
        ("Absent", r"annotate\.makers\.english: .* cannot be imported \(AttributeError: "),
    ],
)
def test_a_maker_that_cannot_be_used_ends_the_job_with_one_line(context, maker, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        annotate.run(english(context, maker))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said_before_anything_is_made(context):
    with pytest.raises(UsageError, match=r"annotate\.kinds: none: name kinds"):
        annotate.run(asking(context, kinds=[]))
    with pytest.raises(UsageError, match=r"annotate\.makers\.teacher_image: .* refuses its parameters .*'model'"):
        annotate.run(asking(context, kinds=["propn_share", "teacher_image"]))
    with pytest.raises(InputError, match=r"no shards for recipe=default batch=b9 in .*: run jobs\.fetch_images first"):
        annotate.run(change(context, batch="b9"))
    assert not context.lake.snapshot("annotations").files
