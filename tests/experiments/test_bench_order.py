"""The order in which the bench trains masks, and on which images."""

import itertools

import numpy as np
import pytest

from studies.bench import Job, ordered_jobs, ordered_masks, pilot_jobs
from studies.fidelity import FidelityTable

NONE, ALL = '000-000-000', '111-111-111'


def bits_of(mask):
    return [int(char) for char in mask if char in '01']


def test_the_order_begins_with_no_block_all_blocks_and_opposites():
    masks = ordered_masks()
    assert masks[:2] == [NONE, ALL]
    assert sorted(masks) == sorted(
        '-'.join(map(''.join, (m[:3], m[3:6], m[6:])))
        for m in itertools.product('01', repeat=9)
    )
    for one, other in zip(masks[::2], masks[1::2]):
        assert [1 - bit for bit in bits_of(one)] == bits_of(other)


@pytest.mark.parametrize('number, blocks', [(32, 3), (64, 3), (96, 3), (128, 5)])
def test_the_beginnings_of_the_order_are_balanced(number, blocks):
    """Any three blocks, or five, have each of their settings equally often."""
    masks = np.array([bits_of(mask) for mask in ordered_masks()[:number]])
    for chosen in itertools.combinations(range(9), blocks):
        settings, counts = np.unique(masks[:, chosen], axis=0, return_counts=True)
        assert len(settings) == 2**blocks and len(set(counts)) == 1


def test_further_seeds_of_64_masks_come_after_each_eighth():
    parts = ordered_jobs()
    masks = ordered_masks()
    assert [len(part) for part in parts] == [80] * 8
    jobs = [job for part in parts for job in part]
    assert len(set(jobs)) == 640
    assert [job.mask for job in jobs if job.seed == 0] == masks
    for number, part in enumerate(parts):
        assert {job.seed for job in part[:64]} == {0}
        again = masks[8 * number : 8 * number + 8]
        assert part[64:] == [Job(mask, seed) for mask in again for seed in (1, 2)]


def test_a_pilot_is_a_part_of_the_bench():
    pilot = [job for part in pilot_jobs() for job in part]
    assert len(pilot) == 18 and {NONE, ALL} < {job.mask for job in pilot}
    assert set(pilot) < {job for part in ordered_jobs() for job in part}


def test_a_bench_of_fewer_masks_has_the_first_ones():
    jobs = [job for part in ordered_jobs(3) for job in part]
    masks = ordered_masks()[:3]
    assert jobs[:3] == [Job(mask, 0) for mask in masks]
    assert set(jobs) == {Job(mask, seed) for mask in masks for seed in range(3)}


def test_the_protocol_rewards_and_tests_on_images_apart():
    cfg = FidelityTable('bench', 'ResNet-20', 'DIA').config()
    train, reward, test = (cfg[f'{side}_dataloader'].dataset
                           for side in ('train', 'val', 'test'))  # fmt: skip
    assert (train.held_out, reward.held_out) == (False, True)
    assert train.num_per_class == reward.num_per_class == 100
    assert train.dataset.num_per_class == reward.dataset.num_per_class == 600
    assert reward.dataset.held_out and train.dataset.held_out
    sources = [side.dataset.dataset.data_prefix for side in (train, reward)]
    assert sources == ['train', 'train'] and test.dataset.data_prefix == 'test'
    assert (test.held_out, test.num_per_class) == (True, 500)
    assert (10 * 500) % cfg.train_dataloader.batch_size == 0
    assert cfg.param_scheduler.milestones == [2, 3]  # 81 and 122 of 164
    assert cfg.model.backbone.attention.type == 'DIAAttention'
