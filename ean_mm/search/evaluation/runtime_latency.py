"""What attention adds to the latency in the runtime that a network is deployed to."""

import copy
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, List

import torch
from torch import Tensor

from ean_mm.deploy.runtime_deployment import RuntimeDeployment
from ean_mm.deploy.runtimes import SUFFIXES, require_runtime
from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.profiling import median_seconds
from ean_mm.search.evaluation.cost import CostTable
from ean_mm.search.space import SearchSpace


@torch.inference_mode()
def runtime_latency(
    space: SearchSpace, images: Tensor, runtime: str, precision: str
) -> CostTable:
    """Measure what attention in each block adds, in percent of the plain backbone.

    For each stage the backbone is compiled with attention in all of its blocks, and
    timed alternately with the plain one. The blocks of a stage have feature maps of one
    shape, so that each adds the same share of the difference.

    Args:
        space: The masks of a model; its masked module is left as it is.
        images: What the backbone gets, ``(N, C, H, W)``.
        runtime: ``'openvino'`` or ``'onnxruntime'``.
        precision: ``'f32'`` or ``'bf16'``.

    Raises:
        ValueError: The runtime is not to be had here, or cannot run the network.
    """
    require_runtime(runtime, precision)
    backbone: Any = next(iter(space.modules.values()))
    if len(space.modules) > 1 or not hasattr(backbone, 'switch_to_deploy'):
        names = ', '.join(type(module).__name__ for module in space.modules.values())
        raise EANError(
            f'the latency in {runtime} is that of one masked backbone such as '
            f'EANResNet, and the model has {names}; use a reward without cost_runtime'
        )
    blocks = backbone.stage_blocks
    deployment = RuntimeDeployment(runtime, precision, [], lambda data: data)
    costs: List[float] = []
    with tempfile.TemporaryDirectory() as folder:

        def compiled(plugged: int) -> Any:
            """Compile the backbone with one stage plugged in; none of number -1."""
            network = copy.deepcopy(backbone)
            bits = [
                int(stage == plugged)
                for stage, size in enumerate(blocks)
                for _ in range(size)
            ]
            network.set_mask(Mask(tuple(bits), blocks))
            file = Path(folder, f'{plugged}{SUFFIXES[runtime]}')
            deployed = deployment.compile(network.eval(), file, images)
            return partial(deployed.forward, images)

        plain = compiled(-1)
        for stage, size in enumerate(blocks):
            without, seconds = median_seconds([plain, compiled(stage)])
            share = max(0.0, 100 * (seconds / without - 1)) / size
            costs += size * [share]
    return CostTable(tuple(((bit,), cost) for bit, cost in enumerate(costs)))
