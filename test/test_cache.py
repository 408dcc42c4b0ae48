"""The cache of built files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from camss_ros.inference import cache
from camss_ros.inference.cache import cache_directory, cache_key, cached_file


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def files() -> list[str]:
    return sorted(path.name for path in cache_directory().iterdir())


def test_a_file_is_made_once():
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("content")

    for _ in range(2):
        assert cached_file("a.bin", make).read_text() == "content"
    assert len(made) == 1
    assert files() == ["a.bin"]


def test_a_failure_leaves_nothing():
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached_file("a.bin", fail)
    assert files() == []


def test_a_process_that_is_killed_meanwhile_leaves_no_file_of_that_name():
    code = (
        "import os, signal\n"
        "from camss_ros.inference.cache import cached_file\n"
        "def make(path):\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached_file('a.bin', make)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert "a.bin" not in files()
    assert cached_file("a.bin", lambda path: path.write_text("whole")).read_text() == "whole"


def test_the_files_not_used_for_longest_make_room(monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 25)
    for age, name in ((30, "old"), (20, "used"), (10, "new")):
        path = cached_file(name, lambda path: path.write_bytes(b"x" * 10))
        os.utime(path, (1e9 - age, 1e9 - age))
        if name == "used":
            os.utime(cache_directory() / "old", (1e9 - 30, 1e9 - 30))
    cached_file("used", lambda path: path.unlink())  # is there: touched only
    cached_file("newest", lambda path: path.write_bytes(b"x" * 10))
    assert files() == ["newest", "used"]


def test_a_key_is_a_function_of_the_facts():
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert cache_key({"a": 1}) != cache_key({"a": 2})
