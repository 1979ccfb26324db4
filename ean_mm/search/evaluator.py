"""Evaluate masks on the reward set with the supernet's weights."""

import hashlib
import json
from typing import Any, Dict, List, Optional, Sequence, Sized

import torch
from mmengine.evaluator import Evaluator
from torch import nn
from torch.utils.data import DataLoader

from ean_mm.errors import EANError
from ean_mm.search.calibration import BNCalibration
from ean_mm.search.space import SearchSpace, unwrapped


class MaskEvaluator:
    """Runs the model over the reward set, one pass a mask.

    A loop of its own: a validation loop would fire the hooks that save the best
    checkpoint or stop early. Under a distributed launch the ranks share the reward set
    as the data loader's sampler deals it, and all of them get the same metrics.

    Args:
        model: The supernet, wrapped for distributed training or not.
        space: Its search space.
        dataloader: Loader of the reward set.
        evaluator: The metrics.
        calibration: Adapts the batch norm statistics to a mask before it is
            evaluated; None to use the supernet's.
        fp16: Evaluate under autocast.

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
    ) -> None:
        self.model = model
        self.space = space
        self.dataloader = dataloader
        self.evaluator = evaluator
        self.calibration = calibration
        self.fp16 = fp16
        self.dataset = dataloader.dataset
        require_images(self.dataset)
        if hasattr(self.dataset, 'metainfo'):
            evaluator.dataset_meta = self.dataset.metainfo

    @torch.no_grad()
    def evaluate(self, bits: Sequence[int]) -> Dict[str, float]:
        """Return the metrics of the model under one mask."""
        self.space.apply(bits)
        if self.calibration is not None:
            self.calibration.adapt()
        self.model.eval()
        device = next(self.model.parameters()).device.type
        for batch in self.dataloader:
            with torch.autocast(device, enabled=self.fp16):
                outputs = self.model.val_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
        return self.evaluator.evaluate(len(self.dataset))

    def fingerprint(self) -> Dict[str, str]:
        """Hash what rewards depend on: the weights and buffers, and the reward set."""
        weights = hashlib.sha256()
        for name, tensor in sorted(unwrapped(self.model).state_dict().items()):
            weights.update(name.encode())
            array = tensor.detach().cpu().contiguous().flatten()
            weights.update(array.view(torch.uint8).numpy())
        images = json.dumps([image_names(self.dataset), _labels(self.dataset)])
        reward_set = hashlib.sha256(images.encode())
        return dict(weights=weights.hexdigest(), reward_set=reward_set.hexdigest())


def require_images(dataset: Sized) -> None:
    """Refuse an empty reward set."""
    if len(dataset) == 0:
        raise EANError(
            'the reward set is empty: no image to score masks on; hold out more images '
            "(HeldOutSplit's num_per_class) or name another data set"
        )


def image_names(dataset: Any) -> List[str]:
    """Name every image of a data set, without decoding it: its path or its hash."""
    if not hasattr(dataset, 'get_data_info'):
        return [str(index) for index in range(len(dataset))]
    names = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'img' in info:
            names.append(hashlib.sha256(info['img'].tobytes()).hexdigest())
        else:
            names.append(str(info.get('img_path', index)))
    return names


def _labels(dataset: Any) -> List[int]:
    if not hasattr(dataset, 'get_gt_labels'):
        return []
    try:
        return list(map(int, dataset.get_gt_labels()))
    except AttributeError:  # HeldOutSplit of a data set without classes
        return []
