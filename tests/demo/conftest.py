from __future__ import annotations

import pytest

from demo.world import write_world

BASE_URL = "http://127.0.0.1:18999"


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Generate a world of 900 pictures with seed 3."""
    folder = tmp_path_factory.mktemp("world") / "a"
    write_world(folder, 3, BASE_URL, pictures=900)
    return folder
