"""Evaluate masks on the reward set with the supernet's weights."""

import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ean_mm.search.evaluation.base import Evaluation, Measurement
from ean_mm.search.evaluation.batch_cache import BatchCache, Batches
from ean_mm.search.evaluation.calibration import BNCalibration
from ean_mm.search.evaluation.gathering import compute_metrics
from ean_mm.search.evaluation.prefix_tree import ActivationCache, PrefixTree, Work
from ean_mm.search.evaluation.reward_set import (
    fresh,
    hash_of_images,
    hash_of_weights,
    require_images,
)
from ean_mm.search.evaluation.validation import Validation
from ean_mm.search.history import Request
from ean_mm.search.space import Bits, SearchSpace

GIB = 1 << 30


class MaskEvaluator(Evaluation):
    """Runs the model over the reward set, once for all masks that are due.

    Images are decoded once in a search, but for the run's own loop. Where the backbone
    allows it, masks share what their common prefix computes (see
    :class:`~ean_mm.search.evaluation.prefix_tree.PrefixTree`); else, and with
    calibration, every mask has a pass of its own. The metrics are the
    same numbers either way.

    A loop of its own: a validation loop would fire the hooks that save the best
    checkpoint or stop early. What other hooks prepare for a validation is to hold
    around it (:meth:`Validation.prepared`); where it may depend on the mask, or the run
    validates in a loop of its own, that loop is run for each mask. Under a distributed
    launch the ranks share the reward set as the data loader's sampler deals it, and all
    of them get the same metrics.

    Args:
        model: The supernet, wrapped for distributed training or not.
        space: Its search space.
        dataloader: Loader of the reward set; it deals the same batches in every pass.
        evaluator: The metrics. Each mask gets a copy.
        calibration: Adapts the batch norm statistics to a mask before it is
            evaluated; None to use the supernet's.
        fp16: Evaluate under autocast.
        image_memory: Bytes of decoded images to keep in memory, in each process; what
            is more goes to a memory-mapped file.
        activation_memory: Bytes of activations to keep for later passes, in each
            process, where the model runs.
        folder: Where that file goes; the system's temporary folder by default.
        validation: The run's validation, where each mask needs its loop.

    Raises:
        ValueError: The reward set is empty.
    """

    def __init__(
        self,
        model: nn.Module,
        space: SearchSpace,
        dataloader: DataLoader,
        evaluator: Evaluator,
        calibration: Optional[BNCalibration] = None,
        fp16: bool = False,
        image_memory: int = 2 * GIB,
        activation_memory: int = 2 * GIB,
        folder: Optional[Path] = None,
        validation: Optional[Validation] = None,
    ) -> None:
        super().__init__(model, space, dataloader, evaluator)
        require_images(self.dataset)
        self.batches = BatchCache(dataloader, image_memory, folder)
        self.calibration = calibration
        self.fp16 = fp16
        self.validation = validation
        self.work = Work()
        """what all evaluations together have computed, in this process"""
        self._tree: Optional[PrefixTree] = None
        for self._backbone, module in space.modules.items():
            if PrefixTree.supports(module):
                cache = ActivationCache(activation_memory)
                self._tree = PrefixTree(module, cache, self.work)
                break
        self.why_alone = self._known_reason()
        """why each mask takes a pass of its own, None where they share one"""
        self._probed = False

    def judge(self, requests: Sequence[Request]) -> List[Measurement]:
        """Measure masks; see :class:`~ean_mm.search.evaluation.base.Evaluation`."""
        metrics = self.evaluate([request.bits for request in requests])
        return [Measurement(of_mask) for of_mask in metrics]

    @torch.no_grad()
    def evaluate(self, masks: Sequence[Bits]) -> List[Dict[str, float]]:
        """Return the metrics of the model under each mask."""
        if not masks:
            return []
        started = time.perf_counter()
        metrics = None
        if self._tree is not None and self.why_alone is None:
            metrics = self._evaluate_together(self._tree, masks)
        if metrics is None:
            try:
                metrics = [self._evaluate_alone(bits) for bits in masks]
            finally:
                if self.calibration is not None:
                    self.calibration.restore()
        self.work.masks += len(masks)
        self.work.seconds += time.perf_counter() - started
        return metrics

    def _evaluate_alone(self, bits: Bits) -> Dict[str, float]:
        """Evaluate one mask in a pass of its own."""
        self.space.apply(bits)
        if self.calibration is not None:
            self.calibration.adapt()
        evaluator = fresh(self.evaluator)
        if self.validation is not None:
            self.work.images += len(self.dataset)
            return self.validation.run(Batches(self.batches.dataloader), evaluator)
        self.model.eval()
        for batch in self.batches:
            with autocast(enabled=self.fp16):
                outputs = self.model.val_step(batch)
            evaluator.process(data_samples=outputs, data_batch=batch)
            self.work.images += len(outputs)
        return compute_metrics([evaluator], len(self.dataset))[0]

    def _evaluate_together(
        self, tree: PrefixTree, masks: Sequence[Bits]
    ) -> Optional[List[Dict[str, float]]]:
        """Evaluate all masks in one pass, by the tree of the backbone's prefixes.

        Returns None if the model turns out not to allow that.
        """
        self.model.eval()
        evaluators = {bits: fresh(self.evaluator) for bits in masks}
        groups: Dict[Bits, List[Bits]] = {}  # by the backbone's mask
        for bits in evaluators:
            own = self.space.split(bits)[self._backbone]
            groups.setdefault(own.bits, []).append(bits)
        tree.cache.begin_pass(list(groups), len(self.batches))
        for number, batch in enumerate(self.batches):
            data = self.model.data_preprocessor(batch, False)
            with autocast(enabled=self.fp16):
                if not self._probed:
                    self.why_alone = self._probe(tree.backbone, data)
                    self._probed = True
                if self.why_alone is not None:
                    return None
                for mask, features in tree.features(data['inputs'], groups, number):
                    for bits in groups[mask]:
                        self.space.apply(bits)
                        with _forward_replaced(tree.backbone, lambda x, o=features: o):
                            outputs = self.model._run_forward(data, mode='predict')
                        evaluators[bits].process(data_samples=outputs, data_batch=batch)
                        self.work.images += len(outputs)
        metrics = compute_metrics(list(evaluators.values()), len(self.dataset))
        results = dict(zip(evaluators, metrics))
        return [results[bits] for bits in masks]

    def _known_reason(self) -> Optional[str]:
        """Say why each mask needs a pass of its own, None if it needs none."""
        if self.validation is not None:
            return self.validation.why_alone
        if self.calibration is not None:
            return 'every mask has batch norm statistics of its own'
        if self._tree is None:
            return 'no masked module can be run stage by stage'
        if getattr(type(self.model), 'val_step', None) is not BaseModel.val_step:
            return f'{type(self.model).__name__} has a val_step of its own'
        return None

    def _probe(self, backbone: nn.Module, data: Any) -> Optional[str]:
        """Run the model once and see whether its backbone can be run ahead of it."""
        forward, calls = backbone.forward, []

        def record(*args: Any, **kwargs: Any) -> Tuple[Tensor, ...]:
            features = forward(*args, **kwargs)
            calls.append((args, kwargs, features, [x._version for x in features]))
            return features

        with _forward_replaced(backbone, record):
            self.model._run_forward(data, mode='predict')
        images = data.get('inputs') if isinstance(data, dict) else None
        if len(calls) != 1:
            return f'the model calls its backbone {len(calls)} times an image'
        args, kwargs, features, versions = calls[0]
        if kwargs or len(args) != 1 or args[0] is not images:
            return "the backbone's input is not the batch of images"
        if [x._version for x in features] != versions:
            return "the model overwrites its backbone's features"
        return None

    def fingerprint(self) -> Dict[str, str]:
        """Hash what rewards depend on: the weights and buffers, and the reward set."""
        prepared = (
            nullcontext() if self.validation is None else self.validation.prepared()
        )
        with prepared:  # the weights that are judged, which may be averages
            weights = hash_of_weights(self.model.state_dict())
        return dict(weights=weights, reward_set=hash_of_images(self.dataset))


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable) -> Iterator[None]:
    """Let another function stand in for a module's ``forward``."""
    own = vars(module).get('forward')
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
