"""Run a model in the channels-last memory format."""

from typing import Any, Dict, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keeps the model's convolution weights in the channels-last memory format.

    Convolutions then compute and return their feature maps in it. On CPUs, and on GPUs
    under mixed precision, that is usually faster; the results are the same, but a
    training from scratch draws other initial weights for a seed. Layers of fewer than
    eight channels can crash PyTorch 2.11 in this format on a CPU.

    Modules of ``mmcv.ops``, such as RoIAlign and deformable convolutions, take a map's
    memory as contiguous, whatever its format. They get contiguous copies.
    """

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)
        for module in runner.model.modules():
            if is_mmcv_operator(module):
                module.to(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(_make_contiguous, with_kwargs=True)


def is_mmcv_operator(module: nn.Module) -> bool:
    """Whether a module is, or is derived from, one of ``mmcv.ops``."""
    return any(base.__module__.startswith('mmcv.ops') for base in type(module).__mro__)


def _make_contiguous(
    module: nn.Module, args: Tuple[Any, ...], kwargs: Dict[str, Any]
) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
    return (
        tuple(map(_contiguous, args)),
        {name: _contiguous(value) for name, value in kwargs.items()},
    )


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
