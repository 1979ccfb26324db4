"""What metrics collect, on its way between processes."""

import pickle

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import Accuracy

from ean_mm.search import gathering
from ean_mm.search.gathering import gather_in_memory, pack, unpack


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return np.array_equal(a, b)


def test_results_come_back_as_they_were():
    result = dict(
        scores=torch.randn(3), label=torch.tensor(1), half=torch.ones(2).bfloat16(),
        boxes=(np.eye(2), [torch.zeros(0, 4)]), name='image', width=None)  # fmt: skip
    packed = pickle.loads(pickle.dumps(pack(result)))
    assert b'torch._utils' not in pickle.dumps(pack(result['boxes']))
    assert same(unpack(packed), result)


def test_metrics_compute_the_same_from_what_was_packed(monkeypatch):
    def evaluator():
        metric = Accuracy()
        metric.results = [
            dict(pred_score=scores, gt_label=torch.tensor([1]))
            for scores in torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
        ]
        return Evaluator([metric])

    alone, packed = evaluator(), evaluator()
    monkeypatch.setattr(gathering, 'get_world_size', lambda: 2)
    gather_in_memory(packed)
    assert not any(
        isinstance(value, torch.Tensor)
        for result in packed.metrics[0].results
        for value in result.values()
    )
    assert packed.evaluate(20) == alone.evaluate(20)
