"""What the backbones with a mask have in common: built anew, or around another one."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention import build_attention
from ean_mm.models.masked import MaskedModule, Place


class MaskedBackbone(MaskedModule):
    """Mixin for a backbone of residual blocks that attention can be plugged into.

    The backbone has ``masked_blocks`` and ``stage_blocks``, and hands the blocks their
    attention.
    """

    deployed = False
    freeze_attention = False

    def _finish_init(
        self,
        attention: Optional[Dict[str, Any]],
        mask: Any,
        share: str,
        freeze_attention: bool,
        deploy: Union[bool, str],
    ) -> None:
        """Build the attention, set the mask, freeze and deploy, as the arguments say.

        For constructors to end with, once the stages are there; see
        :class:`EANResNet`.
        """
        if share not in ('stage', 'block'):
            raise EANError(f"share={share!r} is unknown; use 'stage' or 'block'")
        self.share = share
        self.attention = attention
        self.attentions = nn.ModuleList()
        if attention is not None:
            self.attentions.extend(
                map(self._build_attention, self._widths, self.masked_blocks)
            )
        self.set_mask(mask)
        self.freeze_attention = freeze_attention
        self._freeze_stages()
        if deploy:
            self.switch_to_deploy('channels_last' if deploy is True else deploy)

    def _build_attention(self, channels: int, stage: Sequence[nn.Module]) -> nn.Module:
        """One module for the stage, or a list with one for each of its blocks."""
        if self.share == 'stage':
            return build_attention(self.attention, channels)
        return nn.ModuleList(build_attention(self.attention, channels) for _ in stage)

    @property
    def masked_blocks(self) -> List[Sequence[Any]]:
        """The residual blocks of each stage."""
        return [getattr(self, name) for name in self.res_layers]

    @property
    def _widths(self) -> List[int]:
        """The number of channels that the residual branches of each stage end with."""
        last = [stage[-1] for stage in self.masked_blocks]
        return [getattr(block, f'conv{block.depth}').out_channels for block in last]

    @property
    def block_names(self) -> List[List[str]]:
        """The names of the blocks in the backbone, as ``'layer1.0'``."""
        names = {module: name for name, module in self.named_modules()}
        return [[names[block] for block in stage] for stage in self.masked_blocks]

    @property
    def network(self) -> str:
        """Name of the network in mask files, as ``'EANResNet-50'``.

        A network without a depth has its number of blocks there.
        """
        depth = getattr(self, 'depth', sum(self.stage_blocks))
        return f'{type(self).__name__}-{depth}'

    def set_mask(self, mask: Any) -> None:
        if self.deployed:
            raise EANError(
                f'{self.network} is deployed for the mask {self.mask}; to change it, '
                'deploy the trained checkpoint again'
            )
        super().set_mask(mask)
        self._hand_out()

    def _place(self, stage: int, block: int) -> Place:
        if self.share == 'stage' and not self.deployed:
            return super()._place(stage, block)
        modules: Any = self.attentions[stage]
        return modules, block

    def _hand_out(self) -> None:
        """Let the stages run with their attention, whoever calls them."""
        stages: List[Any] = self.masked_blocks
        for stage, places in zip(stages, self._places):
            stage.places, stage.shared = places, self.share == 'stage'

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the backbone returns.

        Args:
            x: Images of shape ``(N, C, H, W)``.
            *args: What else the backbone takes.
            **kwargs: The same, by name.
        """
        return self._deliver(super().forward(x, *args, **kwargs), x)

    def switch_to_deploy(self, memory_format: str = 'channels_last') -> None:
        """Turn the network into one for inference, with the same output.

        The norm layers are folded into the convolutions, attention that no bit uses is
        dropped, and where attention follows a 1x1 convolution its gate is taken from
        the convolution's input. The mask is fixed then, and the network cannot be
        trained any more. A second call changes nothing.

        Args:
            memory_format: Of the weights: ``'channels_last'``, on most machines the
                faster one, or ``'contiguous'``. Feature maps follow them inside. They
                come out contiguous, as mmcv's operators (RoIAlign and others) need
                them, unless the images are channels last.

        Raises:
            ValueError: Unknown memory format, or layers that cannot be folded.
        """
        from ean_mm.deploy.folding import fold

        fold(self, memory_format)
        self.deployed = True
        self._places = self.places(self._mask)
        self._hand_out()

    def _deliver(self, maps: Any, images: Tensor) -> Any:
        """Return a deployed network's maps contiguous, but for channels-last images."""
        channels_last = not images.is_contiguous() and images.is_contiguous(
            memory_format=torch.channels_last
        )
        if not self.deployed or channels_last:
            return maps
        if isinstance(maps, Tensor):
            return maps.contiguous()
        contiguous = [x.contiguous() for x in maps]
        return contiguous if isinstance(maps, list) else tuple(contiguous)

    @property
    def get_layer_depth(self) -> Callable[..., Tuple[int, int]]:
        """What says how deep a parameter lies, for layer-wise learning rate decay.

        Attention lies where the last block of its stage does, unshared attention where
        its block does. A backbone that cannot say it has no such attribute.
        """
        of_backbone = super().get_layer_depth

        def get_layer_depth(param_name: str, prefix: str = '') -> Tuple[int, int]:
            own = f'{prefix}attentions.'
            if param_name.startswith(own):
                stage, block = param_name[len(own) :].split('.')[:2]
                names = self.block_names[int(stage)]
                name = names[-1 if self.share == 'stage' else int(block)]
                param_name = f'{prefix}{name}.conv1'
            return of_backbone(param_name, prefix)

        return get_layer_depth

    def _freeze_stages(self) -> None:
        freeze: Any = getattr(super(), '_freeze_stages', lambda: None)
        freeze()
        if self.freeze_attention:
            for attention, stage in zip(self.attentions, self.masked_blocks):
                parameters = (p for block in stage for p in block.parameters())
                if not any(p.requires_grad for p in parameters):
                    attention.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'MaskedBackbone':
        if mode and self.deployed:
            raise EANError(
                f'{self.network} is deployed and cannot be trained; train the '
                'checkpoint that it was made of'
            )
        super().train(mode)
        if not self.freeze_attention:
            self.attentions.train(mode)  # norm_eval has put their norm layers to eval
        return self

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = {f'{prefix}{name}' for name, _ in self.named_buffers()}
        norms = {
            key
            for key in state_dict
            if key.startswith(prefix) and key.endswith('.running_mean')
        }
        if self.deployed and not norms <= own:
            raise EANError(
                f'the weights for {self.network} are not deployed and the network is; '
                'convert them with tools/model_converters/deploy.py, or build it '
                'without deploy'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
