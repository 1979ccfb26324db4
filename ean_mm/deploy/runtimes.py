"""The runtimes that run exported networks: OpenVINO and ONNX Runtime, on the CPU."""

from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from ean_mm.errors import EANError, one_line

SUFFIXES = dict(openvino='.xml', onnxruntime='.onnx')
"""of the files that are written for each runtime"""

PRECISIONS = ('f32', 'bf16', 'int8')

STATIC_SHAPES = 2
"""of images, for which OpenVINO compiles a network of their own: the usual one and the
last batch's; each has a copy of the weights"""


def import_extra(name: str, purpose: str) -> ModuleType:
    """Import a package of the extra ``deploy``.

    Args:
        name: The package.
        purpose: What needs it, for the error.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise EANError(
            f'{purpose} needs {error.name or name}; pip install ean_mm[deploy]'
        ) from error


@cache
def openvino_core() -> Any:
    """Return OpenVINO's core, the one that this process keeps.

    Each core that has loaded the plugin of the CPU has signals handled on a stack of
    its own, and puts back the stack before it when it is freed. When two cores are
    freed in the order of their creation, OpenVINO 2026.4 puts back a stack that is
    gone, and the next signal, as when a worker of a data loader ends, kills the
    process. So there is one core, made before NNCF makes its own.
    """
    core = import_module('openvino').Core()
    core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')  # loads the plugin
    return core


class OpenVINONetwork:
    """An exported network, run by OpenVINO.

    It is compiled anew for each of the first :data:`STATIC_SHAPES` shapes of images
    that come, and once more for all others: for one shape alone it is faster. A
    quantised one is compiled for every shape, and kept for the last ones: OpenVINO
    2026.4 computes it wrongly where the shape is not fixed (relative difference to
    float32 0.50, and 0.15 where it is; AVX2).

    Args:
        file: The network: ``.xml`` with its weights in the ``.bin`` beside it, or
            ``.onnx``.
        precision: What the layers compute in that are not quantised: ``'bf16'``, else
            float32. OpenVINO is told, since its default depends on the processor.
        num_threads: Threads to use.

    Raises:
        ValueError: The file cannot be read.
    """

    def __init__(self, file: str, precision: str, num_threads: int) -> None:
        self.quantised = precision == 'int8'
        self.options = dict(
            INFERENCE_PRECISION_HINT='bf16' if precision == 'bf16' else 'f32',
            INFERENCE_NUM_THREADS=num_threads,
            PERFORMANCE_HINT='LATENCY',
        )
        try:
            self.model = openvino_core().read_model(file)
        except RuntimeError as error:
            raise _unreadable(file, 'OpenVINO', error) from error
        if precision == 'bf16':
            # What comes after the last convolutions is left in float32 otherwise: with
            # attention, the sums of the whole last stage, with conversions of the maps
            # between them.
            for node in self.model.get_ops():
                node.get_rt_info()['enforceBF16evenForGraphTail'] = 'true'
        shape = self.model.input().partial_shape
        self.shape = [each.get_length() if each.is_static else None for each in shape]
        self.compiled: Dict[Optional[Tuple[int, ...]], Any] = {}

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Run the network on images ``(N, C, H, W)``; return its feature maps."""
        shape: Optional[Tuple[int, ...]] = images.shape
        if shape not in self.compiled and len(self.compiled) >= STATIC_SHAPES:
            if self.quantised:
                del self.compiled[next(iter(self.compiled))]
            else:
                shape = None
        if shape not in self.compiled:
            model = self.model.clone()
            if shape is not None:
                model.reshape(shape)
            self.compiled[shape] = openvino_core().compile_model(
                model, 'CPU', self.options
            )
        return self.compiled[shape](images).to_tuple()


class ONNXRuntimeNetwork:
    """An exported network, run by ONNX Runtime.

    Args:
        file: The network, ``.onnx``.
        num_threads: Threads to use.

    Raises:
        ValueError: The file cannot be read.
    """

    def __init__(self, file: str, precision: str, num_threads: int) -> None:
        onnxruntime = import_module('onnxruntime')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self.session = onnxruntime.InferenceSession(
                file, options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # its own errors have no base of theirs
            raise _unreadable(file, 'ONNX Runtime', error) from error
        self.input = self.session.get_inputs()[0]
        self.shape = [n if isinstance(n, int) else None for n in self.input.shape]

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Run the network on images ``(N, C, H, W)``; return its feature maps."""
        return self.session.run(None, {self.input.name: images})


RUNTIMES: Dict[str, Any] = dict(
    openvino=OpenVINONetwork, onnxruntime=ONNXRuntimeNetwork
)


def require_runtime(runtime: str, precision: str) -> None:
    """Refuse a runtime or a precision that is unknown, or not to be had here."""
    for name, value, known in (
        ('runtime', runtime, tuple(RUNTIMES)),
        ('precision', precision, PRECISIONS),
    ):
        if value not in known:
            raise EANError(f'{name}={value!r} is unknown; use {", ".join(known)}')
    import_extra(runtime, f'runtime={runtime!r}')
    if precision != 'bf16':
        return
    if runtime == 'onnxruntime':
        raise EANError(
            "runtime='onnxruntime' has no bf16 on CPUs; use runtime='openvino', or "
            "precision='f32'"
        )
    if 'BF16' not in openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        raise EANError("this processor has no bf16; use precision='f32'")


def open_network(file: str, runtime: str, precision: str, num_threads: int) -> Any:
    """Open an exported network in a runtime.

    Raises:
        ValueError: The runtime or the precision is unknown or not to be had here, or
            the file is missing, damaged or not of this precision.
    """
    require_runtime(runtime, precision)
    if not Path(file).is_file():
        raise EANError(
            f'there is no file {file}; write it with tools/model_converters/deploy.py'
        )
    quantised = _is_quantised(file)
    if quantised and precision != 'int8':
        raise EANError(f"{file} is quantised; use precision='int8'")
    if precision == 'int8' and not quantised:
        raise EANError(f'{file} is not quantised; deploy it with --precision int8')
    return RUNTIMES[runtime](file, precision, num_threads)


def _is_quantised(file: str) -> bool:
    """Whether a file has the operators that quantise, by their names in it."""
    content = Path(file).read_bytes()
    return b'QuantizeLinear' in content or b'FakeQuantize' in content


def _unreadable(file: str, name: str, error: Exception) -> EANError:
    return EANError(f'{name} cannot read {file}: {one_line(error)}')
