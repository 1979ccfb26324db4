"""Quantise exported networks to 8 bits, by NNCF."""

import logging
import os
from pathlib import Path
from typing import Any, Callable, Sequence, Union

from torch import Tensor

from ean_mm.deploy.export import INPUT
from ean_mm.deploy.runtimes import import_extra, openvino_core


def quantise(
    file: Union[str, Path],
    target: Union[str, Path],
    batches: Sequence[Any],
    preprocess: Callable[[Any], Tensor],
) -> None:
    """Quantise the layers of an exported network to int8, without training.

    Args:
        file: What :func:`~ean_mm.deploy.export` has written.
        target: Another file to write, with the same suffix.
        batches: Some hundred images, to measure the ranges of its feature maps on.
        preprocess: What makes of each of them the network's input ``(N, C, H, W)``.

    Raises:
        ValueError: A package is missing.
    """
    # By default it reports its use to its makers.
    os.environ.setdefault('NNCF_CI', '1')
    nncf = import_extra('nncf', 'quantisation')
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(batches, lambda batch: {INPUT: preprocess(batch).numpy()})
    if Path(file).suffix == '.onnx':
        onnx = import_extra('onnx', 'quantisation')
        network = nncf.quantize(onnx.load(file), data, subset_size=len(batches))
        onnx.save(network, target)
    else:
        openvino = import_extra('openvino', 'quantisation')
        network = openvino_core().read_model(file)
        network = nncf.quantize(network, data, subset_size=len(batches))
        openvino.save_model(network, target, compress_to_fp16=False)
