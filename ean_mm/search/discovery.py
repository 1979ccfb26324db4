"""Which masked modules of a model are searched, and which take over a mask."""

from typing import Any, Collection, Dict, List, NamedTuple, Optional, Sequence

from mmengine.model import BaseAveragedModel
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ean_mm.errors import EANError, one_line


class Discovery(NamedTuple):
    """What the masked modules of a model are, by their names."""

    searched: List[str]
    followers: Dict[str, str]
    """teachers that are an average of a searched module, and that module"""
    left_out: List[str]
    """modules that are not searched and keep their mask"""


def discover(
    model: nn.Module, masked: Dict[str, Any], chosen: Optional[Sequence[str]] = None
) -> Discovery:
    """Say which masked modules are searched.

    Those are that are trained. A momentum teacher, whose weights are an average of its
    student's (mmengine's averaged models, as of MoCo and BYOL, and the teacher of
    mmdet's semi-supervised detectors), has the student's mask at any time: an average
    of one network's weights means nothing in another. Other modules without a parameter
    to train, as the teacher of a distillation, keep the mask that they were built with.

    Args:
        model: The model, not wrapped.
        masked: Its masked modules.
        chosen: Names of those to search, in place of all that are trained.

    Raises:
        ValueError: A chosen name is unknown, or nothing is left to search.
    """
    teachers = [name for name in masked if name.startswith(tuple(_teachers(model)))]
    if chosen is None:
        frozen = [name for name in masked if _is_frozen(masked[name])]
        searched = [name for name in masked if name not in (*teachers, *frozen)]
    else:
        searched = [name for name in masked if name in chosen]
    unknown = [name for name in chosen or [] if name not in masked]
    if unknown:
        raise EANError(
            f'modules={unknown!r:.80} are none with a mask and attention; there are '
            f'{one_line(", ".join(masked))}'
        )
    if not searched:
        raise EANError(
            f'the model has nothing to search: {one_line(", ".join(masked))} are '
            'frozen, or a teacher without a student; train them, or name what to '
            f'search: modules={list(masked)[:1]!r} of the hooks'
        )
    followers: Dict[str, str] = {}
    for name in teachers:
        if name not in searched:
            student = _student(name, masked, searched, followers.values())
            if student is not None:
                followers[name] = student
    left_out = [n for n in masked if n not in searched and n not in followers]
    return Discovery(searched, followers, left_out)


def _teachers(model: nn.Module) -> List[str]:
    """Name the averages of other modules in a model, each with a dot behind."""
    names = []
    for name, module in model.named_modules():
        if isinstance(module, (BaseAveragedModel, AveragedModel)):
            names.append(f'{name}.')
        elif any(kind.__name__ == 'SemiBaseDetector' for kind in type(module).__mro__):
            names.append(f'{name}.teacher.'.lstrip('.'))
    return names


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _student(
    teacher: str,
    masked: Dict[str, Any],
    searched: Sequence[str],
    followed: Collection[str],
) -> Optional[str]:
    """Return the searched module that a teacher is an average of.

    It has the same weights. Of several, the one whose name ends like the teacher's,
    and then the first that no other teacher follows yet: a copy keeps the order.
    """
    twins = [name for name in searched if _form(masked[name]) == _form(masked[teacher])]

    def likeness(name: str) -> Any:
        pairs = zip(name.split('.')[::-1], teacher.split('.')[::-1])
        common = [ours == theirs for ours, theirs in pairs]
        return (common + [False]).index(False), name not in followed

    return max(twins, key=likeness, default=None)


def _form(module: Any) -> Any:
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    return tuple(module.stage_blocks), shapes
