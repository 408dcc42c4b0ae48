"""Fixtures for every test."""

import gc
import itertools
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from small_model import save_small_model, save_small_official_model

from camss_ros.images.label_sets import load_label_set
from camss_ros.inference import auto
from camss_ros.model.autoencoder import MaskAutoencoderConfig
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import save_pretrained
from camss_ros.model.config import CamSegConfig, DenoiserConfig, TokenizerConfig, TransformerConfig
from camss_ros.nodes.harness.child_process import release_domain, reserve_domain

# A loaded machine is slow, not wrong.
settings.register_profile("camss_ros", deadline=None)
settings.load_profile("camss_ros")

# Small tensors are several times quicker so where others keep the cores busy, and no sum is split
# in another way. The variable is for processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# No test talks to another machine.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_STATIC_PEERS", None)


@pytest.fixture(scope="session", autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches and logs of this run's own: no graph of an earlier one, none left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("log")))
        yield


@pytest.fixture
def only_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backend auto knows no other: nothing is measured. Not in processes that a test starts."""
    known = auto.candidates
    monkeypatch.setattr(
        auto,
        "candidates",
        lambda *arguments: [each for each in known(*arguments) if each.backend == "torch"][-1:],
    )


# Up to 101 the ports stay below those that Linux hands out by itself. Each run has its own order,
# of which each of its processes has a part, and uses no domain again before it has used all: what
# is left of the graph of another test is not seen.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_DOMAINS = itertools.cycle(random.Random(_RUN).sample(range(1, 102), 101)[_WORKER::_WORKERS])


@contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain that is nobody else's: of another run, a demo of the other process, a robot."""
    for domain in _DOMAINS:
        with suppress(OSError):
            reserve_domain(domain)
            break
    yield domain
    release_domain(domain)


@pytest.fixture(scope="session")
def discovery_profile() -> None:
    """Participants of this process learn of one another as those of several processes do.

    Fast DDS 3.2 locks up for ever where one announces itself while an endpoint of another ends,
    each in a call of the other's discovery (Fast-DDS issue 6502): once in some twenty runs of all
    tests. Nodes of tests often live for less than a second, so they announce themselves early, too.
    It reads the file once; processes that tests start have the defaults.
    """
    import rclpy  # only for the tests that need it

    with pytest.MonkeyPatch.context() as patch:
        profiles = Path(__file__).with_name("fastdds.xml")
        patch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(profiles))
        context = rclpy.Context()
        with own_domain() as domain:
            rclpy.init(context=context, domain_id=domain)
            rclpy.create_node("reads_profiles", context=context).destroy_node()
            rclpy.shutdown(context=context)


@pytest.fixture
def domain_id(discovery_profile: None) -> Iterator[int]:
    """A ROS domain for the test."""
    with own_domain() as domain:
        yield domain


@pytest.fixture(scope="module")
def module_domain_id(discovery_profile: None) -> Iterator[int]:
    """A ROS domain for the tests of a module that talk to one node."""
    with own_domain() as domain:
        yield domain


@pytest.fixture(scope="session")
def tiny_config() -> CamSegConfig:
    """The bundled architecture at a small size."""
    return CamSegConfig(
        name="test",
        label_set=load_label_set("camvid11").classes,
        input_size=(32, 48),
        tokenizer=TokenizerConfig(channels=32),
        mask_autoencoder=MaskAutoencoderConfig(8, (16, 16, 32), (1, 1, 1)),
        transformer=TransformerConfig(width=32, depth=2, heads=4),
        denoiser=DenoiserConfig(width=32, depth=1),
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: CamSegConfig) -> CamSeg:
    """Random weights, also where training starts from zero."""
    torch.manual_seed(0)
    model = CamSeg(tiny_config).eval().requires_grad_(False)
    for parameter in model.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def model(tiny_model: CamSeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, on disk."""
    directory = tmp_path_factory.mktemp("model")
    save_pretrained(tiny_model, directory)
    return directory


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the classes of CamVid that is smaller still, on disk."""
    classes = load_label_set("camvid11").classes
    return save_small_model(tmp_path_factory.mktemp("small"), label_set=classes)


@pytest.fixture(scope="module")
def official_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the official architecture, on disk."""
    return save_small_official_model(tmp_path_factory.mktemp("official"))


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """What a test still holds shows: nothing is freed that lies in a circle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def spawn(module_domain_id: int) -> Iterator[Callable[..., Any]]:
    """Starts segmenter processes, with parameters by keyword, that end with the module."""
    from segmenter_process import Process  # ROS only for the tests that need it

    processes: list[Process] = []

    def spawn_one(*arguments: str, **parameters: Any) -> Process:
        # whatever else is installed, and without measuring it
        for name, value in {"backend": "torch", **parameters}.items():
            arguments += ("-p", f"{name}:={value}")
        processes.append(Process(module_domain_id, "--ros-args", *arguments))
        return processes[-1]

    yield spawn_one
    for one in processes:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def refused(
    domain_id: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Runs the program of a node here, which is to end with 1, and returns what it has said."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))

    def run(program: Callable[[list[str]], int], *arguments: str) -> str:
        signal.alarm(120)  # it runs as if nothing were wrong
        assert program(["--ros-args", *arguments]) == 1
        return capfd.readouterr().err

    def fail(*_: object) -> None:
        raise AssertionError("it did not end")

    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGALRM, fail)
    yield run
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(domain_id: int) -> Iterator[Callable[..., Any]]:
    """Starts nodes, with parameters or their values by keyword, that end with the test."""
    import rclpy  # only for the tests that need it
    from scripted_node import Running

    running: list[Running] = []

    def start_one(**parameters: Any) -> Any:
        overrides = [
            value if isinstance(value, rclpy.Parameter) else rclpy.Parameter(name, value=value)
            for name, value in parameters.items()
        ]
        running.append(Running(domain_id, *overrides))
        return running[-1]

    yield start_one
    for one in running:
        one.close()


@pytest.fixture
def node(start: Callable[..., Any]) -> Any:
    from sensor_msgs.msg import Image

    running = start()
    running.image = running.peer.publisher(Image, "image")
    running.mask = running.peer.listen(Image, "segmentation/mask")
    running.connect(running.image, running.mask)
    return running
