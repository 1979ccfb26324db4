"""Small random batches that the models of the toolboxes can compute losses of."""

from typing import Any, Dict, List, Tuple

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

NUM_IMAGES = 2
BOXES = ((0.1, 0.1, 0.6, 0.7), (0.3, 0.2, 0.95, 0.9))  # of an image; x, y, x, y
NUM_VIEWS = dict(
    BarlowTwins=2, BYOL=2, DenseCL=2, MoCo=2, MoCoV3=2, SimCLR=2, SimSiam=2, SwAV=8
)
"""of the self-supervised models: how many views of an image they take"""
MASKS_AS_TENSORS = ('RTMDetHead', 'RTMDetSepBNHead')
"""heads whose assigner takes masks for tensors, as a data loader has none for them"""


def losses_of(model: BaseModel, size: int) -> Dict[str, Any]:
    """Compute a model's losses of one random batch."""
    MessageHub.get_current_instance().update_info_dict(
        dict(iter=0, max_iters=10, epoch=0, max_epochs=10)
    )
    data = model.data_preprocessor(random_batch(model, size), True)
    return model._run_forward(data, mode='loss')


def random_batch(model: nn.Module, size: int) -> Dict[str, Any]:
    """Draw a batch that a model's data preprocessor and loss take.

    The same for the same model and size. Images are random; labels are drawn from the
    classes that every head of the model has.

    Args:
        model: A model of mmpretrain, mmdet or mmseg.
        size: Height and width of the images in pixels.

    Returns:
        What a data loader returns: ``inputs`` and ``data_samples``.
    """
    rng = np.random.RandomState(0)
    toolbox = type(model).__module__.partition('.')[0]
    kinds = {kind.__name__ for kind in type(model).__mro__}
    if toolbox == 'mmpretrain':
        return _of_classes(model, rng, size)
    if toolbox == 'mmseg':
        return _of_pixels(model, rng, size)
    if 'BaseReID' in kinds:
        return _of_persons(rng)
    if 'SemiBaseDetector' in kinds:
        return _of_branches(model, rng, size)
    if getattr(model.data_preprocessor, 'use_det_processor', True):
        return _of_boxes(model, rng, size)
    return _of_frames(model, rng, size)


def random_images(module: nn.Module, size: int) -> Tensor:
    """Draw images ``(N, C, H, W)`` for a backbone by itself, the same ones always."""
    generator = torch.Generator().manual_seed(0)
    shape = NUM_IMAGES, _in_channels(module), size, size
    return torch.randn(shape, generator=generator)


def _image(rng: np.random.RandomState, *shape: int) -> Tensor:
    return torch.from_numpy(rng.randint(0, 256, shape, dtype=np.uint8))


def _num_classes(model: nn.Module, names: Tuple[str, ...] = ('num_classes',)) -> int:
    """The number of classes that every head of a model has."""
    heads = [m for name, m in model.named_modules() if 'rpn_head' not in name]
    numbers = (getattr(head, name, None) for head in heads for name in names)
    return min((n for n in numbers if isinstance(n, int) and n > 0), default=2)


def _of_classes(model: Any, rng: np.random.RandomState, size: int) -> Dict[str, Any]:
    from mmpretrain.structures import DataSample

    num_views = NUM_VIEWS.get(type(model).__name__)
    head = type(getattr(model, 'head', None)).__name__
    several = 'MultiLabel' in head or 'CSRA' in head
    samples = []
    for _ in range(NUM_IMAGES):
        sample = DataSample(num_classes=_num_classes(model))
        labels = rng.randint(0, _num_classes(model), 1)
        if several:
            sample.set_gt_score(torch.eye(_num_classes(model))[labels].sum(0))
        samples.append(sample.set_gt_label(torch.from_numpy(labels)))
    views = [
        _image(rng, NUM_IMAGES, _in_channels(model), length, length)
        for length in [size] * min(num_views or 1, 2) + [size // 2] * 6
    ]
    inputs = views[0] if num_views is None else views[:num_views]
    return dict(inputs=inputs, data_samples=samples)


def _in_channels(model: nn.Module) -> int:
    if any(type(layer).__name__ == 'Focus' for layer in model.modules()):
        return 3  # whose convolution takes four pixels at a time
    convs = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    return next(convs).in_channels


def _of_pixels(model: nn.Module, rng: np.random.RandomState, size: int) -> Dict:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(NUM_IMAGES):
        sample = SegDataSample(metainfo=_metainfo(size))
        labels = rng.randint(0, _num_classes(model), (1, size, size))
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels))
        samples.append(sample)
    images = [_image(rng, 3, size, size) for _ in range(NUM_IMAGES)]
    return dict(inputs=images, data_samples=samples)


def _metainfo(size: int) -> Dict[str, Any]:
    return dict(
        img_id=0,
        img_shape=(size, size),
        ori_shape=(size, size),
        pad_shape=(size, size),
        scale_factor=(1.0, 1.0),
        flip=False,
        flip_direction=None,
        border=[0, size, 0, size],  # CenterNet's
        homography_matrix=np.eye(3, dtype=np.float32),  # semi-supervised detectors'
    )


def _objects(model: nn.Module, rng: np.random.RandomState, size: int) -> Any:
    """Boxes with all that a detector may ask for."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    corners = torch.tensor(BOXES) * size
    masks = np.zeros((len(BOXES), size, size), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, corners.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    labels = rng.randint(
        0, _num_classes(model, ('num_classes', 'num_things_classes')), len(BOXES)
    )
    sample = DetDataSample(metainfo=_metainfo(size))
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(corners),
        labels=torch.from_numpy(labels),
        masks=BitmapMasks(masks, size, size),
        instances_ids=torch.arange(len(BOXES)),
    )
    sample.ignored_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.zeros(0, 4)),
        labels=torch.zeros(0, dtype=torch.long),
        masks=BitmapMasks(np.zeros((0, size, size), dtype=np.uint8), size, size),
    )
    # Fast R-CNN's: the boxes, moved
    sample.proposals = InstanceData(
        bboxes=(corners + 0.05 * size).clamp(max=size),
        scores=torch.ones(len(BOXES)),
    )
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(masks.max(0, keepdims=True)))
    return sample


def _of_boxes(model: nn.Module, rng: np.random.RandomState, size: int) -> Dict:
    samples = [_objects(model, rng, size) for _ in range(NUM_IMAGES)]
    if type(getattr(model, 'bbox_head', None)).__name__ in MASKS_AS_TENSORS:
        for sample in samples:
            del sample.gt_instances.masks
    images = [_image(rng, 3, size, size) for _ in range(NUM_IMAGES)]
    return dict(inputs=images, data_samples=samples)


def _of_branches(model: nn.Module, rng: np.random.RandomState, size: int) -> Dict:
    """For a semi-supervised detector; a data loader leaves None in other branches."""
    branches = ('sup', 'unsup_teacher', 'unsup_student')
    batches = {name: _of_boxes(model, rng, size) for name in branches}

    def by_branch(what: str) -> Dict[str, List[Any]]:
        blank = [None] * NUM_IMAGES
        return {
            name: batch[what] + blank if name == 'sup' else blank + batch[what]
            for name, batch in batches.items()
        }

    return dict(inputs=by_branch('inputs'), data_samples=by_branch('data_samples'))


def _of_frames(model: nn.Module, rng: np.random.RandomState, size: int) -> Dict:
    """For a tracker: a key frame and another one of a video."""
    from mmdet.structures import TrackDataSample

    samples, videos = [], []
    for _ in range(NUM_IMAGES):
        frames = [_objects(model, rng, size) for _ in range(2)]
        for number, frame in enumerate(frames):
            frame.set_metainfo(dict(frame_id=number))
            for objects in (frame.gt_instances, frame.ignored_instances):
                objects.bboxes = objects.bboxes.tensor
        sample = TrackDataSample(
            metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1])
        )
        sample.video_data_samples = frames
        samples.append(sample)
        videos.append(_image(rng, 2, 3, size, size))
    return dict(inputs=videos, data_samples=samples)


def _of_persons(rng: np.random.RandomState) -> Dict:
    """For re-identification: images of two persons, two of each, of the only size."""
    from mmdet.structures import ReIDDataSample

    samples = []
    for label in (0, 0, 1, 1):
        samples.append(ReIDDataSample().set_gt_label(torch.tensor([label])))
    return dict(inputs=_image(rng, 4, 3, 256, 128), data_samples=samples)
