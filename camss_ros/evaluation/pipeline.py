"""Stages that work at the same time, each on a frame of its own, in a bounded pipeline.

    frames = read()                              # in the calling thread
    predictions = stage(segment, frames)         # in a thread of its own
    for result in stage(write, predictions):     # in another one
        ...

What the stages do is mostly outside Python's lock: networks, codecs, NumPy, files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2  # items that wait between a stage and the next one


def stage(
    function: Callable[[Item], Result], items: Iterable[Item], at_a_time: int = 1
) -> Generator[Result, None, None]:
    """`map(function, items)`, with `function` in threads of its own, a few items ahead.

    `at_a_time` items are in work at a time, and results come in the order of the items. `items` is
    iterated in the thread that iterates over the results. Where it raises, the results of what it
    gave come first. Where `function` raises, or the generator is closed, what is not begun is left,
    and `function` does no more work.
    """
    source = iter(items)
    failure: BaseException | None = None
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_a_time) as workers:
        try:
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except BaseException as error:  # Ctrl-C too
                    failure = error
                    break
                waiting.append(workers.submit(function, item))
                if len(waiting) >= _AHEAD + at_a_time:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            if isinstance(source, Generator):  # such as the stage before
                source.close()
    if failure is not None:
        raise failure
