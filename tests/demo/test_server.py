from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

import pytest

from demo.server import SiteServer, preferred_port


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.headers.get_content_type(), answer.read()


@pytest.fixture
def folder(tmp_path):
    for name in ("pictures/a.png", "slow/b.png"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(b"\x89PNG picture")
    return tmp_path


def test_files_are_served_with_their_type(folder):
    with SiteServer(folder) as server:
        assert get(f"{server.base_url}/pictures/a.png") == (200, "image/png", b"\x89PNG picture")


def test_missing_files_are_404(folder):
    with SiteServer(folder) as server, pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{server.base_url}/missing/c.png")
    assert caught.value.code == 404


def test_slow_files_are_delayed_and_do_not_block_others(folder):
    with SiteServer(folder, delay_s=0.6) as server:
        started = time.monotonic()
        answers = []
        slow = threading.Thread(
            target=lambda: answers.append((get(f"{server.base_url}/slow/b.png"), time.monotonic() - started))
        )
        slow.start()
        get(f"{server.base_url}/pictures/a.png")
        assert time.monotonic() - started < 0.5
        slow.join()
    assert answers[0][0][2] == b"\x89PNG picture"
    assert answers[0][1] >= 0.6


def test_a_port_in_use_is_replaced_by_a_free_one_with_a_line_that_says_so(folder, capsys):
    with SiteServer(folder) as first:
        port = int(first.base_url.rpartition(":")[2])
        assert not capsys.readouterr().err
        with SiteServer(folder, port) as second:
            assert second.base_url != first.base_url
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"port {port} cannot be used (Address already in use): the site is on port ")
            assert get(f"{second.base_url}/pictures/a.png")[0] == 200


def test_closing_does_not_wait_for_slow_answers(folder):
    server = SiteServer(folder, delay_s=30)
    thread = threading.Thread(target=lambda: get(f"{server.base_url}/slow/b.png"))
    thread.start()
    time.sleep(0.2)
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 5
    thread.join(5)
    assert not thread.is_alive()


def test_a_seed_always_has_the_same_port():
    assert preferred_port(7) == preferred_port(7) != preferred_port(8)
    assert 1024 < preferred_port(10**9) < 32_768
