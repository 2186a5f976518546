from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from curation.errors import InputError, UsageError
from support.encoders import stub_encoder
from support.shards import draw
from training.evaluation import embed
from training.evaluation.labeled_images import embed_labeled, labeled_images
from training.evaluation.stored_rows import Columns

LABELS = ["cat", "dog", "eel"]
IMAGES = [draw(n)[0] for n in range(7)]


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def layouts(tmp_path) -> dict[str, str]:
    """The same images and labels in every layout, in the order of the labels."""
    order = sorted(range(7), key=lambda n: LABELS[n % 3])
    rows = []
    for n in order:
        file = tmp_path / "folders" / LABELS[n % 3] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(IMAGES[n])
        rows.append({"image": f"folders/{LABELS[n % 3]}/{n}.png", "label": LABELS[n % 3]})
    (tmp_path / "folders" / "notes.txt").write_text("no image")
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    labels = [LABELS[n % 3] for n in order]
    pq.write_table(pa.table({"image": [IMAGES[n] for n in order], "label": labels}), tmp_path / "rows.parquet")
    structs = [{"bytes": IMAGES[n], "path": None} for n in order]  # as the package `datasets` writes images
    (tmp_path / "parts").mkdir()
    for part, rows_of_part in (("0", slice(0, 4)), ("1", slice(4, 7))):
        table = pa.table({"image": structs[rows_of_part], "label": labels[rows_of_part]})
        pq.write_table(table, tmp_path / "parts" / f"{part}.parquet")
    members = {}
    for n in order:
        members |= {f"s{n}.png": IMAGES[n], f"s{n}.cls": f"{LABELS[n % 3]}\n".encode()}
    write_tar(tmp_path / "0.tar", members)
    members = {}
    for n in order:
        members |= {f"a/{n}.json": json.dumps({"label": LABELS[n % 3]}).encode(), f"a/{n}.PNG": IMAGES[n]}
    write_tar(tmp_path / "json.tar", members | {"b.cls": b"a label without an image"})
    names = ("folders", "labels.jsonl", "rows.parquet", "parts", "part*/*.parquet", "0.tar", "json.tar")
    return {name: str(tmp_path / name) for name in names}


def read(path: str, **columns) -> list[tuple[bytes, str]]:
    found = labeled_images(path, Columns(**columns))
    return [(image.read_bytes() if isinstance(image, Path) else image.data, label) for image, label in found]


def test_every_layout_gives_the_same_images_and_labels(layouts):
    expected = [(IMAGES[n], LABELS[n % 3]) for n in sorted(range(7), key=lambda n: LABELS[n % 3])]
    for path in layouts.values():
        assert read(path) == expected, path


def test_folders_are_numbered_in_the_order_of_their_names_as_in_imagenet(layouts):
    by_index = [label for _, label in labeled_images(layouts["folders"], Columns(), by_index=True)]
    assert by_index == list("0001122")


def test_images_are_embedded_in_batches_of_any_size(layouts, monkeypatch):
    whole = embed_labeled(stub_encoder(), labeled_images(layouts["0.tar"], Columns()))
    assert whole.labels == [LABELS[n % 3] for n in sorted(range(7), key=lambda n: LABELS[n % 3])]
    monkeypatch.setattr(embed, "EMBED_BATCH", 2)
    parts = embed_labeled(stub_encoder(), labeled_images(layouts["0.tar"], Columns()))
    assert torch.equal(whole.embeddings, parts.embeddings)
    assert whole.labels == parts.labels


def test_bad_input_is_named_in_the_error(tmp_path, layouts):
    labels = tmp_path / "bad.jsonl"
    labels.write_text('{"image": "0.png", "label": "red"}\n{"image": "1.png"}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl line 2: expected \{'image': path, 'label': class\}"):
        list(labeled_images(str(labels), Columns()))
    labels.write_text("\n")
    with pytest.raises(InputError, match="lists no images"):
        read(str(labels))
    with pytest.raises(UsageError, match=r"label_column: .* has no column 'cls': choose one of image, label"):
        read(layouts["rows.parquet"], label="cls")
    with pytest.raises(UsageError, match=r"images: .*nowhere is no labels\.jsonl, folder, Parquet file or tar"):
        read(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"json\.tar#a/0\.PNG: no label"):
        read(layouts["json.tar"], label="class")
    with pytest.raises(InputError, match="has Parquet files and tars"):
        read(str(tmp_path / "*.*"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no folders with images"):
        read(str(tmp_path / "empty"))
    damaged = write_tar(tmp_path / "damaged.tar", {"a.png": IMAGES[0], "a.cls": b"cat"})
    damaged.write_bytes(damaged.read_bytes()[:700])
    with pytest.raises(InputError, match=r"cannot read .*damaged\.tar"):
        read(str(damaged))
    pq.write_table(pa.table({"image": pa.array([None], pa.binary()), "label": ["cat"]}), tmp_path / "null.parquet")
    with pytest.raises(InputError, match=r"null\.parquet row 0: no image bytes in the column 'image'"):
        read(str(tmp_path / "null.parquet"))


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    write_tar(tmp_path / "bad.tar", {"a.png": b"no picture", "a.cls": b"cat"})
    with pytest.raises(InputError, match=r"bad\.tar#a\.png: the image cannot be decoded"):
        embed_labeled(stub_encoder(), labeled_images(str(tmp_path / "bad.tar"), Columns()))
    (tmp_path / "l.jsonl").write_text('{"image": "none.png", "label": "red"}')
    with pytest.raises(InputError, match=r"cannot read .*none\.png: No such file"):
        embed_labeled(stub_encoder(), labeled_images(str(tmp_path / "l.jsonl"), Columns()))
