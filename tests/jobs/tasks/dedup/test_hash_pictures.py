"""Pictures that cannot be decoded are counted, and the others hashed."""

from __future__ import annotations

from curation.images.decode import ImageLimits, verify
from curation.io.storage import Storage
from jobs.tasks.dedup import hash_pictures
from jobs.tasks.dedup.hash_pictures import HashPictures, PictureFile
from support.scenes import encoded, scene


def test_a_picture_for_which_there_is_no_memory_does_not_cost_the_others(tmp_path, monkeypatch):
    large = encoded(scene(seed=1), "PNG")

    def verify_small(data: bytes, limits: ImageLimits):
        if data == large:
            raise MemoryError
        return verify(data, limits)

    monkeypatch.setattr(hash_pictures, "verify", verify_small)
    files = {"large.png": large, "broken.png": b"no picture", "small.png": encoded(scene(seed=2), "PNG")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    task = HashPictures(Storage(), ImageLimits(), "image")
    hashed = task(0, [PictureFile(str(tmp_path / name), name) for name in files])
    assert [name for name, *_ in hashed.rows] == ["small.png"]
    assert hashed.failed == {"out_of_memory": 1, "not_an_image": 1}
