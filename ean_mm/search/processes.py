"""What the processes of a distributed run do one for all, or each by itself."""

from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Sequence

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_dist_info,
    is_main_process,
)
from torch import distributed

from ean_mm.errors import EANError


def on_main_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on rank 0 and return its result, or raise its error, on all."""
    outcome: List[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = function(*args)
        except EANError as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


@contextmanager
def alone() -> Iterator[None]:
    """Let this process be one of its own, for Runners that train by themselves."""
    if not (distributed.is_available() and distributed.is_initialized()):
        yield
        return
    world = distributed.group.WORLD
    distributed.group.WORLD = None
    try:
        yield
    finally:
        distributed.group.WORLD = world


def shared(work: Callable[[Any], Any], items: Sequence[Any]) -> List[Any]:
    """Do some work on each of several items, the processes sharing them.

    Each process works by itself, and gets the results of all.
    """
    rank, world_size = get_dist_info()
    with alone():
        own = [work(item) for item in items[rank::world_size]]
    parts = all_gather_object(own)
    return [parts[i % world_size][i // world_size] for i in range(len(items))]
