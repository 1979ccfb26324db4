"""What metrics collect, on its way between processes."""

import copy
import json
import os
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import Accuracy

from ean_mm.search.evaluation.gathering import (
    _is_plain,
    compute_metrics,
    interleave,
    pack,
    unpack,
)


def results(number=21, seed=0):
    scores = torch.rand(number, 3, generator=torch.Generator().manual_seed(seed))
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
        [dict(score=torch.ones(1)), dict(score=torch.ones(1), name='a')],
        [dict(score=torch.ones(1)), 3],
        [dict(score=torch.ones(1), name='a')],
        [(1, 2), (3, 4)],
    ],
)
def test_other_results_stay_what_they_are(odd):
    assert unpack(pack(odd)) == odd


def of_rank(rank, store, shares):
    """Compute metrics in a process of a group of two, and write them to a file."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2
    )
    metrics = compute_metrics([evaluator(own) for own in shares[rank]], 21)
    Path(f'{store}_{rank}.json').write_text(json.dumps(metrics))


@pytest.mark.parametrize('masks', [1, 2, 3])
def test_ranks_share_the_work_and_get_the_same_metrics(masks, tmp_path):
    # An odd number of images: the sampler deals the first one twice.
    each = [results(21, seed) for seed in range(masks)]
    expected = [evaluator(one).evaluate(21) for one in copy.deepcopy(each)]
    assert len({str(metrics) for metrics in expected}) == masks
    shares = [[one[0::2] for one in each], [[*one[1::2], one[0]] for one in each]]
    processes = []
    for rank in (0, 1):
        process = os.fork()
        if process == 0:
            try:
                of_rank(rank, tmp_path / 'store', shares)
            finally:
                os._exit(0)
        processes.append(process)
    for process in processes:
        os.waitpid(process, 0)
    for rank in (0, 1):
        path = Path(f'{tmp_path}/store_{rank}.json')
        assert json.loads(path.read_text()) == expected


def test_the_order_of_the_data_set_whatever_the_shares():
    assert interleave([[0, 2, 4], [1, 3]]) == [0, 1, 2, 3, 4]
    assert interleave([[], [1]]) == [1]


def test_what_mmengine_must_do_itself():
    class OwnEvaluator(Evaluator):
        def evaluate(self, size):
            return {}

    class OwnMetric(Accuracy):
        def evaluate(self, size):
            return {}

    writes = Accuracy()
    writes.outfile_prefix = 'results/coco'
    assert _is_plain(Evaluator([Accuracy()]))
    assert not _is_plain(OwnEvaluator([Accuracy()]))
    assert not _is_plain(Evaluator([OwnMetric()]))
    assert not _is_plain(Evaluator([writes]))  # two ranks would write the same file
