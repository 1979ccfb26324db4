"""One pass over the reward set for all masks that are due."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from ean_mm.errors import EANError
from ean_mm.search import MaskEvaluator, SearchSpace
from ean_mm.search.evaluation.batch_cache import BatchCache, num_bytes

BACKBONE = dict(
    type='EANResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(3,),
    attention=dict(type='SEAttention'))  # fmt: skip
MASKS = [(0,) * 8, (1, 0) * 4, (1, 0, 1, 0, 1, 1, 1, 1), (1,) * 8]


class Images(Dataset):
    """Random images that count how often they are decoded."""

    metainfo = dict(classes=['a', 'b', 'c'])

    def __init__(self, make_sample, number=6):
        self.images = torch.randint(256, (number, 3, 64, 64), dtype=torch.uint8)
        self.make_sample = make_sample
        self.decoded = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.decoded += 1
        sample = self.make_sample(index)
        return dict(inputs=self.images[index].clone(), data_samples=sample)


def loader(dataset):
    return DataLoader(
        dataset, batch_size=4,
        collate_fn=lambda items: {key: [item[key] for item in items]
                                  for key in items[0]})  # fmt: skip


def classification_sample(index):
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(index % 3)


@pytest.fixture
def classifier():
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='ImageClassifier', backbone=BACKBONE,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64)))  # fmt: skip
    model.init_weights()
    return model


@pytest.fixture
def build_evaluator():
    def build(model, dataset, metric, **kwargs):
        return MaskEvaluator(
            model, SearchSpace(model), loader(dataset), Evaluator(metric), **kwargs
        )

    return build


ACCURACY = dict(type='Accuracy', topk=(1,))


def scores(model, dataset, masks):
    """Each mask in a plain loop of its own: what the metrics are computed from."""
    results = []
    for bits in masks:
        model.backbone.set_mask(bits)
        model.eval()
        with torch.no_grad():
            outputs = [s for batch in loader(dataset) for s in model.val_step(batch)]
        results.append(torch.stack([sample.pred_score for sample in outputs]))
    return results


@pytest.fixture
def all_scores():
    from mmengine.evaluator import BaseMetric
    from mmengine.registry import METRICS

    class AllScores(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += [sample['pred_score'] for sample in data_samples]

        def compute_metrics(self, results):
            return dict(scores=torch.stack(results))

    METRICS.register_module(module=AllScores, force=True)
    yield dict(type='AllScores')
    METRICS._module_dict.pop('AllScores')


@pytest.mark.parametrize('activation_memory', [0, 10**9])
def test_scores_are_those_of_a_pass_for_each_mask(
    classifier, build_evaluator, all_scores, activation_memory
):
    dataset = Images(classification_sample)
    evaluator = build_evaluator(
        classifier, dataset, all_scores, activation_memory=activation_memory
    )
    together = evaluator.evaluate(MASKS[:3]) + evaluator.evaluate(MASKS[3:])
    assert evaluator.why_alone is None
    assert evaluator.work.blocks < evaluator.work.naive_blocks == 4 * 6 * 8
    assert evaluator.work.masks == 4 and evaluator.work.images == 24
    for metrics, expected in zip(together, scores(classifier, dataset, MASKS)):
        assert torch.equal(metrics['scores'], expected)


def test_a_masked_neck_takes_part(build_evaluator, all_scores):
    init_default_scope('mmpretrain')
    neck = dict(type='SharedAttentionNeck', in_channels=[64],
                attention=dict(type='SEAttention'))  # fmt: skip
    model = MODELS.build(dict(
        type='ImageClassifier', backbone=BACKBONE,
        neck=[neck, dict(type='GlobalAveragePooling')],
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64)))  # fmt: skip
    evaluator = build_evaluator(model, Images(classification_sample), all_scores)
    masks = [(*bits, last) for bits in MASKS[:2] for last in (0, 1)]
    together = evaluator.evaluate(masks)
    assert evaluator.why_alone is None
    # a neck that differs costs no block
    assert evaluator.work.blocks == 6 * (1 + 2 * 7)
    for bits, metrics in zip(masks, together):
        evaluator.space.apply(bits)
        model.eval()
        with torch.no_grad():
            expected = [s.pred_score for batch in evaluator.batches
                        for s in model.val_step(batch)]  # fmt: skip
        assert torch.equal(metrics['scores'], torch.stack(expected))


def test_images_are_decoded_once(classifier, build_evaluator):
    dataset = Images(classification_sample)
    evaluator = build_evaluator(classifier, dataset, ACCURACY)
    for bits in MASKS:
        evaluator.evaluate([bits])
    assert dataset.decoded == len(dataset)


@pytest.mark.parametrize('budget', [0, 2 * 3 * 64 * 64, 10**9])
def test_images_beyond_the_budget_are_kept_in_a_file(tmp_path, budget):
    dataset = Images(classification_sample)
    cache = BatchCache(loader(dataset), budget, tmp_path)
    expected = list(loader(dataset))
    for _ in range(3):
        for batch, original in zip(cache, expected, strict=True):
            for ours, theirs in zip(batch['inputs'], original['inputs'], strict=True):
                assert torch.equal(ours, theirs)
    size = 3 * 64 * 64
    assert cache.memory == min(budget // size, 6) * size
    assert cache.memory + cache.disk == 6 * size
    assert not list(tmp_path.iterdir())  # it has no name that could be left behind


def test_what_is_written_into_a_batch_is_gone_in_the_next_pass(tmp_path):
    cache = BatchCache(loader(Images(classification_sample)), 0, tmp_path)
    for _ in range(2):
        for batch in cache:
            for sample in batch['data_samples']:
                assert 'pred_label' not in sample
                sample.set_pred_label(1)


def test_calibrated_masks_take_a_pass_each(classifier, build_evaluator, all_scores):
    from ean_mm.search import BNCalibration

    dataset = Images(classification_sample)
    batches = [next(iter(loader(dataset)))]
    calibration = BNCalibration(classifier, copy.deepcopy(batches))
    evaluator = build_evaluator(
        classifier, dataset, all_scores, calibration=calibration
    )
    assert 'batch norm' in evaluator.why_alone
    first, second = evaluator.evaluate(MASKS[:2])
    assert not torch.equal(first['scores'], second['scores'])
    (again,) = evaluator.evaluate(MASKS[:1])
    assert torch.equal(again['scores'], first['scores'])


def test_a_model_that_overwrites_features_takes_a_pass_for_each_mask(
    classifier, build_evaluator, all_scores
):
    class Doubling(torch.nn.Module):
        def forward(self, features):
            return tuple(x.mul_(2).mean((2, 3)) for x in features)

    classifier.neck = Doubling()
    dataset = Images(classification_sample)
    evaluator = build_evaluator(classifier, dataset, all_scores)
    together = evaluator.evaluate(MASKS)
    assert 'overwrites' in evaluator.why_alone
    for metrics, expected in zip(together, scores(classifier, dataset, MASKS)):
        assert torch.equal(metrics['scores'], expected)


def segmentation_sample(index):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    size = (64, 64)
    sample = SegDataSample(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size, flip=False))  # fmt: skip
    sample.gt_sem_seg = PixelData(data=torch.full((1, 64, 64), index % 3))
    return sample


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_a_segmentor_is_evaluated_too(build_evaluator, mode):
    pytest.importorskip('mmseg')
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=BACKBONE,
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.0] * 3,
                               std=[64.0] * 3),
        decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=3,
                         norm_cfg=dict(type='BN'), in_index=0),
        test_cfg=dict(mode=mode, crop_size=(32, 32), stride=(32, 32))))  # fmt: skip
    model.init_weights()
    dataset = Images(segmentation_sample)
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    evaluator = build_evaluator(model, dataset, metric)
    together = evaluator.evaluate(MASKS[:2])
    if mode == 'whole':
        assert evaluator.why_alone is None and evaluator.work.blocks == 6 * 15
    else:
        assert '4 times' in evaluator.why_alone
    for bits, metrics in zip(MASKS, together):
        alone = build_evaluator(model, dataset, metric)
        alone.why_alone = 'to compare with'
        assert alone.evaluate([bits]) == [metrics]


def detection_sample(index):
    from mmdet.structures import DetDataSample

    size = (64, 64)
    sample = DetDataSample(metainfo=dict(
        img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0),
        img_id=index))  # fmt: skip
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([index % 3]))
    sample.ignored_instances = sample.gt_instances[:0]
    return sample


def test_a_detector_is_evaluated_too(root, build_evaluator):
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    cfg = Config.fromfile(
        root / 'configs/ean_det/retinanet_ean-r18-everywhere_fpn_bccd.py'
    )  # fmt: skip
    model = MODELS.build(cfg.model)
    model.bbox_head.retina_cls.bias.data.fill_(2.0)  # boxes even without training
    evaluator = build_evaluator(
        model, Images(detection_sample), dict(cfg.val_evaluator)
    )
    together = evaluator.evaluate(MASKS[:2])
    assert evaluator.why_alone is None and evaluator.work.blocks == 6 * 15
    for bits, metrics in zip(MASKS, together):
        assert evaluator._evaluate_alone(bits) == metrics


@pytest.mark.parametrize(
    'text, expected',
    [(5, 5), ('5', 5), ('2GiB', 2 << 30), ('500MB', 5 * 10**8), ('1.5 kB', 1500)],
)
def test_amounts_of_memory(text, expected):
    assert num_bytes(text) == expected


@pytest.mark.parametrize('text', ['', 'GB', '2 giraffes', '-1', None])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(EANError, match='amount of memory'):
        num_bytes(text)
