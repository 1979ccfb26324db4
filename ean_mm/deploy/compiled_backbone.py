"""A backbone whose network runs in OpenVINO or ONNX Runtime."""

from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from ean_mm.deploy.runtimes import open_network
from ean_mm.errors import EANError


@MODELS.register_module()
class CompiledBackbone(BaseModule):
    """Runs an exported backbone, in the place of the backbone that was exported.

    Classifiers, detectors and segmentors of the toolboxes run with it as with any
    backbone; their other weights are PyTorch's. It has no weights of its own and runs
    on the CPU. ``tools/model_converters/deploy.py`` writes the file, and a config with
    this backbone.

    Args:
        file: The network: for OpenVINO ``.xml``, with its weights in the ``.bin``
            beside it, or ``.onnx``; for ONNX Runtime ``.onnx``.
        runtime: ``'openvino'`` or ``'onnxruntime'``.
        precision: ``'f32'``; ``'bf16'``, with OpenVINO on a processor that has it; or
            ``'int8'`` for a quantised file.
        num_threads: Threads to use; by default as many as PyTorch does.
        init_cfg: None, for there is nothing to initialise.

    Raises:
        ValueError: The runtime is not installed or cannot do it, the file is missing or
            unreadable, the images do not fit it, or it is going to be trained.

    Example:
        >>> backbone = dict(
        ...     type='CompiledBackbone', file='deployed.xml', runtime='openvino')
    """

    def __init__(
        self,
        file: str,
        runtime: str,
        precision: str = 'f32',
        num_threads: Optional[int] = None,
        init_cfg: None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.file = str(file)
        self.runtime = runtime
        self.precision = precision
        self.num_threads = num_threads
        self.eval()
        self._network = self._open()

    def _open(self) -> Any:
        threads = self.num_threads or torch.get_num_threads()
        return open_network(self.file, self.runtime, self.precision, threads)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            x: Images of shape ``(N, C, H, W)``.

        Returns:
            The feature maps that the exported backbone returned, in float32.

        Raises:
            ValueError: The network is for other images.
        """
        if self._network is None:  # in a copy, or in another process
            self._network = self._open()
        expected = self._network.shape
        if x.dim() != 4 or any(n not in (m, None) for m, n in zip(x.shape, expected)):
            sizes = ', '.join('any' if n is None else str(n) for n in expected)
            raise EANError(
                f'{self.file} is for images of shape ({sizes}) and gets '
                f'{tuple(x.shape)}; give it such images, or deploy it for these'
            )
        images = x.detach().float().contiguous().cpu().numpy()
        maps = self._network(images)
        return tuple(torch.from_numpy(each).to(x.device) for each in maps)

    def train(self, mode: bool = True) -> 'CompiledBackbone':
        if mode:
            raise EANError(
                f'{self.file} is compiled and cannot be trained; train the checkpoint '
                'that it was made of'
            )
        super().train(mode)
        return self

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if any(key.startswith(prefix) for key in state_dict):
            raise EANError(
                f'{self.file} is compiled and loads no weights, and the checkpoint has '
                'some for it; load the one that was written beside it'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, '_network': None}
