"""Load a checkpoint into the model that it was trained with, and into no other."""

from typing import Any, Dict, Optional

from mmengine.runner import load_state_dict
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.search.space import masked_modules


def load_trained(
    model: nn.Module, checkpoint: Any, mask: Optional[str] = None
) -> nn.Module:
    """Load the weights and the masks of a checkpoint into a model.

    Args:
        model: The model, as its config builds it.
        checkpoint: What :func:`ean_mm.launch.read_checkpoint` returns.
        mask: Mask to set; by default the checkpoint's, where it is not a supernet's.

    Returns:
        The model in eval mode.

    Raises:
        ValueError: The checkpoint is deployed, or lacks weights of the model.
    """
    meta = stored_meta(checkpoint)
    if meta.get('deployed'):
        raise EANError(
            'the checkpoint is deployed already; take the one that it was made of'
        )
    weights = checkpoint.get('state_dict', checkpoint)
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
        ValueError: The checkpoint is no dict.
    """
    if not isinstance(checkpoint, dict):
        raise EANError('the checkpoint holds no weights')
    return checkpoint.get('meta', {}).get('ean_mm', {})


def require_weights(model: nn.Module, weights: Dict[str, Tensor]) -> None:
    """Refuse weights that lack some of the model's or have them in another shape."""
    wrong = [
        name
        for name, value in model.state_dict().items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if wrong:
        raise EANError(
            f'the checkpoint lacks {len(wrong)} weights of the model or has them in '
            f'another shape, the first being {wrong[0]}; take the config that it was '
            'trained with'
        )
