"""Run a backbone under many masks at once, sharing what the masks have in common."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from ean_mm.mask import Mask
from ean_mm.models.masked import modules_at
from ean_mm.search.space import Bits


@dataclass
class Work:
    """What has been computed, and what evaluating each mask alone would have."""

    masks: int = 0
    """masks evaluated"""
    images: int = 0
    """images that these masks were evaluated on, each mask counted"""
    blocks: int = 0
    """block evaluations: a residual block on one image"""
    naive_blocks: int = 0
    """block evaluations if no two masks had shared any"""
    cache_hits: int = 0
    """starts from activations that had been kept, each image and mask counted"""
    seconds: float = 0.0
    """time of the evaluations, in seconds"""
    block_seconds: float = 0.0
    """part of it for residual blocks, where the model runs synchronously"""

    def summary(self, num_draws: int) -> str:
        """Say in a line what sharing has saved.

        Args:
            num_draws: Number of masks drawn, known ones among them.
        """
        if not self.masks:
            return 'no mask had to be evaluated'
        rate = self.images / max(self.seconds, 1e-9)
        text = (
            f'{self.masks} masks of {num_draws} drawn were evaluated in '
            f'{self.seconds:.1f} s, {rate:.0f} images/s'
        )
        if not self.blocks:
            return text
        alone = self.naive_blocks / self.masks * num_draws
        saved = self.block_seconds * (alone / self.blocks - 1)
        return (
            f'{text}; {self.blocks:,} block evaluations where one pass a draw takes '
            f'{alone:,.0f}, which saved about {saved:.0f} s; '
            f'{self.cache_hits:,} starts from kept activations'
        )


class _Node(NamedTuple):
    """Masks that agree on all bits before a position, and the activation there."""

    masks: Tuple[Bits, ...]
    position: int
    x: Tensor
    state: Any
    features: Tuple[Tensor, ...]


class _Branch(NamedTuple):
    """The masks of a node with one value of the next bit, its block half computed.

    The branch that is finished last may overwrite what it shares with the other.
    """

    node: _Node
    """with these masks, and the block's residual branch as the activation"""
    shortcut: Tensor
    last: bool


@dataclass
class _Entry:
    """The activations of all batches after the blocks of a prefix."""

    size: int
    """in bytes, once all batches are there"""
    nodes: Dict[int, _Node] = field(default_factory=dict)
    in_use: bool = True
    """whether the present pass starts from them, or has made them"""


class ActivationCache:
    """Activations at the boundaries of stages, kept between passes within a budget.

    An entry belongs to a prefix of bits and holds one batch after the other. The
    entries that were used the longest ago make room for new ones; those of the present
    pass stay, so that a pass larger than the budget still leaves a part behind.

    Args:
        budget: Bytes that all entries together may take.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._entries: OrderedDict[Bits, _Entry] = OrderedDict()
        self._num_batches = 1

    @property
    def size(self) -> int:
        """Bytes that the entries take when all of their batches are there."""
        return sum(entry.size for entry in self._entries.values())

    def begin_pass(self, masks: Collection[Bits], num_batches: int) -> None:
        """Protect the entries that the pass starts from."""
        self._num_batches = num_batches
        for prefix, entry in list(self._entries.items()):
            entry.in_use = any(mask[: len(prefix)] == prefix for mask in masks)
            if entry.in_use:
                self._entries.move_to_end(prefix)

    def get(self, prefix: Bits, batch: int) -> Optional[_Node]:
        """Return what is kept of a batch after the blocks of a prefix."""
        entry = self._entries.get(prefix)
        return None if entry is None else entry.nodes.get(batch)

    def put(self, prefix: Bits, batch: int, node: _Node) -> None:
        """Keep the activation of a batch, if there is room for all of its batches."""
        if batch == 0 and prefix not in self._entries:
            size = _num_bytes(node) * self._num_batches
            if self._make_room(size):
                self._entries[prefix] = _Entry(size)
        if prefix in self._entries:
            self._entries[prefix].nodes.setdefault(batch, node)

    def _make_room(self, needed: int) -> bool:
        """Drop entries until ``needed`` bytes are free; if they can't be, drop none."""
        unused = {p: each.size for p, each in self._entries.items() if not each.in_use}
        free = self.budget - self.size
        if free + sum(unused.values()) < needed:
            return False
        for prefix, size in unused.items():
            if free >= needed:
                break
            free += size
            del self._entries[prefix]
        return True


def _num_bytes(node: _Node) -> int:
    tensors = {id(tensor): tensor for tensor in (node.x, *node.features)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


class PrefixTree:
    """Computes a masked backbone's features under many masks in one walk.

    Masks that agree on the bits before a block share all activations up to and
    including that block's residual branch. The tree of prefixes is walked depth first,
    so that at most one half computed block waits at every depth: memory grows with the
    number of blocks, not of masks. Every activation is computed as the backbone
    alone would compute it, so that the features are the same numbers.

    Args:
        backbone: A backbone in eval mode that is run stage by stage, as ``EANResNet``.
        cache: Keeps activations at the boundaries of stages between calls.
        work: Where to count block evaluations.
    """

    def __init__(self, backbone: Any, cache: ActivationCache, work: Work) -> None:
        self.backbone = backbone
        self.cache = cache
        self.work = work
        places = backbone.places(Mask.parse('all', backbone.stage_blocks))
        self.blocks: List[Tuple[Any, Any, int]] = [
            (block, attention, number)
            for number, stage in enumerate(backbone.stages)
            for block, attention in zip(stage, modules_at(places[number]))
        ]
        # positions at which a stage begins, 0 (behind the stem) among them
        self.boundaries = [
            position
            for position, (_, _, stage) in enumerate(self.blocks)
            if position == 0 or self.blocks[position - 1][2] != stage
        ]

    @staticmethod
    def supports(module: nn.Module) -> bool:
        """Whether a masked module can be run stage by stage."""
        return all(
            hasattr(module, name)
            for name in ('forward_stem', 'stages', 'places', 'out_indices')
        )

    @torch.no_grad()
    def features(
        self, x: Tensor, masks: Collection[Bits], batch: int
    ) -> Iterator[Tuple[Bits, Tuple[Tensor, ...]]]:
        """Yield each mask with the features under it.

        Args:
            x: Images ``(N, C, H, W)``.
            masks: Distinct masks of the backbone.
            batch: Number of the batch that ``x`` is, the same at every call.
        """
        self.work.naive_blocks += len(x) * len(self.blocks) * len(masks)
        roots = self._roots(x, masks, batch)
        branches: List[_Branch] = []
        while roots or branches:
            started = time.perf_counter()
            node = self._finish(branches.pop(), batch) if branches else roots.pop()
            while node.position < len(self.blocks):
                branches += self._split(node)
                del node  # its activation is not needed any more
                node = self._finish(branches.pop(), batch)
            self.work.block_seconds += time.perf_counter() - started
            yield node.masks[0], node.features

    def _roots(self, x: Tensor, masks: Collection[Bits], batch: int) -> List[_Node]:
        """Group the masks by the deepest activation that is known for them."""
        groups: Dict[Optional[Bits], List[Bits]] = {}
        for mask in masks:
            prefixes = (mask[:position] for position in reversed(self.boundaries))
            known = (p for p in prefixes if self.cache.get(p, batch) is not None)
            groups.setdefault(next(known, None), []).append(mask)
        roots = []
        for prefix, group in groups.items():
            node = None if prefix is None else self.cache.get(prefix, batch)
            if node is None:
                node = _Node((), 0, self.backbone.forward_stem(x), None, ())
                self.cache.put((), batch, node)
            else:
                self.work.cache_hits += len(node.x) * len(group)
            roots.append(node._replace(masks=tuple(group)))
        return roots

    def _split(self, node: _Node) -> List[_Branch]:
        """Compute a block as far as the masks share it."""
        block = self.blocks[node.position][0]
        residual, shortcut = block.residual(node.x), block.shortcut(node.x)
        self.work.blocks += len(node.x)
        branches: List[_Branch] = []
        for bit in (1, 0):
            masks = tuple(mask for mask in node.masks if mask[node.position] == bit)
            if masks:
                half = node._replace(masks=masks, x=residual)
                branches.append(_Branch(half, shortcut, last=not branches))
        return branches

    def _finish(self, branch: _Branch, batch: int) -> _Node:
        """Compute the rest of a block, with attention or without."""
        (masks, position, residual, state, features), shortcut, last = branch
        block, attention, stage = self.blocks[position]
        plugged = attention if masks[0][position] else None
        x, state = block.merge(residual, shortcut, plugged, state, inplace=last)
        position += 1
        ends = position == len(self.blocks) or self.blocks[position][2] != stage
        if ends or self.blocks[position][1] is not attention:
            state = None  # it lives as long as the module stays the same
        if ends and stage in self.backbone.out_indices:
            features = (*features, x)
        node = _Node(masks, position, x, state, features)
        if ends and position < len(self.blocks):
            self.cache.put(masks[0][:position], batch, node)
        return node
