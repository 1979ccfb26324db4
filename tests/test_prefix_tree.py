"""Many masks in one walk: the same numbers, fewer blocks, bounded memory."""

import weakref
from itertools import product

import pytest
import torch

from ean_mm import EANResNet, EANResNetCIFAR
from ean_mm.search.evaluation.prefix_tree import ActivationCache, PrefixTree, Work

SE = dict(type='SEAttention', ratio=4)


def build(attention=SE, share='stage', depth=18, **kwargs):
    backbone = EANResNet(
        depth, attention=attention, share=share, base_channels=8, stem_channels=8,
        **kwargs)  # fmt: skip
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return backbone.eval()


def walk(backbone, images, masks, budget=0, cache=None, work=None):
    """Features by mask, and the work that was done."""
    cache = cache or ActivationCache(budget)
    work = work or Work()
    tree = PrefixTree(backbone, cache, work)
    cache.begin_pass(masks, 1)
    return dict(tree.features(images, masks, 0)), work


def random_masks(number, bits=8):
    masks = torch.randint(2, (number, bits)).tolist()
    return list(dict.fromkeys(map(tuple, masks)))


@pytest.mark.parametrize('share', ['stage', 'block'])
@pytest.mark.parametrize('kind', ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM'])
@pytest.mark.parametrize('budget', [0, 10**9], ids=['forgets', 'keeps'])
@torch.no_grad()
def test_features_are_the_backbones_own(kind, share, budget):
    backbone = build(
        dict(type=f'{kind}Attention'), share, out_indices=(0, 1, 2, 3)
    )  # fmt: skip
    images = torch.randn(2, 3, 64, 64)
    cache = ActivationCache(budget)
    for _ in range(3):  # the later passes start from what the earlier ones keep
        masks = random_masks(5)
        features, _ = walk(backbone, images, masks, cache=cache)
        assert set(features) == set(masks)
        for mask, outs in features.items():
            backbone.set_mask(mask)
            for ours, theirs in zip(outs, backbone(images), strict=True):
                assert torch.equal(ours, theirs)


def test_blocks_that_masks_share_are_computed_once():
    images = torch.randn(3, 3, 32, 32)
    mask = (0,) * 8
    # a second mask that differs at block 5 shares the blocks up to and with it
    other = (0, 0, 0, 0, 0, 1, 0, 0)
    _, work = walk(build(), images, [mask, other])
    assert (work.blocks, work.naive_blocks) == (3 * (8 + 2), 3 * 16)


def test_all_masks_take_two_to_the_depth_blocks_and_not_depth_times_as_many():
    backbone = EANResNetCIFAR(
        20, attention=SE, base_channels=4, stem_channels=4
    ).eval()  # fmt: skip
    masks = list(product((0, 1), repeat=9))
    features, work = walk(backbone, torch.randn(1, 3, 8, 8), masks)
    assert len(features) == 512
    assert (work.blocks, work.naive_blocks) == (2**9 - 1, 9 * 512)


def test_a_later_pass_starts_where_its_mask_parts_from_a_known_one():
    backbone, images = build(), torch.randn(2, 3, 32, 32)
    cache = ActivationCache(10**9)
    walk(backbone, images, [(1, 0, 1, 1, 0, 0, 1, 1)], cache=cache)
    # the same first two stages, of two blocks each
    _, work = walk(backbone, images, [(1, 0, 1, 1, 1, 0, 1, 1)], cache=cache)
    assert (work.blocks, work.cache_hits) == (2 * 4, 2)
    # nothing but the stem in common
    _, work = walk(backbone, images, [(0, 0, 1, 1, 1, 0, 1, 1)], cache=cache)
    assert (work.blocks, work.cache_hits) == (2 * 8, 2)


def test_the_budget_holds_and_the_oldest_activations_make_room():
    backbone, images = build(), torch.randn(1, 3, 64, 64)
    # of 8, 16 and 32 channels: behind the stem, and behind stages 1, 2 and 3
    stem, stages = 8 * 16 * 16 * 4, [8 * 16 * 16 * 4, 16 * 8 * 8 * 4, 32 * 4 * 4 * 4]
    once = stem + sum(stages)
    cache = ActivationCache(once)
    first, second = (0,) * 8, (1,) * 8
    walk(backbone, images, [first], cache=cache)
    assert cache.size == once
    walk(backbone, images, [second], cache=cache)
    assert cache.size <= cache.budget
    assert cache.get((1, 1), 0) is not None  # the present pass's
    assert cache.get((0, 0), 0) is None  # made room
    assert cache.get((), 0) is not None  # both passes use it
    _, work = walk(backbone, images, [second], cache=cache)
    assert work.blocks == 2


def test_memory_grows_with_depth_and_not_with_the_number_of_masks():
    backbone, images = build(depth=34), torch.randn(1, 3, 32, 32)
    alive, peak = [], 0
    for stage in backbone.stages:
        for block in stage:

            def residual(x, compute=block.residual):
                nonlocal peak
                y = compute(x)
                alive.append(weakref.ref(y))
                alive[:] = [reference for reference in alive if reference() is not None]
                peak = max(peak, len(alive))
                return y

            block.residual = residual
    peaks = {}
    for number in (1, 8, 64, 256):
        peak = 0
        tree = PrefixTree(backbone, ActivationCache(0), Work())
        for _ in tree.features(images, random_masks(number, 16), 0):
            pass
        peaks[number] = peak
    assert peaks[1] == 2  # a block's input, in place of the last residual, and its own
    assert peaks[256] <= 17


def test_a_backbone_that_cannot_be_run_by_stages_is_told_apart():
    assert PrefixTree.supports(build())
    assert not PrefixTree.supports(torch.nn.Identity())
