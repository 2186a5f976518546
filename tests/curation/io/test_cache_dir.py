from __future__ import annotations

from curation.io.cache_dir import cache_folder


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDCURATE_CACHE", "/here")
    assert str(cache_folder()) == "/here"
    monkeypatch.delenv("WORLDCURATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert str(cache_folder()) == "/there/worldcurate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "worldcurate"
