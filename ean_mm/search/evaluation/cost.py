"""What the attention of a mask costs: latency, parameters or FLOPs."""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from torch import nn

from ean_mm.errors import EANError
from ean_mm.models.masked import count_parameters
from ean_mm.profiling import count_flops, median_seconds
from ean_mm.search.evaluation.reward import COSTS
from ean_mm.search.space import SearchSpace

Call = Tuple[Any, Tuple[Any, ...]]
Costs = Tuple[float, Dict[Tuple[int, ...], float]]
"""of the plain network, and what is added once if any of some bits is set"""


@dataclass(frozen=True)
class CostTable:
    """Cost of every place of attention, in percent of the plain network's.

    Args:
        entries: Bits and the cost that arises once if any of them is set. Latency and
            FLOPs have an entry for each bit, parameters one for each module.
    """

    entries: Tuple[Tuple[Tuple[int, ...], float], ...]

    def percent(self, bits: Sequence[int]) -> float:
        """Return the cost of a mask."""
        return sum(
            cost for places, cost in self.entries if any(bits[i] for i in places)
        )


@torch.no_grad()
def measure_cost(
    kind: str, model: nn.Module, space: SearchSpace, data: Dict[str, Any]
) -> CostTable:
    """Measure what attention costs at each of its places.

    Args:
        kind: ``'latency'`` (of the deployed network on this machine, every block timed
            alternately with its attention and without, the medians' difference),
            ``'parameters'`` or ``'flops'`` (as mmengine counts them: pooling and
            elementwise operations, most of what attention does, cost nothing there).
        model: The model; it is left in eval mode, with no bit set.
        space: Its masks.
        data: A preprocessed batch of images, as the model takes it.

    Raises:
        ValueError: Unknown kind, or attention that is not called once for each bit.
    """
    if kind not in COSTS:
        raise EANError(f'cost={kind!r} is unknown; use {", ".join(COSTS)}')
    model.eval()
    if kind == 'latency':
        space.apply([0] * space.num_bits)
        plain, costs = _latency(model, space, data)
    else:
        space.apply([1] * space.num_bits)
        calls = [
            call
            for module in space.modules.values()
            for call in _record(model, module, _attention_modules(module), data)
        ]
        space.apply([0] * space.num_bits)
        count = _flops if kind == 'flops' else _parameters
        plain, costs = count(model, calls, data)
    return CostTable(
        tuple((places, 100 * cost / plain) for places, cost in costs.items())
    )


def _flops(model: nn.Module, calls: List[Call], data: Dict[str, Any]) -> Costs:
    plain = count_flops(model, data['inputs'], data.get('data_samples'), 'tensor')
    return plain, {
        (bit,): count_flops(attention, *args)
        for bit, (attention, args) in enumerate(calls)
    }


def _parameters(model: nn.Module, calls: List[Call], data: Dict[str, Any]) -> Costs:
    places: Dict[nn.Module, List[int]] = {}
    for bit, (attention, _) in enumerate(calls):
        places.setdefault(attention, []).append(bit)
    return count_parameters(model), {
        tuple(bits): sum(p.numel() for p in attention.parameters())
        for attention, bits in places.items()
    }


def _latency(model: nn.Module, searched: SearchSpace, data: Dict[str, Any]) -> Costs:
    """Time every block of the deployed network with its attention and without."""

    def deployed(bit: int) -> Tuple[Any, SearchSpace]:
        network = copy.deepcopy(model)
        space = searched.like(network)
        space.apply([bit] * space.num_bits)
        for module in space.modules.values():
            if hasattr(module, 'switch_to_deploy'):
                module.share = 'block'  # a block that runs alone has no state before it
                module.switch_to_deploy()
        return network, space

    (plain, without), (network, space) = deployed(0), deployed(1)
    functions: List[Callable[[], Any]] = [
        partial(plain._run_forward, data, mode='tensor')
    ]
    for name, module in space.modules.items():
        if hasattr(module, 'switch_to_deploy'):
            calls = _record(network, module, _blocks(module), data)
            bare = without.modules[name]
            others = _record(plain, bare, _blocks(bare), data)
        else:
            calls = _record(network, module, _attention_modules(module), data)
            others = [(lambda: None, ())] * len(calls)
        for pair in zip(calls, others):
            functions += [partial(timed, *args) for timed, args in pair]
    whole, *seconds = median_seconds(functions)
    pairs = zip(seconds[::2], seconds[1::2])
    return whole, {(bit,): max(a - b, 0.0) for bit, (a, b) in enumerate(pairs)}


def _record(
    model: Any, owner: Any, modules: Sequence[nn.Module], data: Any
) -> List[Call]:
    """Run the model; return the calls of modules of a masked one, one for each bit.

    Those of different stages may run by turns, as in HRNet.
    """
    calls: List[Call] = []
    numbers = {module: number for number, module in enumerate(modules)}
    handles = [
        module.register_forward_pre_hook(lambda *call: calls.append(call))
        for module in numbers
    ]
    try:
        model._run_forward(data, mode='tensor')
    finally:
        for handle in handles:
            handle.remove()
    if len(calls) != sum(owner.stage_blocks):
        raise EANError(
            f'the blocks of {owner.network} were called {len(calls)} times for '
            f'{sum(owner.stage_blocks)} bits, so that the cost of their attention '
            'cannot be told; use a reward without cost'
        )
    return sorted(calls, key=lambda call: numbers[call[0]])


def _blocks(module: Any) -> List[nn.Module]:
    return [block for stage in module.masked_blocks for block in stage]


def _attention_modules(module: Any) -> List[nn.Module]:
    """List a masked module's attention, shared or one a block."""
    return [
        attention
        for shared in module.attentions
        for attention in (shared if isinstance(shared, nn.ModuleList) else [shared])
    ]
