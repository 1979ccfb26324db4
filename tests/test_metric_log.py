"""What metrics say of every mask: in the log file, and not in the console."""

from pathlib import Path

import pytest
from tiny_detector import write_detector

from ean_mm.__main__ import main

VOC = """
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')
custom_hooks = _base_.custom_hooks
custom_hooks[-1].reward.metric = 'pascal_voc/mAP'
"""


@pytest.fixture
def search(tool, tmp_path, monkeypatch):
    """Search on a detector; return the console's lines of it, and the log file."""
    monkeypatch.chdir(tmp_path)

    def run(kind, change, *options):
        write_detector(tmp_path)
        assert main(['new', '--config', 'detector.py', '--search', kind]) == 0
        text = f"_base_ = 'detector_se_search.py'\n{change}"
        (tmp_path / 'search.py').write_text(text)
        status, output = tool('train.py', 'search.py', '--cfg-options', *options)
        assert status == 0
        (log,) = Path('work_dirs/search').glob('*/*.log')
        return output.partition('Searching 8 bits')[2].splitlines()[1:], log.read_text()

    return run


@pytest.mark.parametrize(
    'change, words, steps, lines',
    [
        (VOC, '| class', 20, ['10/20', '20/20', '20/20']),  # the last is of the best
        ('', 'Accumulating evaluation results', 2, ['2/2', '2/2']),
    ],
    ids=['VOCMetric', 'CocoMetric'],
)
def test_the_console_has_a_line_every_ten_steps(search, change, words, steps, lines):
    console, log = search(
        'supernet', change, 'train_cfg.max_epochs=1',
        'custom_hooks.2.searcher.type=RandomSearcher',
        'custom_hooks.2.searcher.preset=None',
        f'custom_hooks.2.searcher.num_steps={steps}')  # fmt: skip
    found = [line.split('Search [')[1] for line in console if 'Search [' in line]
    assert [line.partition(']')[0] for line in found] == lines
    assert len(console) < len(lines) + 6, console
    assert log.count(words) >= steps and 'mmengine - DEBUG' in log


def test_trained_masks_have_a_line_each(search):
    console, log = search('training', '', 'custom_hooks.1.searcher.num_steps=1')
    assert len([line for line in console if 'Mask ' in line]) == 5  # and the found one
    assert len(console) < 12, console
    assert log.count('Accumulating evaluation results') == 4
