"""The tool that writes the report of a search, and what it refuses."""

import runpy
import shutil
import sys

import pytest
from failing import fails
from searched import judged, page_of, search, write_history, write_trained

from ean_mm import EANError
from ean_mm.visualization.report import read_search


@pytest.fixture
def tool(root, monkeypatch, capsys):
    """Run the tool in this process; return its exit status and what it printed."""

    def run(*arguments):
        path = root / 'tools/analysis_tools/search_report.py'
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name='__main__')
            status = 0
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return run


def test_without_jinja2_the_tool_says_in_one_line_how_to_get_it(
    tool, tmp_path, monkeypatch
):
    search(tmp_path, stop_after=1)
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    fails(tool(tmp_path), 'needs jinja2; pip install ean_mm[report]')


def test_the_tool_writes_into_the_work_dir_or_where_it_is_told(tool, tmp_path):
    search(tmp_path)
    for options, out in (
        ([], tmp_path / 'search_report.html'),
        (['--out', tmp_path / 'new/page.html'], tmp_path / 'new/page.html'),
    ):
        status, printed = tool(tmp_path, *options)
        assert (status, printed) == (0, f'{out}\n')
        assert out.read_text() == page_of(tmp_path)


@pytest.mark.parametrize(
    'line, message',
    [
        ('{"step": 0, "masks": [{"met\n', 'line 1 is damaged'),
        ('{"step": 0, "masks": []}\n', 'out of order or has no masks'),
        ('{"step": 0, "masks": [{"metric": 1.0, "mask": {"b": "1"}}]}\n',
         "record 1 has no 'reward'"),
        ('{"step": 0, "masks": [{"metric": NaN, "reward": 1, "mask": {"b": "1"}}]}\n',
         'line 1 is damaged'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": NaN, "mask": {"b": "1"}}]}\n',
         'its reward is not finite'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": {"b": "1<"}}]}\n',
         'its mask is not bits'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": "11"}]}\n',
         'it is damaged'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": {"\\t": "1"}}]}\n',
         'no printable name'),
        ('', 'has not finished its first step'),
        ('{"step": 0, "ma', 'has not finished its first step'),
    ],
)  # fmt: skip
def test_an_unreadable_history_ends_in_one_line(tool, tmp_path, line, message):
    (tmp_path / 'search').mkdir()
    (tmp_path / 'search/history.jsonl').write_text(line)
    fails(tool(tmp_path), message)
    assert not (tmp_path / 'search_report.html').exists()


def test_a_history_of_two_networks_is_refused(tmp_path):
    write_history(tmp_path, [('10-01', 50.0, 51.0)], [('1001', 50.0, 51.0)])
    with pytest.raises(EANError, match='record 2 .* of another network'):
        read_search(tmp_path)


def test_other_mistakes_end_in_one_line(tool, tmp_path):
    fails(tool(tmp_path / 'nowhere'), 'there is no folder')
    fails(tool(tmp_path), 'holds no search')
    write_history(tmp_path, [('10-01', 50.0, 51.0)])
    fails(tool(tmp_path, '--out', tmp_path), 'cannot be written')
    (tmp_path / 'mask_backbone.json').write_text('{"mask": ')
    fails(tool(tmp_path), 'is not a mask file')
    shutil.rmtree(tmp_path / 'search')
    (tmp_path / 'search/history.jsonl').mkdir(parents=True)
    fails(tool(tmp_path), 'cannot be read')


@pytest.mark.parametrize(
    'facts, message',
    [
        (dict(budget='800'), 'its budget is no number of iterations'),
        (dict(budget=True), 'its budget is no number of iterations'),
        (dict(budget=0), 'its budget is no number of iterations'),
        (dict(budget=10**400), 'its budget is no number of iterations'),
        (dict(diverged='<b>'), "its 'diverged' is neither true nor false"),
    ],
)
def test_damaged_facts_of_a_training_end_in_one_line(tool, tmp_path, facts, message):
    write_trained(tmp_path, [{**judged('10-00', 60.0), **facts}])
    fails(tool(tmp_path), message)


def test_a_history_of_which_only_a_part_was_trained_is_refused(tool, tmp_path):
    other = judged('11-00', 60.0)
    del other['budget']
    write_trained(tmp_path, [judged('10-00', 60.0), other])
    fails(tool(tmp_path), 'only some of its masks have a budget')
