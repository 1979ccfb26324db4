"""What the surrogate searcher asks for: its design, its best masks, its budgets."""

import itertools

import numpy as np
import pytest

from ean_mm import EANError
from ean_mm.search import Request
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher
from ean_mm.search.surrogate.design import balanced_design
from ean_mm.search.surrogate.maximize import best_mask
from simulator import SimulatedReward, SimulatedTraining


def additive(masks, slopes):
    return 70 + np.asarray(masks) @ np.asarray(slopes)


def search(searcher, measure):
    """Let a searcher search to its end; return what it was told."""
    told = {}
    while searcher.step < searcher.num_steps:
        masks = searcher.ask()
        values = [measure(mask) for mask in masks]
        searcher.tell(masks, values)
        told.update(zip(masks, values))
    return told


@pytest.mark.parametrize('num_masks, num_bits', [(16, 9), (20, 16), (40, 54)])
def test_the_design_is_balanced_in_blocks_and_nearly_in_pairs(num_masks, num_bits):
    masks = balanced_design(num_masks, num_bits, np.random.default_rng(0))
    spins = 2 * np.array(masks) - 1
    assert len(set(masks)) == num_masks
    assert masks[:2] == [(0,) * num_bits, (1,) * num_bits]
    assert np.abs(spins.sum(axis=0)).max() <= 2
    products = np.triu(spins.T @ spins, 1)[np.triu_indices(num_bits, 1)]
    random = 2 * np.random.default_rng(1).integers(2, size=spins.shape) - 1
    at_random = np.triu(random.T @ random, 1)[np.triu_indices(num_bits, 1)]
    assert np.square(products).mean() < np.square(at_random).mean() * 0.75


@pytest.mark.parametrize('num_bits', [10, 20])
def test_the_best_mask_is_found(num_bits):
    problem = SimulatedReward(num_bits, seed=3, pairwise=0.5)
    assert (
        best_mask(
            lambda masks: np.array([problem(mask) for mask in masks]),
            num_bits,
            np.random.default_rng(0),
        )
        == problem.best_mask
    )


@pytest.mark.parametrize('num_bits', [4, 20])
def test_the_best_mask_that_is_not_known_is_found(num_bits):
    def count(masks):
        return np.asarray(masks).sum(axis=1)

    rng, every = np.random.default_rng(0), (1,) * num_bits
    mask = best_mask(count, num_bits, rng, known={every})
    assert sum(mask) == num_bits - 1
    if num_bits == 4:
        known = set(itertools.product((0, 1), repeat=4))
        assert best_mask(count, 4, rng, known=known) is None


@pytest.mark.parametrize('acquisition', ['ei', 'thompson'])
def test_a_search_beats_the_best_of_as_many_random_trainings(acquisition):
    regrets, at_random = [], []
    for seed in range(100, 108):
        problem = SimulatedReward(9, seed=seed, spread=0.94, sparsity_weight=0)
        measure = SimulatedTraining(problem, seed=seed)
        searcher = SurrogateSearcher(
            9, seed=seed, num_steps=5, masks_per_step=8, acquisition=acquisition
        )
        search(searcher, measure)
        regrets.append(problem.best_reward - problem(searcher.mode()))
        told = search(
            RandomSearcher(9, seed=seed, num_steps=5, masks_per_step=8), measure
        )
        at_random.append(problem.best_reward - problem(max(told, key=told.get)))
    assert np.mean(regrets) < np.mean(at_random) / 2


def test_the_recommended_mask_is_not_the_luckiest_measurement():
    masks = balanced_design(24, 6, np.random.default_rng(11))
    values = additive(masks, [1, 1, 1, -1, -1, -1])
    values[1] = values.max() + 0.5  # all blocks, which is worth the mean
    searcher = SurrogateSearcher(6, num_steps=6, masks_per_step=4)
    searcher.tell(masks, values)
    assert searcher.recommends
    assert searcher.history.best_told() == (1,) * 6
    assert searcher.mode() == (1, 1, 1, 0, 0, 0)


def test_a_search_asks_for_no_mask_twice_as_long_as_there_are_others():
    searcher = SurrogateSearcher(4, num_steps=5, masks_per_step=4)
    told = search(searcher, lambda mask: float(sum(mask)))
    assert len(told) == 16
    assert searcher.mode() == (1, 1, 1, 1)


def test_a_search_of_a_mask_a_step_models_what_little_it_knows():
    searcher = SurrogateSearcher(6, num_steps=5, masks_per_step=1)
    assert searcher.initial == 2
    told = search(searcher, lambda mask: float(sum(mask)))
    assert len(told) == 5


def test_a_search_of_54_bits_goes_on_from_its_design():
    searcher = SurrogateSearcher(54, num_steps=4, masks_per_step=8, initial=24)
    told = search(searcher, lambda mask: float(sum(mask[:27]) - sum(mask[27:])))
    design = list(told)[:24]
    assert max(told[mask] for mask in list(told)[24:]) > max(
        told[mask] for mask in design
    )


def test_budgets_are_asked_for_from_the_lowest_and_the_best_go_on():
    truth = SimulatedReward(9, seed=1, spread=0.94, sparsity_weight=0)
    training = SimulatedTraining(truth, seed=1, fidelity=0.95)
    searcher = SurrogateSearcher(9, seed=1, num_steps=12, masks_per_step=4, initial=16)
    searcher.prepare((4, 20))
    asked = []
    for _ in range(searcher.num_steps):
        requests = searcher.ask()
        values = [training(each.bits, each.budget / 20) for each in requests]
        searcher.tell([each.bits for each in requests], values)
        asked += requests
    assert len(set(asked)) == len(asked)
    assert {each.budget for each in asked[:16]} == {4}
    assert [each.budget for each in asked[16:20]] == [20] * 4
    assert {each.bits for each in asked[16:20]} <= {each.bits for each in asked[:16]}
    assert truth(searcher.mode()) > truth.mean_accuracy + 1


def test_a_search_with_budgets_continues_exactly_from_its_state():
    def advance(searcher, steps):
        asked = []
        for _ in range(steps):
            requests = searcher.ask()
            asked += requests
            values = [sum(each.bits[:3]) + each.budget / 20 for each in requests]
            searcher.tell([each.bits for each in requests], values)
        return asked

    def build():
        searcher = SurrogateSearcher(6, seed=2, num_steps=8, masks_per_step=3)
        searcher.prepare((4, 20))
        return searcher

    through = build()
    advance(through, 5)
    resumed = build()
    resumed.load_state_dict(through.state_dict())
    expected = advance(through, 3)
    assert advance(resumed, 3) == expected
    assert isinstance(expected[0], Request)
    assert resumed.mode() == through.mode()


def test_mistakes_are_named():
    with pytest.raises(EANError, match="acquisition 'ucb' is unknown; use ei, thomp"):
        SurrogateSearcher(6, acquisition='ucb')
    with pytest.raises(EANError, match='initial=0 must be above 0'):
        SurrogateSearcher(6, initial=0)
    with pytest.raises(EANError, match='fidelity=0 must be above 0'):
        SimulatedTraining(SimulatedReward(6), fidelity=0)
