"""A stock model beside the same one with our backbones, on the same weights."""

import copy
import re
from contextlib import suppress
from typing import Any, Dict, Iterable, List, Optional, Tuple

import torch
from mmcv.cnn import is_norm
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from ean_mm.errors import EANError, one_line
from ean_mm.models.masked_backbone import MaskedBackbone
from studies.stock_batches import losses_of, random_images

TOLERANCE = 1e-5
"""how far numbers that should be equal may be apart, relative to the largest of them"""

FEATURES_ALONE = 'features alone, no losses'
FOLDERS = re.compile(r'(?<![\w.])/[^\s\'"]+/')

Numbers = Dict[str, List[Tensor]]


class Disagreement(Exception):
    """What should be equal differs, or attention takes no part."""


class HostError(Exception):
    """The stock model cannot be run."""


class Comparison:
    """A stock model and the same one with our backbones, on the same weights.

    Args:
        plain: The stock model.
        ours: The other one, without attention.

    Raises:
        Disagreement: The weights of the stock model are not those of the other one.
    """

    def __init__(self, plain: BaseModel, ours: BaseModel) -> None:
        self.plain = plain
        self.weights = plain.state_dict().keys()  # some models get more when they run
        self.modes = _modes(plain)
        self.ours = ours
        self.backbones = [
            name
            for name, module in ours.named_modules()
            if isinstance(module, MaskedBackbone)
        ]
        self.kinds = tuple(type(plain.get_submodule(name)) for name in self.backbones)
        try:
            ours.load_state_dict(plain.state_dict(), strict=True)
        except (EANError, RuntimeError) as error:
            raise Disagreement(f'the weights do not fit: {one_line(error)}') from error
        if difference([*ours.parameters()], [*plain.parameters()]):
            raise Disagreement('weights have come to other places')

    def without_attention(self, sizes: Iterable[int]) -> List[str]:
        """Compare what trains, losses, gradients and features.

        Args:
            sizes: Of the images; the first one is taken that the stock model can
                compute losses of.

        Returns:
            What is worth saying.

        Raises:
            Disagreement: Something differs.
            HostError: Not even the features of the stock model can be computed.
        """
        self._require_same_modes(self.ours)
        theirs, reason = self._observe_stock(sizes)
        self.contributing = {
            name: _contributing_stages(self.plain, self.ours, name)
            for name in self.backbones
        }
        self.ours.load_state_dict(self.start)
        ours = self._observe(self.ours, self.has_losses)
        self.features = theirs['features in eval mode']
        largest = 0.0
        for what, expected in theirs.items():
            apart = difference(ours[what], expected)
            if not apart <= TOLERANCE:
                raise Disagreement(f'{what} differ by {apart:.1e}')
            largest = max(largest, apart)
        notes = [f'within {largest:.0e}' if largest else 'bit for bit']
        if not self.has_losses:
            notes.append(f'{FEATURES_ALONE}: {reason}')
        elif not all(map(torch.isfinite, theirs['losses'])):
            notes.append('a loss is not finite')
        del self.ours  # it is not needed any more
        return notes

    def with_attention(self, model: BaseModel) -> List[str]:
        """Check that attention takes part where it is plugged in, and only there.

        Args:
            model: The model with our backbones, with attention everywhere.

        Returns:
            What is worth saying.

        Raises:
            Disagreement: It takes no part somewhere, or the rest differs.
        """
        weights = self.plain.state_dict()
        for name in weights.keys() - self.weights:
            del weights[name]
        missing, unexpected = model.load_state_dict(weights, strict=False)
        wrong = [key for key in missing if '.attentions.' not in f'.{key}']
        if wrong or unexpected:
            raise Disagreement(f'weights do not fit: {(wrong + unexpected)[0]}')
        self._require_same_modes(model)
        backbones = [model.get_submodule(name) for name in self.backbones]
        model.eval()
        everywhere = [self._features(module) for module in backbones]
        for module in backbones:
            module.set_mask('none')
        nowhere = [self._features(module) for module in backbones]
        if difference(_flat(nowhere), self.features) > TOLERANCE:
            raise Disagreement("with mask='none' features are not the plain ones")
        for name, ours, theirs in zip(self.backbones, everywhere, nowhere):
            images = random_images(model.get_submodule(name), self.size)
            same = [
                i
                for i, (a, b) in enumerate(zip(ours, theirs))
                if torch.equal(a, b) and not torch.equal(a, images)  # as DetectoRS has
            ]
            if same:
                raise Disagreement(f'{name}: map {same[0]} is the same for any mask')
        for module in backbones:
            module.set_mask('all')
        return self._check_gradients(model) if self.has_losses else []

    def _check_gradients(self, model: BaseModel) -> List[str]:
        """Check that attention gets gradients wherever its stage takes part."""
        model.train()
        set_random_seed(0)
        _total(model, losses_of(model, self.size)).backward()
        notes = []
        for name in self.backbones:
            attentions = model.get_submodule(name).attentions
            idle = []
            for i, takes_part in enumerate(self.contributing[name]):
                trained = [p for p in attentions[i].parameters() if p.requires_grad]
                if not trained or not takes_part:
                    idle.append(str(i + 1))
                elif not any(_is_nonzero(p.grad) for p in trained):
                    raise Disagreement(
                        f'{name}: attention of stage {i + 1} gets no gradient'
                    )
            if idle:
                notes.append(f'{name}: stage {" ".join(idle)} without gradient in both')
        return notes

    def _require_same_modes(self, model: nn.Module) -> None:
        kinds = ('parameters that train', 'norm layers in training mode')
        for kind, theirs, own in zip(kinds, self.modes, _modes(model)):
            if theirs != own:
                counts = [sum(flag for *_, flag in modes) for modes in (own, theirs)]
                raise Disagreement(f'{kind}: {counts[0]}, not {counts[1]}')

    def _features(self, backbone: nn.Module) -> List[Tensor]:
        set_random_seed(0)
        with torch.no_grad():
            return _flat(backbone(random_images(backbone, self.size)))

    def _observe_stock(self, sizes: Iterable[int]) -> Tuple[Numbers, str]:
        """Observe the stock model, and say why it has no losses if it has none."""
        reason = ''
        for initialised in (False, True):
            if initialised:
                self._initialise_heads()
            self.start = copy.deepcopy(self.plain.state_dict())
            for self.size in sizes:
                try:
                    self.has_losses = True
                    return self._observe(self.plain, losses=True), ''
                except Exception as error:
                    reason = reason or reason_of(error)
                    self.plain.load_state_dict(self.start, strict=False)
        self.has_losses, self.size = False, next(iter(sizes))
        try:
            return self._observe(self.plain, losses=False), reason
        except Exception as error:
            raise HostError(reason_of(error)) from error

    def _initialise_heads(self) -> None:
        """Start all but the backbones as configured, which some losses need.

        The toolboxes' ResNets would start without residual branches.
        """
        for child in self.plain.children():
            inner = [m for m in child.modules() if isinstance(m, self.kinds)]
            if isinstance(child, BaseModule) and not inner:
                with suppress(Exception):
                    child.init_weights()

    def _observe(self, model: BaseModel, losses: bool) -> Numbers:
        """Return all numbers of a model that should be equal to another one's."""
        backbones = [model.get_submodule(name) for name in self.backbones]
        numbers: Numbers = {}
        model.train()
        if losses:
            trained = [p for p in model.parameters() if p.requires_grad]
            for module in backbones:
                module.requires_grad_(True)  # so that frozen stages show their part
            model.zero_grad()
            set_random_seed(0)
            computed = losses_of(model, self.size)
            numbers['losses'] = _flat(computed)
            _total(model, computed).backward()
            numbers['gradients'] = [
                torch.zeros(()) if p.grad is None else p.grad
                for p in model.parameters()
            ]
            model.requires_grad_(False)
            for p in trained:
                p.requires_grad_(True)
        numbers['features in training mode'] = _flat(map(self._features, backbones))
        model.eval()
        numbers['features in eval mode'] = _flat(map(self._features, backbones))
        numbers['buffers'] = [buffer.clone() for buffer in model.buffers()]
        return numbers


def difference(ours: List[Tensor], theirs: List[Tensor]) -> float:
    """Return the largest difference, relative to the largest number of its tensor.

    0 is equality bit for bit; not a number equals itself; infinity says that shapes or
    numbers of tensors differ.
    """
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return float('inf')
    largest = 0.0
    for x, y in zip(ours, theirs):
        if torch.equal(x, y):
            continue
        x, y = x.double(), y.double()
        apart = (x - y).abs()[(x != y) & ~(x.isnan() & y.isnan())]
        if apart.numel():
            scale = y[y.isfinite()].abs().max().item() if y.isfinite().any() else 0.0
            relative = apart.max().item() / max(scale, 1e-30)
            largest = max(largest, float('inf') if relative != relative else relative)
    return largest


def _total(model: BaseModel, losses: Dict[str, Any]) -> Tensor:
    return model.parse_losses(losses)[0]


def _flat(tensors: Any) -> List[Tensor]:
    """Return the tensors in nested dicts and sequences, those not in a graph."""
    if isinstance(tensors, Tensor):
        return [tensors.detach()]
    parts: Any = tensors.values() if isinstance(tensors, dict) else tensors
    if not hasattr(parts, '__iter__'):
        return []
    return [tensor for part in parts for tensor in _flat(part)]


def _is_nonzero(gradient: Optional[Tensor]) -> bool:
    return gradient is not None and bool(gradient.any())


def _modes(model: nn.Module) -> Tuple[List, List]:
    """Say which parameters and norm layers train, without those of attention."""
    model.train()
    parameters = [
        (tuple(p.shape), p.requires_grad)
        for name, p in model.named_parameters()
        if '.attentions.' not in f'.{name}'
    ]
    norms = [
        (module.training,)
        for name, module in model.named_modules()
        if is_norm(module) and '.attentions.' not in f'.{name}'
    ]
    return parameters, norms


def _contributing_stages(plain: nn.Module, ours: nn.Module, name: str) -> List[bool]:
    """Say in which stages the stock model's losses depend on the last block."""
    backbone: Any = ours.get_submodule(name)
    last = (plain.get_submodule(f'{name}.{s[-1]}') for s in backbone.block_names)
    return [any(_is_nonzero(p.grad) for p in block.parameters()) for block in last]


def reason_of(error: BaseException) -> str:
    """Say in one line why something went wrong."""
    own = isinstance(error, (Disagreement, HostError))
    text = FOLDERS.sub('.../', str(error))  # of this machine
    return one_line(text if own else f'{type(error).__name__}: {text}')
