"""Hooks that come with another hook."""

from typing import Type

from mmengine.hooks import Hook
from mmengine.runner import Runner


def bring(runner: Runner, *kinds: Type[Hook]) -> None:
    """Register hooks that a config does not name, for a hook that needs them.

    To be called in ``before_run``, which theirs is called after then: a Runner puts
    hooks of the same priority behind those that it has.

    Args:
        runner: The runner.
        *kinds: Hooks without arguments, of the calling hook's priority or a lower one.
    """
    for kind in kinds:
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
