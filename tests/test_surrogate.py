"""The model of masks: against brute force, planted functions, and pure noise."""

import itertools
import json

import numpy as np
import pytest

from ean_mm import EANError
from ean_mm.effects import read_effects
from ean_mm.search import Judgement
from ean_mm.search.surrogate import MaskKernel, MaskModel, block_effects
from ean_mm.search.surrogate.design import balanced_design
from ean_mm.search.surrogate.prior import prior_draw

MASKS = np.array(list(itertools.product((0, 1), repeat=6)))
STAGES = {'backbone': (2, 2, 2)}


def rows(masks, level=0):
    return np.hstack([2.0 * np.asarray(masks) - 1, np.full((len(masks), 1), level)])


def judge(masks, values, **facts):
    return [
        Judgement(tuple(map(int, mask)), float(value), 0.0, None, float(value), **facts)
        for mask, value in zip(masks, values)
    ]


def additive(masks, slopes):
    return 70 + np.asarray(masks) @ np.asarray(slopes)


def test_the_kernel_is_diagonal_in_the_walsh_basis():
    kernel = MaskKernel(singles=0.5, pairs=0.3, rest=0.2, constant=2.0, length=1.7)
    spins = 2 * MASKS - 1
    walsh = np.stack([spins[:, mask > 0].prod(axis=1) for mask in MASKS], axis=1)
    covariance = kernel(rows(MASKS), rows(MASKS))
    coefficients = walsh.T @ covariance @ walsh / 64**2
    expected = kernel.walsh(6)[MASKS.sum(axis=1)]
    np.testing.assert_allclose(coefficients, np.diag(expected), atol=1e-12)


def test_the_kernels_gradient_is_its_slope():
    rng = np.random.default_rng(0)
    kernel = MaskKernel(correlation=0.6, noise=(0.3, 0.1))
    inputs = np.vstack([rows(MASKS[:5], 0), rows(MASKS[3:9], 1)])
    _, gradient = kernel(inputs, eval_gradient=True)
    step = rng.normal(size=len(kernel.theta)) * 1e-6
    further = kernel.clone_with_theta(kernel.theta + step)(inputs)
    nearer = kernel.clone_with_theta(kernel.theta - step)(inputs)
    np.testing.assert_allclose(further - nearer, 2 * gradient @ step, atol=1e-12)


@pytest.mark.parametrize('num_bits', [6, 17])
def test_functions_drawn_have_the_kernels_covariance(num_bits):
    """Exactly drawn up to 16 bits, by random waves above."""
    kernel = MaskKernel(singles=0.6, pairs=0.5, rest=0.7, constant=0.3, length=3.0)
    rng = np.random.default_rng(1)
    masks = rng.integers(2, size=(6, num_bits))
    draws = [prior_draw(kernel, num_bits, rng)(masks) for _ in range(4000)]
    covariance = np.cov(np.transpose(draws))
    np.testing.assert_allclose(covariance, kernel(rows(masks), rows(masks)), atol=0.15)


def test_draws_of_the_model_have_its_means_and_deviations():
    rng = np.random.default_rng(2)
    masks = np.vstack([MASKS[::5], MASKS[::9]])
    budgets = [8] * len(MASKS[::5]) + [20] * len(MASKS[::9])
    values = rng.normal(size=len(masks))
    model = MaskModel(6, (8, 20)).fit(masks, values, budgets)
    mean, deviation = model.predict(MASKS)
    draws = np.array([model.draw(rng)(MASKS) for _ in range(3000)])
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.08)
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.08)


def test_effects_are_those_of_a_gaussian_process_over_all_masks():
    """One model, of all 64 masks at once, and sums over its posterior."""
    rng = np.random.default_rng(3)
    judged = rng.permutation(64)[:20]
    values = additive(MASKS[judged], [1, -1, 0.5, 0, 0, 0]) + rng.normal(size=20) / 5
    effects = block_effects(judge(MASKS[judged], values), STAGES)

    models = MaskModel.of(judge(MASKS[judged], values)).mixture()
    means, variances = [], []
    for model in models:
        scale = values.std()
        prior = model.kernel(rows(MASKS), rows(MASKS))
        shared = prior[:, judged]
        noisy = prior[np.ix_(judged, judged)] + model.kernel.noise * np.eye(20)
        gain = shared @ np.linalg.inv(noisy)
        mean = gain @ ((values - values.mean()) / scale)
        covariance = prior - gain @ shared.T
        contrasts = [(2 * MASKS[:, b] - 1) / 32 for b in range(6)]
        pairs = [
            (2 * MASKS[:, b] - 1) * (2 * MASKS[:, c] - 1) / 16
            for b, c in itertools.combinations(range(6), 2)
        ]
        contrasts = np.array(contrasts + pairs)
        means.append(scale * contrasts @ mean)
        variances.append(scale**2 * ((contrasts @ covariance) * contrasts).sum(axis=1))
    mean = np.mean(means, axis=0)
    deviation = np.sqrt(np.mean(variances, axis=0) + np.var(means, axis=0))

    found = [(block.effect, block.low, block.high) for block in effects.blocks]
    expected = np.stack([mean, mean - 1.96 * deviation, mean + 1.96 * deviation], 1)
    np.testing.assert_allclose(found, expected[:6], atol=1e-6)
    strongest = expected[6:][np.argsort(-np.abs(mean[6:]))[:5]]
    found = [(pair.effect, pair.low, pair.high) for pair in effects.pairs]
    np.testing.assert_allclose(found, strongest, atol=1e-6)


def test_intervals_hold_a_planted_additive_truth_and_find_it():
    inside, errors, told = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        slopes = rng.normal(size=6) * 0.6
        masks = balanced_design(24, 6, rng)
        values = additive(masks, slopes) + 0.28 * rng.standard_normal(24)
        effects = block_effects(judge(masks, values), STAGES)
        inside += [b.low <= s <= b.high for b, s in zip(effects.blocks, slopes)]
        errors += [b.effect - s for b, s in zip(effects.blocks, slopes)]
        told.append(effects.tells_apart)
    assert np.mean(told) >= 0.95
    assert 0.9 <= np.mean(inside) <= 0.99
    # by least squares it would be 2 * 0.28 / sqrt(24)
    assert np.std(errors) == pytest.approx(0.114, rel=0.2)


def test_pure_noise_does_not_tell_blocks_apart():
    told = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = 70 + 0.28 * rng.standard_normal(20)
        effects = block_effects(judge(balanced_design(20, 6, rng), values), STAGES)
        told.append(effects.tells_apart)
        if not effects.tells_apart:
            assert 'do not tell the blocks apart' in effects.summary()
    assert sum(told) <= 2


def test_further_trainings_halve_the_intervals():
    rng = np.random.default_rng(5)
    slopes = [1, -1, 0.5, 0, 0.3, -0.2]
    masks = balanced_design(16, 6, rng)
    values = additive(masks, slopes) + 0.28 * rng.standard_normal(16)
    before = block_effects(judge(masks, values), STAGES, noise=0.28)
    # n judgements leave a deviation of 2 noise / sqrt(n): four times as many halve it
    assert 40 <= before.trainings_to_halve <= 80


def test_effects_are_of_the_metric_and_the_mask_is_of_the_reward():
    masks = balanced_design(24, 6, np.random.default_rng(6))
    metric = additive(masks, [1, 1, 0.5, 0.5, 0.5, 0.5])
    cheap = 6 * (1 - np.mean(masks, axis=1))  # a block costs one point
    judged = [
        Judgement(tuple(mask), value, 0.0, None, value + bonus)
        for mask, value, bonus in zip(masks, metric, cheap)
    ]
    effects = block_effects(judged, STAGES)
    assert [round(block.effect, 1) for block in effects.blocks] == [1, 1] + [0.5] * 4
    bits = effects.recommended.mask['backbone'].replace('-', '')
    assert bits[2:] == '0000'
    given = block_effects(judged, STAGES, recommended=(1, 0, 1, 0, 1, 0))
    assert given.recommended.mask == {'backbone': '10-10-10'}
    assert given.recommended.over_none.gain == pytest.approx(2.0, abs=0.1)
    assert given.recommended.over_all.gain == pytest.approx(-2.0, abs=0.1)
    assert given.recommended.over_all.probability < 0.01


def test_effects_are_of_a_loss_where_that_is_what_counts():
    masks = balanced_design(20, 6, np.random.default_rng(7))
    judged = [
        Judgement(mask, 70.0, 0.0, None, 70.0, loss=1 - 0.01 * mask[2])
        for mask in masks
    ]
    effects = block_effects(judged, STAGES, measure='loss')
    assert effects.blocks[2].effect == pytest.approx(1.0, abs=0.05)
    assert effects.measure == 'loss'


def test_effects_name_their_blocks_and_go_through_json():
    masks = balanced_design(16, 5, np.random.default_rng(8))
    judged = judge(masks, additive(masks, [2, 0, 0, -1, 0]), budget=800)
    effects = block_effects(judged, {'backbone': (2, 1), 'neck': (2,)})
    places = [(each.module, each.stage, each.block) for each in effects.blocks]
    assert places == [
        ('backbone', 1, 1),
        ('backbone', 1, 2),
        ('backbone', 2, 1),
        ('neck', 1, 1),
        ('neck', 1, 2),
    ]
    assert (effects.budget, effects.judgements) == (800, 16)
    facts = json.loads(json.dumps(effects.to_dict()))
    assert read_effects(facts) == effects
    assert set(effects.recommended.mask) == {'backbone', 'neck'}
    summary = effects.summary()
    assert 'helps most in backbone stage 1 block 1 (+2.0' in summary
    assert 'harms most in neck stage 1 block 1 (-1.0' in summary


def test_there_are_no_effects_without_judgements():
    with pytest.raises(EANError, match='no judgements yet'):
        block_effects([], STAGES)
    assert not block_effects(judge(MASKS[:1], [70.0]), STAGES).tells_apart


@pytest.mark.parametrize('bad', [float('nan'), -1000.0, 10.0])
def test_a_diverged_mask_does_not_wreck_the_model(bad):
    rng = np.random.default_rng(9)
    masks = balanced_design(20, 6, rng)
    values = additive(masks, [1, -1, 0.5, 0, 0, 0]) + 0.1 * rng.standard_normal(20)
    sound = MaskModel(6).fit(masks, values)
    values[4] = bad
    model = MaskModel(6).fit(masks, values)
    changes = np.abs(model.mean(MASKS) - sound.mean(MASKS))
    assert changes.mean() < 0.4
    assert changes.max() < 1.5
    assert model.values().min() > 65


def test_a_judgement_that_says_that_it_diverged_counts_as_a_bit_below_the_worst():
    masks = MASKS[:4]
    model = MaskModel(6).fit(masks, [70.0, 71, 72, 75], diverged=[0, 0, 0, 1])
    deviation = np.std([70, 71, 72])
    np.testing.assert_allclose(model.values(), [70, 71, 72, 70 - deviation])


@pytest.mark.parametrize('agreement, alone', [(0.5, 0.95), (-1.0, None)])
def test_short_trainings_help_if_they_agree_and_do_not_mislead(agreement, alone):
    rng = np.random.default_rng(10)
    long = additive(MASKS, [1, -1, 0.5, 0.3, 0, 0])
    few = MASKS[::8]
    masks = np.vstack([MASKS, few])
    values = np.concatenate([agreement * long, long[::8]])
    values += 0.1 * rng.standard_normal(72)
    model = MaskModel(6, (4, 20)).fit(masks, values, [4] * 64 + [20] * 8)
    found = np.corrcoef(model.mean(MASKS), long)[0, 1]
    without = np.corrcoef(MaskModel(6).fit(few, values[64:]).mean(MASKS), long)[0, 1]
    assert found > (alone or without - 0.05)
    surely = model.information()[0] > 0.1
    assert surely == (agreement > 0)
