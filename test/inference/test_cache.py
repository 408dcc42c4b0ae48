"""The cache of built files, and the processes that build them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from running_process import runs

import camss_ros
from camss_ros.inference.beside import Beside, BesideError
from camss_ros.inference.graphs import cache
from camss_ros.inference.graphs.cache import cache_directory, cache_key, cached_file
from camss_ros.source_hash import source_hash
from camss_ros.street.calibration_scenes import CalibrationScenes


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


def test_a_file_of_another_user_is_used(monkeypatch):
    """Such as of an image whose file system is read only."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    made = cached_file("a.bin", lambda path: path.write_text("content"))
    monkeypatch.setattr(os, "utime", refuse)
    assert cached_file("a.bin", Path.unlink) == made
    assert made.read_text() == "content"


def test_a_cache_that_cannot_be_written_says_which_variable_names_another(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(OSError, match=r"cannot be written\): set XDG_CACHE_HOME"):
        cached_file("a.bin", Path.touch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="set XDG_CACHE_HOME"):
        cache_directory()


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
        "from camss_ros.inference.graphs.cache import cached_file\n"
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


def test_a_key_is_a_function_of_the_metadata():
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert cache_key({"a": 1}) != cache_key({"a": 2})


def imported_by(module: str) -> set[Path]:
    """Sources of the package that a module brings in."""
    code = (
        f"import sys, {module}\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('camss_ros.') and module.__file__: print(module.__file__)\n"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    return {Path(line) for line in output.split()}


PACKAGE = Path(camss_ros.__file__).parent
STREET = PACKAGE / "street"


def test_the_key_follows_from_all_code_that_is_traced_into_a_graph(monkeypatch, tmp_path):
    traced = imported_by("camss_ros.inference.backends.build_graph")
    assert PACKAGE / "inference" / "frame_ops.py" in traced
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy)
    monkeypatch.setattr(cache, "__file__", str(copy / "inference" / "graphs" / "cache.py"))
    keys = set()
    for source in [None, *sorted(traced)]:
        if source is not None:
            with (copy / source.relative_to(PACKAGE)).open("a") as file:
                file.write("# edited\n")
        cache._code_hash.cache_clear()
        keys.add(cache_key({}))
    cache._code_hash.cache_clear()
    assert len(keys) == 1 + len(traced)


def test_the_calibration_scenes_are_named_by_all_code_that_draws_them():
    drawn = imported_by("camss_ros.street.calibration_scenes")
    assert STREET / "synthetic.py" in drawn
    # the key of everything in the cache follows from the others
    assert {path.parent for path in drawn} <= {STREET, PACKAGE, PACKAGE / "images"}
    named = STREET / "calibration_scenes.py", STREET / "synthetic.py", STREET
    assert CalibrationScenes.name.endswith(source_hash(*named))


def partial(process: int | str, age: float = 0.0) -> str:
    path = cache_directory() / f".partial-{process}-x"
    path.write_bytes(b"x" * 100)
    os.utime(path, (time.time() - age,) * 2)
    return path.name


def test_a_file_that_another_process_is_making_stays(monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 25)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    day = 24 * 3600.0
    kept = [
        partial(os.getppid(), 2 * day),
        partial(f"{ended.pid}"),  # so it seems: it may be of another container
        partial("of-somebody", 2 * day),
    ]
    abandoned = partial(f"{ended.pid}-{1}", 2 * day)
    cached_file("new", lambda path: path.write_bytes(b"x" * 10))
    assert files() == sorted([*kept, "new"])
    assert abandoned not in files()


BUILDS = """
import sys, time
from camss_ros.inference.graphs.cache import cached_file
def make(path):
    path.write_text("half")
    print("begun", flush=True)
    time.sleep(600)
cached_file("a.bin", make)
"""


@pytest.fixture
def builds(tmp_path, monkeypatch) -> str:
    """A module that writes a file of the cache, for ever."""
    (tmp_path / "builds_for_ever.py").write_text(BUILDS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    return "builds_for_ever"


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def partials() -> list[str]:
    return [name for name in files() if name.startswith(".partial")]


def test_a_builder_that_is_closed_ends_and_leaves_nothing(builds):
    builder = Beside(builds)
    wait_for(partials)
    builder.close()
    with pytest.raises(BesideError):
        builder.result()
    assert partials() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_builder_ends_with_the_process_that_it_is_for(builds, number):
    code = f"from camss_ros.inference.beside import Beside; Beside({builds!r}).result()"
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(partials)
    (name,) = partials()
    builder = Path("/proc") / name.split("-")[1]
    assert runs(builder)
    parent.send_signal(number)
    parent.wait()
    wait_for(lambda: not runs(builder))
    assert partials() == []


def test_a_builder_that_fails_says_why(tmp_path, builds):
    (tmp_path / f"{builds}.py").write_text("raise ValueError('no such size\\n\\nSee the manual.')")
    with pytest.raises(BesideError, match="no such size"):
        Beside(builds).result()


TAKES_TURNS = """
from camss_ros.inference.beside import has_turn
for number in range(3):
    with has_turn():
        open(TURNS, "a").write(f"{number} ")
print("done all")
"""


def test_a_process_beside_waits_for_its_turns(tmp_path, builds, monkeypatch):
    turns = tmp_path / "turns"
    module = TAKES_TURNS.replace("TURNS", repr(str(turns)))
    (tmp_path / f"{builds}.py").write_text(module)
    seen = []

    @contextmanager
    def turn():
        before = turns.read_text() if turns.exists() else ""
        yield
        seen.append((before, turns.read_text()))

    limits = Mock()
    monkeypatch.setattr("threading.Timer", limits)
    assert Beside(builds).result(turn) == "done all"
    assert limits.return_value.start.call_count == limits.return_value.cancel.call_count == 3
    assert seen == [("", "0 "), ("0 ", "0 1 "), ("0 1 ", "0 1 2 ")]


def test_one_that_gets_no_turn_any_more_ends(tmp_path, builds):
    (tmp_path / f"{builds}.py").write_text(TAKES_TURNS.replace("TURNS", "'/dev/null'"))

    @contextmanager
    def turn():
        raise LookupError("no model any more")
        yield

    beside = Beside(builds)
    with pytest.raises(LookupError):
        beside.result(turn)
    assert beside._process.returncode is not None
