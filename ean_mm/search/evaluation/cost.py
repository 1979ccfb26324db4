"""What the attention of a mask costs: latency, parameters or FLOPs."""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

import torch
from torch import nn

from ean_mm.errors import EANError
from ean_mm.models.masked import count_parameters
from ean_mm.profiling import count_flops, median_seconds
from ean_mm.search.evaluation.reward import COSTS
from ean_mm.search.space import SearchSpace

Call = Tuple[Any, Tuple[Any, ...]]


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

    def state_dict(self) -> List[Any]:
        """Return the entries as lists, for a checkpoint."""
        return [[list(places), cost] for places, cost in self.entries]

    @classmethod
    def from_state(cls, state: List[Any]) -> 'CostTable':
        """Make a table of a :meth:`state_dict`."""
        return cls(tuple((tuple(places), cost) for places, cost in state))


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
    model.eval()
    if kind == 'latency':
        space.apply([0] * space.num_bits)
        return _latency(model, space, data)
    calls = _record_calls(model, space, data)
    space.apply([0] * space.num_bits)
    if kind == 'flops':
        plain = count_flops(model, data['inputs'], data.get('data_samples'), 'tensor')
        costs = [count_flops(attention, *args) for attention, args in calls]
    elif kind == 'parameters':
        attentions = {module for module, _ in calls}
        plain = count_parameters(model)
        return CostTable(
            tuple(
                (
                    tuple(i for i, (other, _) in enumerate(calls) if other is module),
                    100 * sum(p.numel() for p in module.parameters()) / plain,
                )
                for module in attentions
            )
        )
    else:
        raise EANError(f'cost={kind!r} is unknown; use {", ".join(COSTS)}')
    return CostTable(tuple(((i,), 100 * cost / plain) for i, cost in enumerate(costs)))


def _latency(
    model: nn.Module, searched: SearchSpace, data: Dict[str, Any]
) -> CostTable:
    """Time every block of the deployed network with its attention and without."""

    def deployed(bit: int) -> Tuple[Any, SearchSpace]:
        network = copy.deepcopy(model)
        space = searched.like(network)
        space.apply([bit] * space.num_bits)
        for module in space.modules.values():
            if hasattr(module, 'switch_to_deploy'):
                module.switch_to_deploy()
        return network, space

    plain, _ = deployed(0)
    network, space = deployed(1)
    functions: List[Callable[[], Any]] = [
        partial(plain._run_forward, data, mode='tensor')
    ]
    for module in space.modules.values():
        in_blocks = hasattr(module, 'switch_to_deploy')
        if in_blocks:
            modules = [block for stage in module.stages for block in stage]
        else:
            modules = list(set(_attention_modules(module)))
        for timed, args in _record(network, module, modules, data):
            functions.append(partial(timed, *args))
            functions.append(partial(timed, args[0]) if in_blocks else lambda: None)
    seconds = median_seconds(functions)
    costs = [max(a - b, 0.0) for a, b in zip(seconds[1::2], seconds[2::2])]
    return CostTable(
        tuple(((i,), 100 * cost / seconds[0]) for i, cost in enumerate(costs))
    )


def _record(
    model: Any, owner: Any, modules: Iterable[nn.Module], data: Any
) -> List[Call]:
    """Run the model; return the calls of modules of a masked one, one for each bit."""
    calls: List[Call] = []
    handles = [
        module.register_forward_pre_hook(lambda *call: calls.append(call))
        for module in modules
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
    return calls


def _record_calls(
    model: nn.Module, space: SearchSpace, data: Dict[str, Any]
) -> List[Call]:
    """Run the model with all bits set; return what each bit's attention was given."""
    space.apply([1] * space.num_bits)
    return [
        call
        for module in space.modules.values()
        for call in _record(model, module, set(_attention_modules(module)), data)
    ]


def _attention_modules(module: Any) -> List[nn.Module]:
    """List a masked module's attention, shared or one a block."""
    return [
        attention
        for shared in module.attentions
        for attention in (shared if isinstance(shared, nn.ModuleList) else [shared])
    ]
