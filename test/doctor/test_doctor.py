"""`camss-ros doctor` where something is broken, and where nothing is.

A broken package is a stand-in that the processes of the checks find before the real one.
"""

import fcntl
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.doctor import examine, golden, model, ros, software
from camss_ros.doctor.finding import Finding
from camss_ros.doctor.model import check_cache, check_golden, check_weights
from camss_ros.doctor.ros import check_ros, check_ros_packages
from camss_ros.doctor.software import check_pytorch, check_runtimes
from camss_ros.nodes.harness import child_process


def by_check(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts the text of a module before what is installed under its name."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))

    def install(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)

    return install


def is_missing(name: str) -> str:
    return f"raise ModuleNotFoundError(\"No module named '{name}'\")"


def test_a_package_that_is_missing_is_named(monkeypatch):
    assert by_check(software.check_python())["packages"].level == "OK"
    others = {"safetensors": "1", "PyYAML": "6"}
    monkeypatch.setattr(software, "versions", lambda *names: others)
    found = by_check(software.check_python())["packages"]
    assert found.level == "WARN"
    assert found.text.startswith("safetensors 1, PyYAML 6; not installed: diffusers, ")
    assert found.advice == "pip install diffusers huggingface_hub Pillow av rich"


def test_without_rclpy_the_node_would_not_work(stand_in):
    stand_in("rclpy", is_missing("rclpy"))
    found = by_check(check_ros())
    assert found["rclpy"].level == "FAIL"
    assert "No module named 'rclpy'" in found["rclpy"].text
    assert "source /opt/ros" in found["rclpy"].advice
    assert found["node"].level == "FAIL"


def test_what_pytorch_lacks_is_what_is_to_be_installed(stand_in):
    stand_in("numpy", is_missing("numpy"))
    assert by_check(check_pytorch())["PyTorch"].advice == "pip install numpy"
    stand_in("torch", is_missing("torch"))
    assert by_check(check_pytorch())["PyTorch"].advice.startswith("pip install torch")
    assert by_check(software.check_numpy())["NumPy"].advice == "pip install numpy"


def test_a_ros_that_is_there_and_does_not_start_need_not_be_installed(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    found = by_check(check_ros())["rclpy"]
    assert found.level == "FAIL"
    assert "not an integral number" in found.text
    assert "ROS_DOMAIN_ID" in found.advice
    assert "source" not in found.advice


def test_a_user_without_a_home_is_told_all_the_same(monkeypatch):
    def unknown(_: int):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    (finding,) = check_cache()
    assert finding.level == "WARN"
    assert "home directory" in finding.text


def test_a_cv_bridge_for_another_numpy_is_one_that_the_node_does_without(stand_in):
    stand_in("cv_bridge", "import os; os.kill(os.getpid(), 11)")
    stand_in("vision_msgs", "raise ImportError('numpy.core.multiarray failed to import')")
    found = by_check(check_ros_packages())
    assert found["cv_bridge"].level == "WARN"
    assert "SIGSEGV" in found["cv_bridge"].text
    assert 'pip install "numpy<2"' in found["cv_bridge"].advice
    assert found["vision_msgs"].level == "WARN"
    assert "multiarray failed to import" in found["vision_msgs"].text


def test_a_graph_runtime_that_crashes_is_left_out(stand_in):
    stand_in("onnxruntime", "import os; os.abort()")
    stand_in("openvino", is_missing("openvino"))
    usable = None

    def findings() -> Iterator[Finding]:
        nonlocal usable
        usable = yield from check_runtimes(gpu=False)

    checks = by_check(findings())
    assert usable == []
    assert checks["ONNX Runtime"].level == "WARN"
    assert "SIGABRT" in checks["ONNX Runtime"].text
    assert checks["OpenVINO"].advice.startswith("pip install onnx openvino")
    assert checks["TensorRT"].level == "OK"  # of no use without a GPU


def test_a_gpu_that_pytorch_is_not_built_for(tmp_path, monkeypatch):
    driver = tmp_path / "version"
    driver.write_text("NVRM version: 570.1\nGCC version: 12\n")
    monkeypatch.setattr(software, "_DRIVERS", (tmp_path / "none", driver))
    facts = {"version": "2.13.0", "cuda": None, "threads": 2, "precision": "bfloat16", "gpus": []}
    monkeypatch.setattr(software, "ask", lambda name: facts)
    found = by_check(check_pytorch())
    assert found["GPU"].level == "WARN"
    assert "NVRM version: 570.1" in found["GPU"].text
    assert "CUDA build" in found["GPU"].advice
    facts["cuda"] = "13.0"
    assert "new enough for CUDA 13.0" in by_check(check_pytorch())["GPU"].advice


def test_without_a_driver_the_cpu_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr(software, "_DRIVERS", (tmp_path / "none",))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = by_check(check_pytorch())
    assert found["GPU"].level == "OK"
    assert found["precision"].text in ("auto is bfloat16 on the CPU", "auto is float32 on the CPU")


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (finding,) = check_cache()
    assert finding.level == "WARN"
    assert "XDG_CACHE_HOME" in finding.advice

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert next(check_cache()).level == "OK"
    monkeypatch.setattr(model, "_LOW_DISK", float("inf"))
    assert next(check_cache()).level == "WARN"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"damaged", "expected " + golden.golden_weights()),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (None, "cannot be read"),
    ],
)
def test_damaged_weights(content, said, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(golden, "WEIGHTS", path)
    (finding,) = check_weights()
    assert finding.level == "FAIL"
    assert said in finding.text


def test_the_record_is_of_the_bundled_weights():
    (finding,) = check_weights()
    assert finding.level == "OK", "make it again: python -m camss_ros.doctor.golden"


def test_pytorch_gives_the_golden_labels():
    findings = list(check_golden(["torch"]))
    assert findings
    assert {finding.level for finding in findings} == {"OK"}, findings


def test_wrong_labels_count_for_pytorch_alone(monkeypatch):
    rows = [{"precision": "fp32", "agreement": 0.5, "ms": 1.0}, {"precision": "bf16", "error": "x"}]
    monkeypatch.setattr(model, "ask", lambda name, backend: rows)
    assert [finding.level for finding in check_golden(["torch"])] == ["FAIL", "FAIL"]
    assert [finding.level for finding in check_golden(["openvino"])] == ["WARN", "WARN"]


@pytest.mark.parametrize(
    ("rmw", "variable", "buffer", "levels"),
    [
        ("rmw_fastrtps_cpp", "FASTDDS_DEFAULT_PROFILES_FILE", 212_992, ("OK", "OK")),
        ("rmw_cyclonedds_cpp", "CYCLONEDDS_URI", 212_992, ("OK", "WARN")),
        ("rmw_cyclonedds_cpp", "CYCLONEDDS_URI", 67_108_864, ("OK", "OK")),
    ],
)
def test_large_images(rmw, variable, buffer, levels, tmp_path, monkeypatch):
    limit = tmp_path / "rmem_max"
    limit.write_text(f"{buffer}\n")
    monkeypatch.setattr(ros, "_RECEIVE_BUFFER", limit)
    monkeypatch.setattr(ros, "ask", lambda *probe: {"rmw": rmw})
    monkeypatch.delenv("ROS_DISTRO", raising=False)

    monkeypatch.delenv(variable, raising=False)
    missing = by_check(check_ros())["DDS profile"]
    assert missing.level == "WARN"
    assert f"export {variable}=" in missing.advice
    monkeypatch.setenv(variable, "/nowhere.xml")
    assert by_check(check_ros())["DDS profile"].text == "/nowhere.xml is not there"
    monkeypatch.setenv(variable, str(limit))
    found = by_check(check_ros())
    assert (found["DDS profile"].level, found["socket buffers"].level) == levels


def test_queues_that_killed_processes_left(tmp_path, monkeypatch):
    monkeypatch.setattr(child_process, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(ros, "ask", lambda *probe: {"rmw": "rmw_fastrtps_cpp"})
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(tmp_path))
    monkeypatch.setenv("ROS_DOMAIN_ID", "1")
    sizes = {"port7661": 52_400, "port7663": 206_000, "port7665": 52_400, "port7411": 52_400}
    for name, size in sizes.items():
        (tmp_path / f"fastdds_{name}").write_bytes(bytes(size))
    with (tmp_path / "fastdds_port7665_el").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        finding = by_check(check_ros())["leftover queues"]
        assert finding.level == "WARN"
        assert finding.text.endswith(f": {tmp_path}/fastdds_port7661")
    (tmp_path / "fastdds_port7661").unlink()
    (tmp_path / "fastdds_port7665").unlink()
    assert "leftover queues" not in by_check(check_ros())


def test_a_container_that_does_not_see_the_buffers_of_its_host(tmp_path, monkeypatch):
    monkeypatch.setattr(ros, "_RECEIVE_BUFFER", tmp_path / "gone")
    monkeypatch.setattr(ros, "ask", lambda *probe: {"rmw": "rmw_fastrtps_cpp"})
    found = by_check(check_ros())
    assert "DDS profile" in found
    assert found["socket buffers"].level == "OK"
    assert "on the host" in found["socket buffers"].text


def test_exit_code_and_json_say_whether_the_node_would_work(monkeypatch):
    findings = [Finding("one", "OK", f"at {Path.home()}/x"), Finding("two", "WARN", "bad", "do")]
    monkeypatch.setattr(examine, "examine", lambda: iter(findings))

    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["doctor", *options])
        return result.exit_code, result.stdout

    code, text = run()
    assert code == 0
    assert "OK   one: at ~/x" in text
    assert "-> do" in text
    findings.append(Finding("three", "FAIL", "broken"))
    code, text = run("--json")
    assert code == 1
    content: dict[str, Any] = json.loads(text)
    assert content["works"] is False
    assert content["findings"][1] == {
        "check": "two", "level": "WARN", "text": "bad", "advice": "do",
    }  # fmt: skip


def test_nothing_that_is_broken_ends_it(stand_in):
    """Without NumPy hardly anything can be imported: all checks are there nevertheless."""
    stand_in("numpy", "raise ImportError('no such file: libblas.so')")
    done = subprocess.run(
        [sys.executable, "-m", "camss_ros.cli", "doctor", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert {"Python", "rclpy", "cv_bridge", "cache", "bundled model"} < set(findings)
    for check in ("NumPy", "PyTorch", "node", "golden frame, torch"):
        assert findings[check]["level"] == "FAIL"
        assert "libblas.so" in findings[check]["text"]
