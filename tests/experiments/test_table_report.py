"""Tables of trained networks: what is reported."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tables import RUN, TABLE, cells, make_row, percents, read_rows, rows_of

from ean_mm import EANError
from studies.markdown import fill
from studies.report import NetworkReport
from studies.report_text import mean_interval

DOCUMENT = """# Results
<!-- begin: digits -->
old
<!-- end: digits -->
Between.
<!-- begin: digits summary --><!-- end: digits summary -->
End.
"""


def test_the_report_has_the_numbers_of_the_file(folder, tool, no_training):
    Path('report.md').write_text(DOCUMENT)
    assert tool(*TABLE, '--only-report', '--report', 'report.md')[0] == 0
    text = Path('report.md').read_text()
    table = {tuple(cells(line)[:2]): cells(line) for line in text.splitlines()
             if line.startswith('| ')}  # fmt: skip
    rows = read_rows()

    values = percents(rows, 'shared everywhere')
    assert table['SE', 'shared everywhere'][2:4] == [
        '2', f'{values.mean():.2f} ± {values.std(ddof=1):.2f}']  # fmt: skip
    plain = int(rows_of(rows, 'plain')[0]['parameters'])
    assert table['none', 'plain'][4] == f'{plain:,} ± 0'

    means = [percents(rows, 'random mask', seed).mean() for seed in (0, 1)]
    assert table['SE', 'random mask'][2:4] == [
        '4', f'{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}']  # fmt: skip
    difference = percents(rows, 'searched mask') - means
    low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    written = f'{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})'
    assert table['SE', 'searched - random mask'][2:4] == ['2', written]
    assert cells(text.partition('digits summary')[2].splitlines()[4])[-1] == written
    for row in rows_of(rows, 'searched mask'):
        assert f'{row["seed"]}: `{row["mask"]}`' in text
    hours = sum(float(row['train_seconds']) for row in rows) / 3600
    assert f'14 runs, {hours:.2f} hours' in text


def test_the_report_is_the_same_every_time(folder, tool, no_training):
    for name in ('one.md', 'other.md'):
        Path(name).write_text(DOCUMENT)
        assert tool(*TABLE, '--report', name)[0] == 0
    one = Path('one.md').read_bytes()
    assert one == Path('other.md').read_bytes()
    assert tool(*TABLE, '--report', 'one.md', 'other.md')[0] == 0
    assert one == Path('one.md').read_bytes() == Path('other.md').read_bytes()
    assert one.startswith(b'# Results\n<!-- begin: digits -->\n\n**ResNet-20**')
    assert b'old' not in one and b'\nBetween.\n' in one and one.endswith(b'End.\n')


def test_options_make_a_table_of_their_own(folder, tool, no_training):
    """Trials with other options do not get into the table of the protocol."""
    status, out = tool(RUN, '--protocol', 'digits', '--work-dir', 'runs',
                       '--only-report')  # fmt: skip
    assert status == 0 and out == 'No network has been trained yet.\n'


def test_a_document_without_a_place_is_refused(tmp_path):
    path = tmp_path / 'x.md'
    for text, message in (
        ('text', 'has no place for the results: add lines <!-- begin: a -->'),
        ('<!-- begin: a -->', 'without <!-- end: a --> after it'),
    ):
        path.write_text(text)
        with pytest.raises(EANError, match=message):
            fill(path, dict(a='1', b='2'))
        assert path.read_text() == text


@pytest.fixture
def report():
    """Three seeds of SE, of which the last has no random masks yet, and one of DIA."""
    rows = [make_row('plain', seed, 80.0 + seed, 'none') for seed in range(3)]
    rows += [make_row('searched mask', s, p) for s, p in enumerate([82, 83, 90])]
    rows += [make_row('random mask #1', s, p) for s, p in enumerate([79, 81])]
    rows += [make_row('random mask #2', s, p) for s, p in enumerate([81, 82])]
    rows += [make_row('searched mask', 0, 70, 'DIA', parameters=1100),
             make_row('random mask #1', 0, 71, 'DIA')]  # fmt: skip
    return NetworkReport('net', rows)


def test_differences_are_paired_by_seed(report):
    random = 'random mask'
    assert report.differences('SE', random, 'percent') == [82 - 80, 83 - 81.5]
    assert report.differences('SE', 'plain', 'percent') == [2, 2, 8]
    assert report.differences('SE', 'shared everywhere', 'percent') == []
    assert report.differences('all together', random, 'percent') == [2, 1.5, -1]
    assert report.differences('all together', 'plain', 'percent') == []
    assert report.differences('all together', random, 'parameters') == []
    assert report.differences('DIA', random, 'parameters') == [100]


def test_a_partial_table_is_reported(report):
    text = report.markdown()
    assert 'shared everywhere' not in text  # nothing of it was trained
    assert '| DIA | searched - random mask | 1 | -1.00 | +100 |' in text
    better = report.claims().splitlines()[0]
    assert 'all together +0.83 (-3.16 to +4.83) points, no difference' in better


def test_epochs_are_of_loops_that_count_them(report):
    assert ' iterations (1 whole epochs), tested on ' in report.markdown()
    for row in report.trained:
        row['epochs'] = 0  # mmseg's loops count iterations
    assert ' iterations, tested on ' in report.markdown()


def test_the_report_says_what_became_of_the_claims():
    rows = [make_row('plain', s, 80.0 + s, 'none', parameters=900) for s in range(3)]
    rows += [make_row('unshared everywhere', s, 84.0 + s, parameters=1300)
             for s in range(3)]  # fmt: skip
    rows += [make_row('searched mask', s, 82.5 + s + 0.1 * s) for s in range(3)]
    rows += [make_row('random mask #1', s, p) for s, p in enumerate([81, 84, 85])]
    better, keeps, plain, fewer = NetworkReport('net', rows).claims().splitlines()
    assert 'SE +0.27 (-2.39 to +2.92) points, no difference shown' in better
    assert 'SE -1.40 (-1.65 to -1.15) points, less' in keeps
    assert 'SE +2.60 (+2.35 to +2.85) points, more' in plain
    assert fewer.endswith(
        '(what is added to the plain network): SE 100 instead of 400.'
    )


def test_the_interval_of_a_mean():
    values = [1.0, 2.0, 4.0]
    # mean 7/3, standard deviation 1.5275, quantile of t (2 degrees of freedom) 4.3027
    assert mean_interval(values) == pytest.approx([-1.4613, 6.1279], abs=1e-3)
    assert mean_interval([2.0, 2.0]) == [2, 2]
    assert mean_interval([2.0]) == [-np.inf, np.inf]


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(1, 2, (2000, 4))
    covered = [low <= 1 <= high for low, high in map(mean_interval, samples.tolist())]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_the_documents_numbers_are_those_of_the_csv(root, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = ('--only-report', '--csv', root / 'docs/data/results.csv', '--report')
    for name in ('docs/results.md', 'README.md'):
        shutil.copy(root / name, tmp_path)
    for protocol in ('mini', 'full', 'transfer-mini', 'transfer'):
        assert tool(RUN, '--protocol', protocol, *results, 'results.md')[0] == 0
    assert tool(RUN, '--protocol', 'mini', *results, 'README.md')[0] == 0
    assert tool('experiments/rank_correlation.py', *results, 'results.md')[0] == 0
    for name in ('docs/results.md', 'README.md'):
        assert (tmp_path / Path(name).name).read_text() == (root / name).read_text()
