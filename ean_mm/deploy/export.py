"""Export networks to files that OpenVINO and ONNX Runtime read."""

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Union

import torch
from torch import Tensor, nn
from torch.export import Dim

from ean_mm.deploy.graph_form import in_graph_form
from ean_mm.deploy.runtimes import SUFFIXES, import_extra, openvino_core
from ean_mm.errors import EANError, one_line

OPSET = 18
"""of the ONNX files"""

INPUT = 'images'
"""name of the input in the files"""


def export(network: nn.Module, file: Union[str, Path], images: Tensor) -> None:
    """Export a network to a file, in float32 and for any batch and image size.

    The one form for all runtimes is ONNX; OpenVINO reads that and writes its own.
    Modules with ``exports_one_size``, as ``SPAAttention``, fix the image size to that
    of the example: PyTorch exports their pooling for it alone.

    Args:
        network: A backbone, best after ``switch_to_deploy``, a classifier, or any other
            module that takes images alone and returns tensors.
        file: What to write: ``.onnx``, or ``.xml`` for OpenVINO, which puts the weights
            into the ``.bin`` beside it.
        images: Example images ``(N, C, H, W)``.

    Raises:
        ValueError: The file has another suffix, a package is missing, or the network
            cannot be exported.
    """
    suffix = Path(file).suffix
    if suffix not in SUFFIXES.values():
        raise EANError(f'{file} must end in {" or ".join(sorted(SUFFIXES.values()))}')
    import_extra('onnxscript', 'the export')
    if len(images) == 1:  # which PyTorch takes for a batch that is always one
        images = images.expand(2, -1, -1, -1)
    one_size = any(getattr(m, 'exports_one_size', False) for m in network.modules())
    sizes = {} if one_size else {2: Dim.AUTO, 3: Dim.AUTO}
    network.eval()  # mmpretrain's returns None
    network = in_graph_form(network, planar=suffix == '.onnx')
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, 'network.onnx')
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')  # of PyTorch, about its own code
                torch.onnx.export(
                    network,
                    (images,),
                    exported,
                    dynamo=True,
                    opset_version=OPSET,
                    dynamic_shapes=({0: Dim.AUTO, **sizes},),
                    input_names=[INPUT],
                    external_data=False,
                    verbose=False,
                )
        except Exception as error:  # it raises almost anything, from what it is about
            reason = one_line(error.__cause__ or error)
            raise EANError(f'the network cannot be exported: {reason}') from error
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        if suffix == '.onnx':
            shutil.copyfile(exported, file)
        else:
            openvino = import_extra('openvino', 'a file for OpenVINO')
            model = openvino_core().read_model(exported)
            openvino.save_model(model, file, compress_to_fp16=False)
