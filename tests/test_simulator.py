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


def test_the_accuracy_is_its_formula():
    problem = SimulatedReward(4, seed=3, reach=2)
    mask = (1, 0, 0, 1)
    s = [1, -1, -1, 1]
    field, coupling = problem.field, problem.coupling
    expected = 70.0 + sum(field[b] * s[b] for b in range(4))
    expected += coupling[1, 0] * s[1] * s[0]
    expected += coupling[2, 0] * s[2] * s[1] + coupling[2, 1] * s[2] * s[0]
    expected += coupling[3, 0] * s[3] * s[2] + coupling[3, 1] * s[3] * s[1]
    assert problem.accuracy(mask) == pytest.approx(expected)
    assert problem(mask) == pytest.approx(expected + 2 * 0.5)


def test_a_problem_is_its_seed():
    mask = (1, 0) * 4
    assert SimulatedReward(8, seed=4)(mask) == SimulatedReward(8, seed=4)(mask)
    assert SimulatedReward(8, seed=4)(mask) != SimulatedReward(8, seed=5)(mask)


def test_mistakes_are_named():
    with pytest.raises(EANError, match='pairwise=2 is no share'):
        SimulatedReward(8, pairwise=2)
    with pytest.raises(EANError, match='reach=0 must be from 1 to 16'):
        SimulatedReward(8, reach=0)
