"""What metrics collect, on its way between processes."""

import copy

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import Accuracy

from ean_mm.search import gathering
from ean_mm.search.gathering import compute_metrics, pack, unpack


def results(number=21):
    scores = torch.rand(number, 3, generator=torch.Generator().manual_seed(0))
    return [dict(pred_score=each, gt_label=torch.tensor([1])) for each in scores]


def evaluator(own):
    metric = Accuracy()
    metric.results = own
    return Evaluator([metric])


def same(a, b):
    return all(
        x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)
        for x, y in zip(a, b, strict=True)
    )


def test_results_of_one_kind_are_stacked_and_come_back():
    packed = pack(results())
    assert packed['pred_score'].shape == (21, 3)
    assert same(unpack(packed), results())


@pytest.mark.parametrize(
    'odd',
    [
        [],
        [dict(boxes=torch.ones(2, 4)), dict(boxes=torch.ones(1, 4))],
        [dict(score=torch.ones(1)), dict(score=torch.ones(1).double())],
        [dict(score=torch.ones(1)), dict()],
        [dict(score=torch.ones(1), name='a')],
        [(1, 2), (3, 4)],
    ],
)
def test_other_results_stay_what_they_are(odd):
    assert pack(odd) is odd and unpack(odd) is odd


@pytest.mark.parametrize('masks', [1, 2, 3])
def test_ranks_share_the_work_and_get_the_same_metrics(masks, monkeypatch):
    # an image more than two ranks can share evenly: the sampler deals the first twice
    everything = results(21)
    shares = [everything[0::2], [*everything[1::2], everything[0]]]
    expected = [evaluator(copy.copy(everything)).evaluate(21)] * masks

    # The ranks run one after the other, again and again, each collective taking what
    # the others gave to it in the last run.
    given = {}
    monkeypatch.setattr(gathering, 'get_world_size', lambda: 2)
    for _ in range(2 * masks + 1):
        outcome = []
        for rank in (0, 1):
            calls = iter(range(100))

            def all_gather_object(own, rank=rank, calls=calls):
                number = next(calls)
                given[number, rank] = own
                return [given.get((number, other), own) for other in (0, 1)]

            monkeypatch.setattr(gathering, 'get_rank', lambda rank=rank: rank)
            monkeypatch.setattr(gathering, 'all_gather_object', all_gather_object)
            evaluators = [evaluator(copy.copy(shares[rank])) for _ in range(masks)]
            outcome.append(compute_metrics(evaluators, 21))
    assert outcome == [expected, expected]
