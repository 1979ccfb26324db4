"""``python -m ean_mm``, and what the tools answer to --help."""

import io
import json
import subprocess
from pathlib import Path

import pytest

from ean_mm import Mask
from ean_mm.__main__ import main
from ean_mm.compat import TESTED

SGE = 'masks/resnet50_sge_imagenet.json'
ROOT = Path(__file__).parents[1]
TOOLS = sorted(
    str(path.relative_to(ROOT / 'tools')) for path in ROOT.glob('tools/**/*.py')
)


@pytest.fixture
def shell(capsys, monkeypatch):
    """Run a command; return its exit status, its output and its errors."""
    monkeypatch.setenv('COLUMNS', '80')

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # of argparse's --help
            status = error.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def fails(result, message):
    """The command has ended with status 2 and one line that holds the message."""
    status, output, errors = result
    assert (status, output) == (2, '')
    assert errors.startswith('error: ') and errors.count('\n') == 1, errors
    assert message in errors


def test_info_names_versions_and_what_is_registered(shell):
    status, output, _ = shell('info')
    assert status == 0
    for name in [*TESTED['openmmlab'], 'GPU', 'EANResNetCIFAR', 'EANSearchHook']:
        assert name in output


def test_info_says_which_version_is_not_tested(shell, monkeypatch):
    monkeypatch.setattr('mmcv.__version__', '9.9.0')
    status, output, _ = shell('info')
    assert status == 0
    (line,) = [line for line in output.splitlines() if line.startswith('mmcv')]
    assert '9.9.0' in line and 'not tested' in line
    assert output.count('not tested') == 1


def test_info_goes_on_without_a_toolbox(shell, monkeypatch):
    monkeypatch.setitem(TESTED['openmmlab'], 'mmrotate', 'mmrotate==1.0.0')
    status, output, _ = shell('info')
    assert status == 0
    (line,) = [line for line in output.splitlines() if line.startswith('mmrotate')]
    assert 'not installed' in line


def test_show_draws_a_row_a_stage(shell):
    status, output, _ = shell('mask', 'show', '10-011')
    assert status == 0
    assert output.splitlines() == [
        'mask 10-011',
        '3 of 5 blocks plugged in, sparsity 0.40',
        'stage 1  ■ □     1 of 2',
        'stage 2  □ ■ ■   2 of 3',
    ]


def test_show_says_where_a_mask_file_comes_from(shell, tmp_path):
    path = tmp_path / 'mask.json'
    Mask.parse('10-01', (2, 2)).to_file(
        path, network='EANResNet-10', attention=dict(type='SEAttention', ratio=4)
    )
    output = shell('mask', 'show', path)[1]
    assert f'from {path}\n' in output
    assert 'EANResNet-10' in output and 'type=SEAttention, ratio=4' in output


def test_show_keeps_to_the_width_of_the_terminal(shell, monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    output = shell('mask', 'show', 'all', '--stages', '2-30')[1]
    assert output.count('■') == 32
    assert max(map(len, output.splitlines()[2:])) <= 40


def test_a_file_does_not_steer_the_terminal(shell, tmp_path):
    path = tmp_path / 'mask.json'
    content = dict(mask='1', stage_blocks=[1], network='\x1b[2Jgone')
    path.write_text(json.dumps(content))
    assert '\x1b' not in shell('mask', 'show', path)[1]


def test_equal_masks_are_status_0(shell):
    status, output, _ = shell('mask', 'diff', SGE, '100-1011-010011-011')
    assert status == 0 and output.endswith('equal\n')


def test_different_masks_are_status_1_and_said_block_by_block(shell):
    status, output, _ = shell('mask', 'diff', '100-1011-1', '001-1011-0')
    assert status == 1
    assert output.count('sparsity 0.38') == 1 and output.count('sparsity 0.50') == 1
    rows = [line.split() for line in output.splitlines() if line.startswith('stage')]
    assert ' '.join(rows[0]).endswith('block 1 only in A; block 3 only in B')
    assert rows[1][-1] == 'equal'
    assert ' '.join(rows[2]).endswith('block 1 only in A')


def test_masks_of_different_networks_differ(shell):
    status, output, _ = shell('mask', 'diff', '10-01', '10-011')
    assert status == 1 and 'stages of 2-2 and 2-3' in output


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['mask', 'show', 'missing.json'], 'there is no mask file missing.json'),
        (['mask', 'show', '1001'], '--stages 3-4-6-3'),
        (['mask', 'show', ''], 'mask file'),
        (['mask', 'show', '10-'], 'stage_blocks'),
        (['mask', 'show', 'all', '--stages', '3,4'], 'as 3-4-6-3'),
        (['mask', 'show', SGE, '--stages', '2-2'], 'does not fit'),
        (['mask', 'diff', SGE], 'python -m ean_mm mask diff --help'),
        (['mask'], 'ACTION'),
        (['masks'], 'choose from'),
        ([], 'COMMAND'),
    ],
)
def test_a_mistake_is_one_line_and_status_2(shell, arguments, message):
    fails(shell(*arguments), message)


@pytest.mark.parametrize('command', [[], ['info'], ['mask'], ['mask', 'diff']])
def test_help_has_examples(shell, command):
    status, output, _ = shell(*command, '--help')
    assert status == 0
    assert f'  python -m ean_mm {" ".join(command)}' in output.partition('example')[2]


@pytest.mark.parametrize('name', TOOLS)
def test_every_tool_answers_to_help(tool, name):
    status, output = tool(name, '--help')
    assert status == 0
    assert output.startswith('usage: ') and 'options:' in output


@pytest.mark.parametrize('name', ['dist_train', 'install', 'slurm_train'])
def test_every_script_answers_to_help(root, name):
    result = subprocess.run(
        ['bash', root / f'tools/{name}.sh', '--help'], capture_output=True, text=True
    )
    assert result.returncode == 0 and f'tools/{name}.sh' in result.stdout


def test_an_output_that_cannot_be_written_is_status_2(capsys, monkeypatch):
    class FullDisk(io.StringIO):
        def write(self, text):
            raise OSError('No space left on device')

    monkeypatch.setattr('sys.stdout', FullDisk())
    assert main(['mask', 'show', '10-011']) == 2
    assert capsys.readouterr().err == 'error: No space left on device\n'
