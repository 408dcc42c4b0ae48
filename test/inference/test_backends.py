"""Runtimes of exported graphs give what PyTorch gives."""

import dataclasses
import functools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from camss_ros import extras
from camss_ros.inference.backends import graph_backend
from camss_ros.inference.backends.base import BackendUnavailableError
from camss_ros.inference.backends.build_graph import from_cache
from camss_ros.inference.backends.frame_graphs import capturing
from camss_ros.inference.backends.open_runtime import open_runtime
from camss_ros.inference.graphs.export import ExportError
from camss_ros.inference.segmenter import FrameRequest, SegmentationCancelled, Segmenter
from camss_ros.inference.segmenter_group import SegmenterGroup
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.model.schedule import SamplingOptions

GRAPHS = ["onnxruntime", "openvino"]
NOISY = SamplingOptions(steps=3, sampler="ddpm", temperature=0.8, samples=2)


def frame(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(params=GRAPHS)
def backend(request) -> str:
    pytest.importorskip("onnx")
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def open_segmenter(model):
    opened = []

    def open_one(**arguments) -> Segmenter:
        opened.append(Segmenter(model, device="cpu", precision="fp32", **arguments))
        return opened[-1]

    yield open_one
    for segmenter in opened:
        segmenter.close()


def agreement(one, other) -> float:
    return float((one.labels == other.labels).mean())


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_group_gives_what_one_segmenter_gives(two_threads, open_segmenter, model):
    pytest.importorskip("openvino")
    sampling = SamplingOptions(steps=2, temperature=1.0)
    spec = SegmenterSpec(model, sampling, device="cpu", backend="openvino", precision="fp32")
    alone = open_segmenter(sampling=sampling, backend="openvino")
    images = [np.roll(frame(), place, axis=1) for place in range(12)]
    group = SegmenterGroup(spec)
    try:
        assert (group.at_a_time, torch.get_num_threads()) == (2, 1)
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(group.segment, images))
    finally:
        group.close()
    assert torch.get_num_threads() == 2
    for image, result in zip(images, found, strict=True):
        expected = alone.segment(image)
        assert (result.labels == expected.labels).all()
        assert (result.confidence == expected.confidence).all()


@pytest.mark.parametrize("changed", [{"backend": "torch"}, {"keyframe_interval": 2}, {"warm": 300}])
def test_frames_that_follow_each_other_have_one_segmenter(two_threads, model, changed):
    pytest.importorskip("openvino")
    warm = changed.pop("warm", 0)
    # whose graphs other tests have built
    sampling = SamplingOptions(1 if warm else 2, warm_start_time=warm, temperature=1.0)
    given = {"device": "cpu", "backend": "openvino", "precision": "fp32", **changed}
    group = SegmenterGroup(SegmenterSpec(model, sampling, **given))
    assert (group.at_a_time, torch.get_num_threads()) == (1, 2)
    with pytest.raises(ValueError, match="expected an RGB image"):
        group.segment(frame()[..., 0])
    assert group.segment(frame()).labels.shape == (40, 56)  # it is free again
    group.close()


def test_a_group_that_cannot_be_opened_leaves_the_threads_to_others(
    two_threads, model, monkeypatch
):
    pytest.importorskip("openvino")
    monkeypatch.setattr(Segmenter, "prepare", Mock(side_effect=ExportError("no room")))
    spec = SegmenterSpec(model, device="cpu", backend="openvino", precision="fp32")
    with pytest.raises(ExportError, match="no room"):
        SegmenterGroup(spec)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("name", "count"), [("torch", 0), ("compile", 1), ("onnxruntime", 1), ("openvino", 1)]
)
def test_a_group_builds_in_the_thread_that_opens_it(model, monkeypatch, name, count):
    """Ctrl-C ends that one alone: others are waited for."""
    if name != "compile":
        pytest.importorskip(name)
    threads: list[threading.Thread] = []
    monkeypatch.setattr(Segmenter, "prepare", lambda *_: threads.append(threading.current_thread()))
    spec = SegmenterSpec(model, device="cpu", backend=name, precision="fp32")
    SegmenterGroup(spec).close()
    assert threads == [threading.current_thread()] * count


@pytest.mark.parametrize("sampling", [SamplingOptions(steps=2), NOISY])
def test_labels_and_confidence_are_those_of_torch(open_segmenter, backend, sampling):
    expected = open_segmenter(sampling=sampling, seed=5).segment(frame())
    segmenter = open_segmenter(sampling=sampling, seed=5, backend=backend)
    result = segmenter.segment(frame())
    assert agreement(result, expected) > 0.999
    assert np.abs(result.confidence.astype(int) - expected.confidence).max() <= 1
    assert list(result.timings) == ["preprocess", "network", "postprocess", "total"]
    assert (segmenter.backend, segmenter.dtype) == (backend, torch.float32)


def test_another_number_of_steps_is_segmented_by_torch_until_its_graph_is_built(
    open_segmenter, backend
):
    segmenter = open_segmenter(backend=backend)
    segmenter.segment(frame())
    segmenter.sampling = SamplingOptions(steps=2)
    expected = open_segmenter(sampling=segmenter.sampling).segment(frame())
    at_once = segmenter.segment(frame())
    assert "tokens" in at_once.timings
    assert np.array_equal(at_once.labels, expected.labels)
    end = time.monotonic() + 300
    while "network" not in (later := segmenter.segment(frame())).timings:
        assert time.monotonic() < end, "the graph was not built"
        time.sleep(0.05)
    assert agreement(later, expected) > 0.999
    segmenter.sampling = SamplingOptions()
    assert "network" in segmenter.segment(frame()).timings


def test_a_graph_that_cannot_be_built_leaves_the_work_to_torch(
    open_segmenter, backend, monkeypatch, caplog
):
    segmenter = open_segmenter(backend=backend)
    segmenter.warm_up(40, 56)

    def fail(*_):
        raise ExportError("no such operation")

    monkeypatch.setattr(graph_backend.GraphBackend, "_export_beside", fail)
    segmenter.sampling = SamplingOptions(steps=7)
    with caplog.at_level(logging.WARNING, "camss_ros"):
        segmenter.segment(frame())
        segmenter._backend._building.result()
        for _ in range(3):
            assert "tokens" in segmenter.segment(frame()).timings
    assert [record.message.endswith("no such operation") for record in caplog.records] == [True]


def test_a_damaged_file_in_the_cache_is_made_again(open_segmenter, caplog):
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    from camss_ros.inference.graphs.cache import cache_directory

    sampling = SamplingOptions(steps=2)
    expected = open_segmenter(backend="openvino", sampling=sampling).segment(frame())
    blobs = list(cache_directory().glob("openvino-*.blob"))
    for damaged in (blobs, [*blobs, *cache_directory().glob("graph-*.onnx")]):
        for path in damaged:
            path.write_bytes(path.read_bytes()[:100])
        caplog.clear()
        again = open_segmenter(backend="openvino", sampling=sampling).segment(frame())
        assert np.array_equal(again.labels, expected.labels)
        told = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert ["is made again" in each for each in told] == [True] * (1 + (damaged != blobs))


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_graph_in_the_cache_is_exported_again(
    open_segmenter, caplog, monkeypatch, tmp_path, content
):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = open_segmenter(backend="onnxruntime").segment(frame())
    [path] = (tmp_path / "camss_ros").glob("graph-*.onnx")
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    again = open_segmenter(backend="onnxruntime").segment(frame())
    assert np.array_equal(again.labels, expected.labels)
    [told] = caplog.messages
    assert f"{path} cannot be used (" in told
    assert told.endswith("is made again")


@pytest.mark.parametrize("error", [MemoryError(), BackendUnavailableError("no driver")])
def test_a_graph_that_is_no_cause_of_an_error_stays_in_the_cache(tmp_path, error):
    path = tmp_path / "graph.onnx"
    path.touch()
    with pytest.raises(type(error)):
        from_cache(lambda: path, Mock(side_effect=error))
    assert path.exists()


def test_prepared_options_and_sizes_are_graphs_at_once(open_segmenter, backend):
    segmenter, eager = open_segmenter(backend=backend), open_segmenter()
    segmenter.warm_up(40, 56)
    other = sampling, size = SamplingOptions(steps=1), (32, 32)
    assert segmenter.is_prepared(segmenter.sampling, segmenter.input_size)
    assert not segmenter.is_prepared(*other)
    segmenter.prepare(*other)
    assert segmenter.is_prepared(*other)
    request = FrameRequest(frame(), sampling=sampling, network_size=size)
    (result,), (expected,) = (each.segment_batch([request]) for each in (segmenter, eager))
    assert "network" in result.timings
    assert agreement(result, expected) > 0.999


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_warm_start_is_that_of_torch(open_segmenter, backend, temperature):
    sampling = SamplingOptions(steps=1, warm_start_time=300, temperature=temperature)
    segmenter = open_segmenter(backend=backend, sampling=sampling)
    expected = open_segmenter(sampling=sampling)
    segmenter.warm_up(40, 56)
    moved = frame()
    moved[:16, :24] ^= 64  # for some tokens
    for number, image in enumerate((frame(), moved, moved)):
        result = segmenter.segment(image)
        assert result.warm == (number > 0)
        assert "network" in result.timings
        assert agreement(result, expected.segment(image)) > 0.999


def test_iterative_decoding_is_torchs(open_segmenter, backend):
    sampling = dataclasses.replace(SamplingOptions(), iterations=2)
    segmenter = open_segmenter(backend=backend, sampling=sampling)
    segmenter.warm_up(40, 56)
    assert "sampling" in segmenter.segment(frame()).timings


def test_a_frame_can_be_given_up_before_the_graph_runs(open_segmenter, backend):
    segmenter = open_segmenter(backend=backend)
    with pytest.raises(SegmentationCancelled):
        segmenter.segment(frame(), cancelled=lambda: True)
    assert segmenter.segment(frame()).labels.shape == (40, 56)


def test_openvino_in_bfloat16_agrees_on_nearly_all_pixels(open_segmenter, model):
    pytest.importorskip("openvino")
    try:
        segmenter = Segmenter(model, device="cpu", backend="openvino", precision="bf16")
    except ValueError as error:
        pytest.skip(str(error))
    assert agreement(segmenter.segment(frame()), open_segmenter().segment(frame())) > 0.95
    segmenter.close()


@pytest.mark.parametrize(
    "script",
    [
        'open_runtime("openvino", torch.device("cpu"), "fp32")',
        "quantize._import_nncf()",
    ],
)
def test_nobody_is_told_that_it_is_used(tmp_path, script):
    pytest.importorskip("nncf")
    script = f"""if True:
        import sys, torch
        from camss_ros.inference.backends.open_runtime import open_runtime
        from camss_ros.inference.graphs import quantize
        asked = []
        sys.addaudithook(lambda event, _: event == "socket.getaddrinfo" and asked.append(event))
        {script}
        sys.exit(bool(asked))
    """
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)  # where it would tell nothing
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert not (tmp_path / "intel").exists()  # the number that tells this user from others


@pytest.mark.parametrize("name", [*GRAPHS, "tensorrt"])
def test_a_missing_package_is_named(model, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError, match=r"pip install|CUDA GPU"):
        Segmenter(model, device="cpu", backend=name)


@pytest.mark.parametrize(
    ("numpy", "command"),
    [("1.26.4", 'pip install onnx openvino "numpy<2"'), ("2.4.0", "pip install onnx openvino")],
)
def test_what_installs_it_keeps_the_numpy_of_a_ros_installation(model, monkeypatch, numpy, command):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(extras, "version", lambda _: numpy)
    with pytest.raises(BackendUnavailableError) as error:
        Segmenter(model, device="cpu", backend="openvino")
    assert str(error.value).endswith(command)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("onnxruntime", "bf16", "fp32 on a CPU"),
        ("openvino", "fp16", "fp32, bf16 or int8"),
        ("tensorrt", "fp16", "CUDA GPU"),
        ("caffe", "fp32", "backend must be one of"),
    ],
)
def test_what_a_backend_does_not_have_is_refused(model, backend, precision, message):
    if backend in GRAPHS:
        pytest.importorskip(backend)
    with pytest.raises(ValueError, match=message):
        Segmenter(model, device="cpu", backend=backend, precision=precision)


def test_compiled_stages_give_the_same(open_segmenter, monkeypatch):
    """Captured by torch.compile, run without its code generator, which takes a minute."""
    compile_stage = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_stage(f, backend="eager"))
    expected = open_segmenter().segment(frame())
    segmenter = open_segmenter(backend="compile")
    segmenter.warm_up(40, 56)
    assert agreement(segmenter.segment(frame()), expected) > 0.999
    segmenter.sampling = SamplingOptions(steps=2)
    assert segmenter.segment(frame()).steps == 2


@pytest.mark.parametrize("warmed_up", [True, False])
def test_where_compiling_fails_the_network_runs_eagerly_with_one_warning(
    open_segmenter, monkeypatch, caplog, warmed_up
):
    def fail(*_):
        raise RuntimeError("no C++ compiler\nand so on")

    monkeypatch.setattr(
        torch, "compile", lambda f, **_: f if isinstance(f, torch.nn.Module) else fail
    )
    expected = open_segmenter().segment(frame())
    segmenter = open_segmenter(backend="compile")
    with caplog.at_level(logging.WARNING, "camss_ros"):
        if warmed_up:
            segmenter.warm_up(40, 56)
        result = segmenter.segment(frame())
        segmenter.segment(frame())
    assert np.array_equal(result.labels, expected.labels)
    (record,) = caplog.records
    assert "no C++ compiler" in record.message


def test_a_lack_of_memory_is_not_taken_for_a_compiler_that_fails(open_segmenter, monkeypatch):
    compiled, room = [], 48 * 32

    def compiled_stage(stage, **_):
        def run(given, *others):
            compiled.append(given.shape)
            if given.shape[-2:].numel() > room and given.shape[1] == 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return stage(given, *others)

        return stage if isinstance(stage, torch.nn.Module) else run

    monkeypatch.setattr(torch, "compile", compiled_stage)
    segmenter = open_segmenter(backend="compile")
    segmenter.segment(frame())
    with pytest.raises(torch.cuda.OutOfMemoryError):
        segmenter.segment_batch([FrameRequest(frame(), network_size=(320, 480))])
    compiled.clear()
    segmenter.segment(frame())
    assert len(compiled) == 3


def test_no_frame_is_captured_while_it_compiles(open_segmenter, monkeypatch):
    held = []

    def compiled(stage, **_):
        if isinstance(stage, torch.nn.Module):
            return stage
        return lambda *given: held.append(capturing.locked()) or stage(*given)

    monkeypatch.setattr(torch, "compile", compiled)
    segmenter = open_segmenter(backend="compile")
    segmenter.prepare(segmenter.sampling, segmenter.input_size)
    assert held == [True] * 3
    segmenter.segment(frame())
    assert held[3:] == [False] * 3


def test_looking_for_drift_compiles_nothing(open_segmenter, monkeypatch):
    monkeypatch.setattr(
        torch, "compile", lambda f, **_: f if isinstance(f, torch.nn.Module) else pytest.fail
    )
    segmenter = open_segmenter(backend="compile")
    expected = open_segmenter().pooled_tokens(frame())
    assert np.array_equal(segmenter.pooled_tokens(frame()), expected)


def fake_tensorrt(version, flags):
    flag = SimpleNamespace(**dict.fromkeys(flags))
    logger = Mock(WARNING=2)
    return SimpleNamespace(__version__=version, BuilderFlag=flag, Logger=logger)


def test_a_tensorrt_without_half_precision_says_what_to_do(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.0.0", []))
    assert open_runtime("tensorrt", gpu, "fp32").dtype == torch.float32
    for precision in ("auto", "fp16", "bf16"):
        with pytest.raises(BackendUnavailableError, match=r"11\.0\.0 .*tensorrt<11"):
            open_runtime("tensorrt", gpu, precision)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("10.3.0", ["FP16", "BF16"]))
    assert open_runtime("tensorrt", gpu, "auto").dtype == torch.float16


def test_tensorrt_runs_between_operations_of_the_current_stream(tmp_path, monkeypatch):
    """In a stream of its own: with the default one it waits for the GPU at every frame."""
    log = []

    class Stream:
        cuda_stream = 7

        def __init__(self, device):
            self.name = "current" if device == "current" else "own"

        def wait_stream(self, other):
            log.append(f"{self.name} after {other.name}")

    engine = Mock(num_io_tensors=0)
    context = engine.create_execution_context.return_value
    context.execute_async_v3.side_effect = lambda stream: log.append(stream) or True
    tensorrt = fake_tensorrt("10.3.0", ["FP16"])
    tensorrt.Runtime = lambda _: Mock(deserialize_cuda_engine=lambda _: engine)
    tensorrt.TensorIOMode = SimpleNamespace(OUTPUT=1)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream("current"))
    file = tmp_path / "tiny.engine"
    file.touch()
    runtime = open_runtime("tensorrt", torch.device("cuda", 0), "fp16")
    assert runtime.load(file)({}) == ()
    assert log == ["own after current", 7, "current after own"]


@pytest.mark.parametrize(("precision", "started"), [("fp32", ()), ("fp16", ("CUDA",))])
def test_a_provider_that_does_not_start_is_no_cpu_for_it(tmp_path, monkeypatch, precision, started):
    """onnxruntime goes on without: its libraries are of another CUDA than PyTorch's, say."""
    names = [f"{name}ExecutionProvider" for name in (*started, "CPU")]
    module = Mock(
        __version__="1.30.0",
        get_available_providers=lambda: [
            f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")
        ],
        InferenceSession=lambda *_, **__: Mock(get_providers=lambda: names),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    runtime = open_runtime("onnxruntime", torch.device("cuda", 0), precision)
    missing = "Tensorrt" if started else "CUDA"
    with pytest.raises(BackendUnavailableError, match=rf"1\.30\.0 cannot start {missing}Exec"):
        runtime.load(tmp_path / "tiny.onnx")


def test_what_is_compiled_is_kept_below_our_cache(tmp_path, monkeypatch):
    from camss_ros.inference import compile_cache

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu = torch.device("cpu")

    def folder(**changed):
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        for name, value in changed.items():
            monkeypatch.setattr(compile_cache, name, value)
        return compile_cache.use_compile_cache(cpu)

    here = folder()
    assert here.parent == tmp_path / "camss_ros"
    assert folder() == here
    other_card = folder(describe_processor=lambda _: "another card")
    other_version = folder(versions=lambda *_: {"torch": "9"})
    assert len({here, other_card, other_version}) == 3
    # importing parts of PyTorch sets it to a folder that a restart of the machine clears
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_user")
    assert compile_cache.use_compile_cache(cpu) == other_version
    # the user has the last word
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    assert compile_cache.use_compile_cache(cpu) == tmp_path / "mine"


def test_where_nothing_can_be_kept_pytorch_compiles_in_its_own_place(tmp_path, monkeypatch, caplog):
    from camss_ros.inference import compile_cache

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_user")
    folder = compile_cache.use_compile_cache(torch.device("cpu"))
    assert str(folder) == os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/tmp/torchinductor_user"
    assert "set XDG_CACHE_HOME" in caplog.text


def test_compiling_is_told_of_with_its_time_and_without_dynamos_warnings(
    open_segmenter, monkeypatch, caplog, recwarn
):
    compile_stage = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_stage(f, backend="eager"))
    segmenter = open_segmenter(backend="compile")
    with caplog.at_level(logging.INFO, "camss_ros"):
        segmenter.warm_up(40, 56)
        segmenter.warm_up(40, 56)
    first, last = [record.message for record in caplog.records]
    assert first.startswith("compiling the network for 48 x 32: ")
    assert last.startswith("compiled in ")
    kept = functools.lru_cache(lambda: 3)  # as diffusers has
    assert torch.compile(lambda x: x + kept())(torch.ones(1)) == 4
    assert [str(each.message) for each in recwarn if "lru_cache" in str(each.message)] == []
