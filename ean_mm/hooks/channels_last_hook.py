"""Run a model in the channels-last memory format."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keeps the model's convolution weights in the channels-last memory format.

    Convolutions then compute and return their feature maps in it. On CPUs, and on GPUs
    under mixed precision, that is usually faster; the results are the same, but a
    training from scratch draws other initial weights for a seed. Layers of fewer than
    eight channels can crash PyTorch 2.11 in this format on a CPU.
    """

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)
