"""Put the backbones of a trained model into a runtime."""

import copy
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import torch
from torch import Tensor

from ean_mm.deploy.check import TOLERANCE
from ean_mm.deploy.compiled_backbone import CompiledBackbone
from ean_mm.deploy.export import export
from ean_mm.deploy.quantization import quantise
from ean_mm.profiling import median_seconds

TOLERANCES: Dict[str, float] = dict(f32=TOLERANCE, bf16=0.05, int8=float('inf'))
"""relative difference of the feature maps that is refused; int8 is judged by metrics"""


@dataclass(frozen=True)
class RuntimeDeployment:
    """How to put backbones into a runtime.

    Args:
        runtime: ``'openvino'`` or ``'onnxruntime'``.
        precision: ``'f32'``, ``'bf16'`` or ``'int8'``.
        calibration: Images to quantise on, for int8.
        preprocess: What makes of each of them what the backbone gets.
    """

    runtime: str
    precision: str
    calibration: Sequence[Any]
    preprocess: Callable[[Any], Tensor]

    def compile(self, backbone: Any, file: Path, images: Tensor) -> CompiledBackbone:
        """Write a backbone to a file and open it.

        Args:
            backbone: The backbone as trained, in eval mode, which is not changed.
            file: What to write.
            images: Example images ``(N, C, H, W)``.

        Raises:
            ValueError: The backbone cannot be deployed, or not in this runtime.
        """
        folded = copy.deepcopy(backbone)
        folded.switch_to_deploy('contiguous')
        if self.precision == 'int8':
            with tempfile.TemporaryDirectory() as folder:
                exported = Path(folder, file.name)
                export(folded, exported, images)
                quantise(exported, file, self.calibration, self.preprocess)
        else:
            export(folded, file, images)
        return CompiledBackbone(str(file), self.runtime, self.precision)

    @torch.inference_mode()
    def milliseconds(
        self, trained: Any, compiled: CompiledBackbone, images: Tensor
    ) -> Dict[str, float]:
        """Time a batch alternately before and after, and without attention.

        Args:
            trained: The backbone as trained.
            compiled: The same, compiled.
            images: The batch, ``(N, C, H, W)``.

        Returns:
            Milliseconds of ``'trained'``, of ``'plain'``, compiled without attention,
            and of ``'compiled'``.
        """
        plain = copy.deepcopy(trained)
        plain.set_mask('none')
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, Path(compiled.file).name)
            networks = dict(
                trained=trained,
                plain=self.compile(plain, file, images),
                compiled=compiled,
            )
            calls = [partial(network, images) for network in networks.values()]
            seconds = median_seconds(calls)
        return dict(zip(networks, (1000 * each for each in seconds)))
