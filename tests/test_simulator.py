"""The simulated reward: its optimum against brute force, its scale against a count."""

import itertools

import numpy as np
import pytest

from ean_mm import EANError
from simulator import SimulatedReward


def masks(num_bits):
    return list(itertools.product((0, 1), repeat=num_bits))


@pytest.mark.parametrize('num_bits, reach', [(1, 8), (2, 8), (7, 8), (11, 1), (11, 3)])
@pytest.mark.parametrize('seed', range(3))
def test_the_best_mask_is_the_best_of_all(num_bits, reach, seed):
    problem = SimulatedReward(num_bits, seed=seed, pairwise=0.6, reach=reach)
    best = max(masks(num_bits), key=problem)
    assert problem.best_mask == best
    assert problem.best_reward == problem(best)


@pytest.mark.parametrize('pairwise', [0.0, 0.3, 1.0])
def test_the_spread_is_exact_and_shared_with_the_pairs(pairwise):
    problem = SimulatedReward(10, seed=2, spread=1.5, pairwise=pairwise)
    accuracies = np.array([problem.accuracy(mask) for mask in masks(10)])
    assert accuracies.mean() == pytest.approx(70.0)
    assert accuracies.std() == pytest.approx(1.5)
    # what a sum of one term a bit explains of the variance
    spins = 2 * np.array(masks(10)) - 1
    slopes = spins.T @ (accuracies - 70.0) / len(spins)
    assert np.square(slopes).sum() == pytest.approx((1 - pairwise) * 1.5**2)


def test_blocks_count_alone_and_in_pairs_that_are_near():
    """The accuracy's Walsh coefficients, over all masks."""
    problem = SimulatedReward(7, seed=3, pairwise=0.5, reach=2)
    spins = 2 * np.array(masks(7)) - 1
    accuracies = np.array([problem.accuracy(mask) for mask in masks(7)])
    for number in (1, 2, 3):
        for blocks in itertools.combinations(range(7), number):
            coefficient = (accuracies * spins[:, blocks].prod(axis=1)).mean()
            near = blocks[-1] - blocks[0] <= 2
            assert (abs(coefficient) > 1e-6) == (number < 3 and near), blocks


def test_the_reward_adds_the_share_of_zero_bits():
    problem = SimulatedReward(4, sparsity_weight=3.0)
    mask = (1, 0, 0, 0)
    assert problem(mask) == pytest.approx(problem.accuracy(mask) + 3 * 0.75)


def test_a_problem_is_its_seed():
    mask = (1, 0) * 4
    assert SimulatedReward(8, seed=4)(mask) == SimulatedReward(8, seed=4)(mask)
    assert SimulatedReward(8, seed=4)(mask) != SimulatedReward(8, seed=5)(mask)


def test_mistakes_are_named():
    with pytest.raises(EANError, match='pairwise=2 is no share'):
        SimulatedReward(8, pairwise=2)
    with pytest.raises(EANError, match='reach=0 must be from 1 to 16'):
        SimulatedReward(8, reach=0)
