"""The comparison of searchers at equal cost, on a table of five bits."""

import csv
import itertools
import json
from pathlib import Path

import pytest


@pytest.fixture
def bench(tmp_path):
    """A table of two attentions, of which one has every mask, one of them twice."""
    path = tmp_path / 'bench_tiny.csv'
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['attention', 'mask', 'seed', 'accuracy'])
        for bits in itertools.product('01', repeat=5):
            mask = ''.join(bits[:2]) + '-' + ''.join(bits[2:])
            writer.writerow(['SE', mask, 0, 60 + 4 * bits.count('1')])
        writer.writerow(['SE', '11-111', 1, 82])
        writer.writerow(['DIA', '00-000', 0, 60])
    return path


def test_regrets_of_a_table_are_of_the_true_accuracy(tool, bench, tmp_path):
    def run(*more):
        return tool(
            *('analysis_tools/compare_at_cost.py', '--problems', 'bench'),
            *('--tables', bench, 'missing_*.csv', '--trainings', 8, '--seeds', 3),
            *(
                '--noise',
                0,
                '--searchers',
                'surrogate',
                'random',
                'supernet (22 epochs)',
            ),
            *('--out', tmp_path / 'out.json', '--figure', tmp_path / 'out.png', *more),
        )

    status, output = run()
    assert status == 0
    assert 'skipped: there is no missing_*.csv' in output
    assert 'skipped: bench_tiny DIA: a table has 1 masks' in output
    results = json.loads((tmp_path / 'out.json').read_text())
    assert [each['searcher'] for each in results] == [
        'surrogate',
        'random',
        'supernet (22 epochs)',
    ]
    for each in results:
        assert each['problem'] == 'bench_tiny SE'
        assert each['epochs'] == 160
        # a block is worth 4 points; all of them have the mean of 80 and 82
        assert all(regret in (0, 5, 9, 13, 17, 21) for regret in each['regret'])
    assert sum(results[0]['regret']) <= 5  # it is additive, but for one mask
    assert '| surrogate |' in output
    assert Path(tmp_path / 'out.png').stat().st_size > 1000

    before = (tmp_path / 'out.json').read_text()
    assert run()[0] == 0
    assert (tmp_path / 'out.json').read_text() == before


def test_a_killed_comparison_goes_on_with_the_seeds_that_are_missing(
    tool, bench, tmp_path
):
    def regrets(out, *seeds):
        for number in seeds:
            status, _ = tool(
                *('analysis_tools/compare_at_cost.py', '--problems', 'bench'),
                *('--tables', bench, '--trainings', 8, '--searchers', 'random', 'tpe'),
                *('--seeds', number, '--out', tmp_path / out),
            )
            assert status == 0
        return [each['regret'] for each in json.loads((tmp_path / out).read_text())]

    whole = regrets('whole.json', 4)
    assert [len(each) for each in whole] == [4, 4]
    assert regrets('parts.json', 1, 4) == whole


def test_mistakes_are_named(tool, bench):
    arguments = 'analysis_tools/compare_at_cost.py', '--tables', bench, '--column', 'x'
    status, _ = tool(*arguments)
    assert status.startswith('error: ') and 'no mask and x in each entry' in status
