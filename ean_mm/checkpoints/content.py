"""What a checkpoint holds, weights, masks and notes; loading it where it fits."""

import re
from typing import Any, Dict, Optional, Set

from mmengine.runner import load_state_dict
from torch import Tensor, nn

from ean_mm.errors import EANError, one_line
from ean_mm.mask_parsing import MAX_BLOCKS, is_bits
from ean_mm.models.masked import masked_modules


def load_trained(
    model: nn.Module, checkpoint: Any, mask: Optional[str] = None
) -> nn.Module:
    """Load the weights and the masks of a checkpoint into a model.

    Args:
        model: The model, as its config builds it.
        checkpoint: What :func:`read_checkpoint` returns.
        mask: Mask to set; by default the checkpoint's, where it is not a supernet's.

    Returns:
        The model in eval mode.

    Raises:
        ValueError: The checkpoint is deployed, or lacks weights of the model.
    """
    meta = stored_meta(checkpoint)
    weights = stored_weights(checkpoint)
    if meta.get('deployed'):
        raise EANError(
            'the checkpoint is deployed already; take the one that it was made of'
        )
    require_weights(model, weights)
    load_state_dict(model, weights)
    for name, module in masked_modules(model).items():
        stored = meta.get('masks', {}).get(name)
        if mask or stored and not meta.get('supernet'):
            module.set_mask(mask or stored)
    return model.eval()


def stored_meta(checkpoint: Any) -> Dict[str, Any]:
    """Return what EAN-MM's hooks noted in a checkpoint, as its masks.

    Raises:
        ValueError: The checkpoint is no dict, or the notes are not what hooks write.
    """
    if not isinstance(checkpoint, dict):
        raise EANError('the checkpoint holds no weights')
    meta = checkpoint.get('meta')
    notes = meta.get('ean_mm', {}) if isinstance(meta, dict) else {}
    masks = notes.get('masks', {}) if isinstance(notes, dict) else None
    if not isinstance(masks, dict) or not all(map(_is_mask, masks.values())):
        raise EANError(
            "the checkpoint's meta['ean_mm'] does not hold a mask for each module, as "
            'MaskHook writes it; remove it there, or take another checkpoint'
        )
    return notes


def _is_mask(value: Any) -> bool:
    """Whether it is the text of a mask: bits, and no file that a stranger names."""
    return isinstance(value, str) and len(value) <= 2 * MAX_BLOCKS and is_bits(value)


def stored_weights(checkpoint: Any) -> Dict[str, Tensor]:
    """Return the weights in a checkpoint, by name.

    Raises:
        ValueError: It holds none, or something else among them.
    """
    weights = checkpoint
    if isinstance(checkpoint, dict):
        weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict) or not all(isinstance(n, str) for n in weights):
        raise EANError('the checkpoint is no dict of weights; load another file')
    if weights is not checkpoint:
        for name, value in weights.items():
            if not isinstance(value, Tensor) and not name.endswith('_extra_state'):
                raise EANError(
                    f"the checkpoint's {one_line(name)!r} is a {type(value).__name__} "
                    'and no tensor; load another file'
                )
    return weights


def require_weights(model: nn.Module, weights: Dict[str, Tensor]) -> None:
    """Refuse weights that lack some of the model's or have them in another shape."""
    wrong = [
        name
        for name, value in model.state_dict().items()
        if getattr(weights.get(name), 'shape', None) != value.shape
    ]
    if wrong:
        raise EANError(
            f'the checkpoint lacks {len(wrong)} weights of the model or has them in '
            f'another shape, the first being {wrong[0]}; take the config that it was '
            'trained with'
        )


def weight_names(checkpoint: Dict[str, Any]) -> Set[str]:
    """Names of the weights in a checkpoint, as of a model that is not wrapped."""
    return set(_of_unwrapped(checkpoint))


def _of_unwrapped(checkpoint: Dict[str, Any]) -> Dict[str, Tensor]:
    weights = stored_weights(checkpoint)
    return {re.sub(r'^module\.', '', name): weights[name] for name in weights}


def require_some_weights(
    model: nn.Module, checkpoint: Dict[str, Any], path: str
) -> None:
    """Refuse a checkpoint that holds none of the weights that a model reads.

    Args:
        model: The model, which may rename what it loads: mmdet's semi-supervised
            detectors load a plain detector's, mmpretrain's wrappers of timm and of
            Hugging Face the weights of those.
        checkpoint: The checkpoint.
        path: Where it comes from.

    Raises:
        ValueError: None of its names is one of the model's.
    """
    expected = set(model.state_dict())
    weights = _of_unwrapped(checkpoint)
    if expected & weights.keys():
        return
    first = one_line(min(weights, default='missing'))
    # This loads the model's own parameters, and not those of the modules in it.
    model._load_from_state_dict(weights, '', {}, False, [], [], [])
    if not expected & weights.keys():
        raise EANError(
            f'the checkpoint {path} holds no weights of this model: its first is '
            f"{first!r}, the model's {min(expected)!r}; load it with the config that "
            'it was trained with'
        )


def require_form(modules: Dict[str, Any], deployed: bool, path: str) -> None:
    """Refuse a deployed checkpoint for modules that are not, and the reverse.

    Args:
        modules: The masked modules of a model, by name.
        deployed: Whether the checkpoint says that it is.
        path: Where it comes from.
    """
    for name, module in modules.items():
        if getattr(module, 'deployed', deployed) == deployed:
            continue
        if deployed:
            mend = (
                f'load it with model.{name}.deploy=True, as in the config that was '
                'written beside it'
            )
        else:
            mend = (
                'convert it with tools/model_converters/deploy.py, or load it without '
                f'model.{name}.deploy'
            )
        raise EANError(
            f'the checkpoint {path} is {"" if deployed else "not "}deployed; {mend}'
        )
