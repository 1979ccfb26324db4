import numpy as np
import pytest

from ean_mm import HeldOutSplit

DIGITS = dict(type='DigitsDataset', split='train')


def labels(split):
    return np.array(split.get_gt_labels())


@pytest.mark.parametrize('number', [1, 30, 100])
def test_the_sides_part_the_data_set_and_the_held_out_one_is_stratified(number):
    held = HeldOutSplit(DIGITS, held_out=True, num_per_class=number)
    rest = HeldOutSplit(DIGITS, held_out=False, num_per_class=number)
    assert np.bincount(labels(held)).tolist() == [number] * 10
    assert sorted(held.indices + rest.indices) == list(range(1437))
    assert len(rest) == 1437 - 10 * number
    assert held.metainfo['classes'] == [str(digit) for digit in range(10)]


def test_items_are_those_of_the_data_set():
    held = HeldOutSplit(DIGITS, held_out=True, num_per_class=3)
    for position in (0, 7, 29):
        item = held[position]
        assert item['gt_label'] == labels(held)[position]
        assert np.array_equal(item['img'], held.get_data_info(position)['img'])


def test_the_split_depends_on_the_seed_alone():
    def split(seed):
        return HeldOutSplit(DIGITS, True, num_per_class=5, seed=seed).indices

    assert split(0) == split(0) != split(1)


def test_images_without_classes_are_held_out_by_number():
    held = HeldOutSplit(DIGITS, held_out=True, num_images=40)
    rest = HeldOutSplit(DIGITS, held_out=False, num_images=40)
    assert (len(held), len(rest)) == (40, 1397)
    assert not set(held.indices) & set(rest.indices)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(num_per_class=200), "cannot hold 200 images out of the 14. of class '0'"),
        (dict(num_per_class=0), 'cannot hold 0 images'),
        (dict(num_images=1437), 'cannot hold 1437 images out of the 1437 of data set'),
        (dict(), 'either num_per_class or num_images'),
        (dict(num_per_class=3, num_images=3), 'either num_per_class or num_images'),
    ],
)
def test_impossible_splits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeldOutSplit(DIGITS, held_out=True, **arguments)


def test_the_test_digits_are_no_training_digits():
    train = HeldOutSplit(DIGITS, held_out=False, num_images=1).dataset
    test = HeldOutSplit(dict(DIGITS, split='test'), held_out=False, num_images=1)
    seen = {train.get_data_info(i)['img'].tobytes() for i in range(len(train))}
    assert len(test) == 359
    assert not any(
        test.get_data_info(i)['img'].tobytes() in seen for i in range(len(test))
    )


def test_a_side_can_be_split_again():
    part = dict(type='HeldOutSplit', held_out=True, num_per_class=50, dataset=DIGITS)
    whole = HeldOutSplit(DIGITS, held_out=True, num_per_class=50)
    sides = [
        HeldOutSplit(part, held_out=side, num_per_class=20) for side in (True, False)
    ]
    assert np.bincount(labels(sides[0])).tolist() == [20] * 10
    assert np.bincount(labels(sides[1])).tolist() == [30] * 10
    inner = [side.dataset.indices for side in sides]
    assert sorted(inner[0] + inner[1]) == whole.indices
    for side in sides:
        images = [side[i]['img'] for i in range(len(side))]
        expected = [whole.dataset[i]['img'] for i in side.indices]
        assert np.array_equal(images, expected)
