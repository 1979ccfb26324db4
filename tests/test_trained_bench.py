"""A bench of trained masks as a problem, and searches by training replayed on it."""

import itertools

import numpy as np
import pytest
from made_up_bench import bits_of, made_up_rows, truth

from bench_searches import Account, searches
from ean_mm import EANError
from trained_bench import ACCURACY, LOSS, MEASURES, BenchRows, TrainedBench

MASKS = list(itertools.product((0, 1), repeat=9))
NONE, ALL = MASKS[0], MASKS[-1]


@pytest.fixture(scope='module')
def bench():
    return BenchRows(made_up_rows())


@pytest.fixture(scope='module')
def part():
    return BenchRows(made_up_rows(number=120))


def test_a_training_is_what_its_row_has_after_a_share_of_the_epochs(bench):
    trained = TrainedBench(bench, ACCURACY)
    assert trained(ALL) == trained(ALL, 1.0) == pytest.approx(truth(ALL), abs=0.02)
    for share, factor in ((0.25, 0.5), (0.5, 0.7), (0.75, 0.9)):
        assert trained(ALL, share) == pytest.approx(factor * truth(ALL), abs=0.02)
    loss = TrainedBench(bench, LOSS)(ALL, 0.25)
    assert loss == pytest.approx(-(5 - 0.5 * truth(ALL) / 10), abs=2e-3)
    assert trained.num_bits == 9 and trained.epochs == 4


def test_trainings_of_several_seeds_are_made_comparable(bench):
    # a seed adds half a point to all masks, and a replay's seed picks one of three
    for mask in (NONE, ALL):
        values = {TrainedBench(bench, ACCURACY, seed)(mask) for seed in range(20)}
        assert len(bench.seeds[mask]) == 3
        assert max(values) - min(values) < 0.02
    noisy = BenchRows(made_up_rows(noise=0.5))
    values = {TrainedBench(noisy, ACCURACY, seed)(ALL) for seed in range(20)}
    assert len(values) == 3


def test_the_truth_is_not_the_luck_of_a_training():
    noisy = BenchRows(made_up_rows(noise=0.6))
    true = np.array([truth(mask) for mask in MASKS])
    found = np.array([noisy.truth(mask) for mask in MASKS])
    rows = noisy.rows.items()
    measured = {noisy.bits[j]: row['accuracy'] for j, row in rows if j.seed == 0}
    raw = np.array([measured[mask] for mask in MASKS])
    others = np.array([noisy.others_truth[mask] for mask in MASKS])
    assert np.std(found - true) < 0.5 * np.std(raw - true)
    assert np.std(others - true) < 0.5 * np.std(raw - true)
    assert noisy.truth.spread == pytest.approx(true.std(), abs=0.15)
    assert TrainedBench(noisy).best_reward == found.max()


def test_a_bench_that_is_not_complete_is_refused(part):
    assert part.missing == 512 - len(part.seeds) > 0
    with pytest.raises(
        EANError, match=f'^{part.missing} of 512 masks have no training'
    ):
        part.require_all()
    trained = TrainedBench(part)
    absent = next(mask for mask in MASKS if mask not in trained)
    assert absent not in trained.offered and NONE in trained.offered
    with pytest.raises(EANError, match='no training of'):
        trained(absent)
    assert part.truth(absent) > 0  # expected by the others
    with pytest.raises(EANError, match='at least one'):
        BenchRows([])


def test_the_epochs_of_a_diverged_training_count_as_bad_ones():
    rows = made_up_rows()
    rows[100] = {**rows[100], 'reward_losses': '2.5 nan nan nan'}  # of one seed
    trained = TrainedBench(BenchRows(rows), LOSS)
    bad = bits_of(rows[100]['mask'])
    assert all(trained(bad) < trained(mask) for mask in MASKS if mask != bad)


def test_going_on_with_a_training_costs_what_it_adds(bench):
    account = Account(TrainedBench(bench), 6)
    account.train(ALL, 1)
    assert account.left == 5
    assert account.afford(ALL, 4) and account.afford(NONE, 4)
    account.train(ALL, 4)
    assert account.left == 2 and not account.afford(NONE, 4)
    account.train(ALL, 1)  # it has been there
    assert account.left == 2


class Counted(TrainedBench):
    """A bench that notes how long each mask was trained."""

    def __init__(self, *args):
        super().__init__(*args)
        self.longest = {}

    def __call__(self, mask, share=1.0):
        epochs = round(share * self.epochs)
        self.longest[tuple(mask)] = max(epochs, self.longest.get(tuple(mask), 0))
        return super().__call__(mask, share)


@pytest.mark.parametrize('number', [120, 640])
@pytest.mark.parametrize('name', searches(4))
def test_a_search_spends_its_epochs_on_masks_that_there_are(bench, part, name, number):
    rows = bench if number == 640 else part
    for epochs in (12, 48):
        counted = Counted(rows, LOSS, 3)
        mask = searches(4)[name](counted, epochs, 3)
        assert len(mask) == 9 and set(mask) <= {0, 1}
        # the controller does not insist where its masks are missing
        least = 0 if (name, number) == ('controller', 120) else epochs / 2
        assert least < sum(counted.longest.values()) <= epochs
        again = searches(4)[name](TrainedBench(rows, LOSS, 3), epochs, 3)
        assert again == mask


def test_without_noise_more_epochs_find_better_masks(bench):
    best = max(map(truth, MASKS))
    for name, search in searches(4).items():
        regrets = {
            epochs: np.mean(
                [
                    best
                    - truth(search(TrainedBench(bench, ACCURACY, seed), epochs, seed))
                    for seed in range(8)
                ]
            )
            for epochs in (12, 96)
        }
        assert regrets[96] < regrets[12], name
        assert regrets[96] < 1.2, name


def test_every_measure_has_the_sign_by_which_more_is_better(bench):
    for measure in MEASURES:
        trained = TrainedBench(bench, measure)
        values = [trained(mask) for mask in MASKS]
        assert np.corrcoef(values, list(map(truth, MASKS)))[0, 1] > 0.99
