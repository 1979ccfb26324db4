"""Training in mixed precision on a CPU."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, without which it would be slow."""
    # of PyTorch 2.10
    capabilities: Dict[str, Any] = getattr(torch.cpu, 'get_capabilities', dict)()
    return any(capabilities.get(name) for name in ('avx512_bf16', 'amx_bf16'))


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper``, with the forward pass of training in bfloat16.

    ``AmpOptimWrapper`` works on GPUs alone. Weights, their gradients and the optimizer
    stay in float32. No loss is scaled, as bfloat16 has the exponents of float32.

    Its arguments are those of ``OptimWrapper``.

    Example:
        >>> optim_wrapper = dict(
        ...     type='CPUAmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of a training step in bfloat16."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
