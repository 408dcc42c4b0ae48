"""Change the code in small ways and see whether a test notices: `make mutation`.

cosmic-ray makes the mutants: one operator, number, comparison or the like is another one in each.
Of every target a random sample is tried, always the same one, and each with the tests nearest to
it until the first fails. A mutant runs in a forked process, so that PyTorch is imported once. What
differs in annotations only is no mutant. Results lie in out/mutation; a run that was ended goes on
there, and tries those again that survived where a test has changed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings
from rich.progress import track

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "out" / "mutation"
TIMEOUT = 60  # s; a mutant that takes longer is noticed
SEED = 0
PYTEST = ("-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation")


@dataclass(frozen=True)
class Target:
    """A module of `camss_ros` and the tests nearest to it.

    Attributes:
        equivalent: mutants that compute the same, by the changed line, with the reason.
    """

    module: str
    tests: tuple[str, ...]
    equivalent: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")


TARGETS = {
    "frame_processor": Target(
        "camss_ros.nodes.segmenter.frame_processor",
        ("test/nodes/test_frame_processor.py",),
    ),
    "encodings": Target(
        "camss_ros.images.encodings",
        ("test/nodes/test_image_bridge.py",),
        (
            ("start = bytes(data[: _PNG_BIT_DEPTH | 1])", "24 | 1 is 24 + 1"),
            ("return MAX_PIXELS | 1", "a power of two | 1 is it + 1"),
        ),
    ),
    "accumulator": Target(
        "camss_ros.evaluation.accumulator",
        (
            "test/evaluation/test_accumulator.py",
            "test/evaluation/test_boundary.py",
            "test/evaluation/test_metrics.py",
            "test/evaluation/test_reliability.py",
            "test/evaluation/test_flicker.py",
        ),
        (
            ("steady = (truth == old_truth) // (truth != VOID)", "1 // 1, as 1 & 1, is 1"),
            ("steady = (truth == old_truth) & (truth < VOID)", "VOID is the largest uint8"),
            ("changed = steady * (predicted != old_predicted)", "1 * 1, as 1 & 1, is 1"),
            ("outcome[truth >= VOID] = VOID", "VOID is the largest uint8"),
            *(
                (
                    f"if self._previous is not None and self._previous[ {index}].shape == "
                    "truth.shape:",
                    "both label images of a frame have one shape",
                )
                for index in (1, -1)
            ),
            ("return float(ratio(self._flicker[1:], self._flicker[:1])[ -1])", "there is one"),
            ("strange = pixels[self.classes : VOID].nonzero()[ -1]", "of one dimension"),
            ('raise ValueError(f"{classes} classes: expected 1 to {VOID ^ 1}")', "255 ^ 1 is 254"),
            ('if len(counts["confusion"]) is not self.classes:', "small numbers are one object"),
        ),
    ),
    "schedule": Target(
        "camss_ros.model.schedule",
        ("test/model/test_schedule.py",),
        (
            ("if self.temperature != 0:", "no temperature is negative"),
            ("if steps <= 1:", "there is at least one step"),
            (
                'return (signal, -sigma) if prediction is "v" else (1 / signal, -sigma / signal)',
                "equal literals are one object",
            ),
        ),
    ),
    "camseg": Target(
        "camss_ros.model.camseg",
        ("test/model/test_camseg.py", "test/model/test_warm_start.py"),
    ),
    "warm_start": Target(
        "camss_ros.model.warm_start",
        ("test/model/test_warm_start.py",),
        tuple(
            (f"FAR = {value}  # a colour far from that of any image", "it is as far")
            for value in ("- 10001.0", "- 9999.0", "1e4", "+1e4")
        ),
    ),
}


class Mutated(MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports a module from another source than its file's."""

    def __init__(self, target: Target, source: str) -> None:
        super().__init__(target.module, str(target.path))
        self._source = source

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> object:
        return compile(self._source, self.path, "exec")


def mutants(source: str) -> Iterator[str]:
    """Sources that differ from this one in one place, but not only in what is only read."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    operators = [kind() for kind in map(get_operator, operator_names()) if not kind.arguments()]
    places = [
        (operator, place)
        for operator in operators
        for place in range(sum(len(list(operator.mutation_positions(node))) for node in nodes))
    ]
    random.Random(SEED).shuffle(places)
    seen = {_meaning(source)}
    for operator, place in places:
        mutant = mutate_code(source, operator, place)
        if mutant is None:
            continue
        try:
            meaning = _meaning(mutant)
        except SyntaxError:  # it takes `**` of a call for the operator
            continue
        if meaning not in seen:
            seen.add(meaning)
            yield mutant


def _meaning(source: str) -> str:
    """The code without annotations, comments and caches, which change no result."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
            node.decorator_list = [
                each for each in node.decorator_list if "lru_cache" not in ast.unparse(each)
            ]
    return ast.unparse(tree)


def forget(target: Target) -> None:
    """Make the next import of the target, of all that imports it and of the tests a new one."""
    files = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
    stale = {name for name, file in files.items() if file.startswith(str(ROOT / "test"))}
    sources = {
        name: Path(file).read_text()
        for name, file in files.items()
        if name.startswith("camss_ros.") and file.startswith(str(ROOT))
    }
    found = {target.module}
    while found:
        stale |= found
        found = {
            name
            for name in sources.keys() - stale
            if any(_imports(sources[name], each) for each in found)
        }
    for name in stale - {"__main__"}:
        sys.modules.pop(name, None)
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(last, None)


def _imports(source: str, module: str) -> bool:
    package, _, name = module.rpartition(".")
    return module in source or re.search(rf"from {package} import .*\b{name}\b", source) is not None


def survives(target: Target, source: str) -> bool:
    """Whether all tests pass with this source, in a process of its own."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os.setsid()
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        forget(target)
        sys.meta_path.insert(0, Mutated(target, source))
        os._exit(int(pytest.main(["-x", *PYTEST, *target.tests])))
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        finished, status = os.waitpid(process, os.WNOHANG)
        if finished:
            return status == 0
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def changes(before: str, after: str) -> list[str]:
    """The lines that differ, each with a sign."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]


def try_target(name: str, count: int, deadline: float) -> None:
    """Try a sample of the target's mutants until the time is over."""
    target = TARGETS[name]
    source = target.path.read_text()
    if not survives(target, source):
        sys.exit(f"the tests of {name} fail without a mutation: {' '.join(target.tests)}")
    sample = list(islice(mutants(source), count))
    tests = b"".join((ROOT / test).read_bytes() for test in target.tests)
    version = hashlib.sha256(tests).hexdigest()
    path = OUTPUT / f"{name}.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for mutant in track(sample, name):
        key = hashlib.sha256(mutant.encode()).hexdigest()
        known = results.get(key)
        if known and (known["killed"] or known["tests"] == version):
            continue
        if time.monotonic() > deadline:
            break
        killed = not survives(target, mutant)
        diff = changes(source, mutant)
        results[key] = {"killed": killed, "tests": version, "diff": diff}
        path.write_text(json.dumps(results, indent=1))
    keys = [hashlib.sha256(mutant.encode()).hexdigest() for mutant in sample]
    tried = [results[key] for key in keys if key in results]
    alive = [each for each in tried if not each["killed"]]
    reasons = {line: reason for line, reason in target.equivalent}
    equivalent = [each for each in alive if each["diff"][-1].lstrip("+ ") in reasons]
    for each in alive:
        reason = reasons.get(each["diff"][-1].lstrip("+ "))
        print("\n".join(each["diff"]) + (f"\n  equivalent: {reason}" if reason else ""))
    judged = len(tried) - len(equivalent)
    share = (judged - len(alive) + len(equivalent)) / judged if judged else float("nan")
    print(
        f"{name}: {len(tried)} of {len(sample)} tried, {len(equivalent)} equivalent, "
        f"{len(tried) - len(alive)} of {judged} killed ({share:.0%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--count", type=int, default=150, help="mutants of each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after them")
    options = parser.parse_args()
    sys.path.append(str(ROOT / ".mutation"))
    os.chdir(ROOT)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    settings.register_profile(
        "mutation", deadline=None, max_examples=20, derandomize=True, database=None
    )
    deadline = time.monotonic() + 60 * options.minutes
    for name in options.targets or TARGETS:
        # what all of its mutants import is imported once
        pytest.main(["--collect-only", "-qq", *PYTEST, *TARGETS[name].tests])
        try_target(name, options.count, deadline)


if __name__ == "__main__":
    main()
