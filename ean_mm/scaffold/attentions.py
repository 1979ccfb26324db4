"""The attention modules, with the options that a network needs."""

from typing import Any, Dict

ATTENTIONS = {
    name.lower(): f'{name}Attention'
    for name in ('SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM')
}
"""name on the command line, and ``type`` in a config"""

WITH_RATIO = ('se', 'dia', 'spa', 'cbam')


def attention_config(name: str, channels: int, pretrained: bool) -> Dict[str, Any]:
    """Return the config of an attention module.

    Args:
        name: One of :data:`ATTENTIONS`.
        channels: Channels of the network's first stage.
        pretrained: Whether the network's weights are trained already; the attention
            then starts so that it hardly changes the features.
    """
    cfg: Dict[str, Any] = dict(type=ATTENTIONS[name])
    if name == 'sge' and channels < 256:
        cfg['groups'] = channels // 4  # a group for each channel trains badly
    if name in WITH_RATIO and channels < 64:
        cfg['ratio'] = 4  # the default of 16 would leave a single channel
    if pretrained:
        cfg['init'] = 'identity'
    return cfg
