"""``python -m ean_mm``, and what the tools answer to --help."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from effects_samples import FULL, entry

from ean_mm import Mask
from ean_mm.__main__ import main
from ean_mm.compat import TESTED

SGE = 'masks/resnet50_sge_imagenet.json'
ROOT = Path(__file__).parents[1]
TOOLS = sorted(  # not what they import
    str(path.relative_to(ROOT / 'tools'))
    for path in ROOT.glob('tools/**/*.py')
    if "if __name__ == '__main__':" in path.read_text()
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
        (['mask', 'effects', 'missing.json'], 'there is no mask file missing.json'),
        (['mask', 'effects', SGE], 'does not say what attention in each block brings'),
        (['mask', 'effects', 'tests'], 'holds no mask_NAME.json'),
        (['mask', 'effects'], 'python -m ean_mm mask effects --help'),
    ],
)
def test_a_mistake_is_one_line_and_status_2(shell, arguments, message):
    fails(shell(*arguments), message)


@pytest.mark.parametrize(
    'command', [[], ['info'], ['mask'], ['mask', 'diff'], ['mask', 'effects']]
)
def test_help_has_examples(shell, command):
    status, output, _ = shell(*command, '--help')
    assert status == 0
    assert f'  python -m ean_mm {" ".join(command)}' in output.partition('example')[2]


def write_mask(folder, effects, mask='10-00', name='backbone', **info):
    path = folder / f'mask_{name}.json'
    blocks = [len(stage) for stage in mask.split('-')]
    Mask.parse(mask, blocks).to_file(path, effects=effects, **info)
    return path


def test_effects_are_a_row_a_block_and_what_the_mask_gains(shell, tmp_path):
    status, output, errors = shell('mask', 'effects', write_mask(tmp_path, FULL))
    assert (status, errors) == (0, '')
    lines = [line.rstrip() for line in output.splitlines()]
    assert ' '.join(lines[:2]) == (
        'Attention helps in block 1 of stage 1; it hurts in block 1 of stage 2; for '
        'the other 2 blocks, 40 trainings cannot tell.'
    )
    assert lines[2] == 'Points of accuracy/top1 after 800 iterations of training.'
    assert lines[5].startswith('stage 1  block 1  ■   +1.00  +0.50 to +1.50')
    assert lines[6].startswith('         block 2  □   +0.20  -0.30 to +0.70')
    assert [line.split()[-1] for line in lines[5:9:2]] == ['helps', 'hurts']
    assert lines[10:] == [
        '■ recommended mask      10-00',
        'over no attention       +1.00 (+0.50 to +1.50), over 99 % likely to be better',
        'over full attention     +0.80 (-0.40 to +2.00), 90 % likely to be better',
        'explained               62 %, most of how masks differ',
        "noise                   0.31, one training's standard deviation",
        'to halve the intervals  85 more trainings',
        '',
        'Strongest pairs: what both bring beyond the sum of what each brings',
        'stage 1 block 1 and stage 2 block 1  +0.40 (+0.10 to +0.70)',
    ]


def test_the_bar_of_an_effect_stands_where_its_interval_is(shell, tmp_path):
    rows = shell('mask', 'effects', write_mask(tmp_path, FULL))[1].splitlines()[5:9]
    zero = rows[0].index('│')
    assert [row.index('│') for row in rows] == [zero] * 4
    first, second, third, _ = rows
    assert zero < first.index('─') < first.index('●')
    assert second.index('─') < zero < second.index('●')
    assert third.rindex('─') < zero


def test_the_table_of_effects_keeps_to_narrow_terminals(shell, tmp_path, monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    output = shell('mask', 'effects', write_mask(tmp_path, FULL))[1]
    assert max(map(len, output.splitlines())) <= 40
    assert '2.1  □   -1.00  -1.50 to -0.50    hurts' in output


def test_effects_that_may_be_chance_say_so_first(shell, tmp_path):
    path = write_mask(tmp_path, dict(FULL, tells_apart=False))
    output = shell('mask', 'effects', path)[1]
    assert output.startswith('40 trainings do not tell the blocks apart: what follows')
    assert 'helps' not in output and 'hurts' not in output


def test_show_draws_effects_and_dumps_none_of_them(shell, tmp_path):
    path = write_mask(tmp_path, FULL, network='EANResNet-10')
    status, output, _ = shell('mask', 'show', path)
    assert status == 0
    assert output.startswith('mask 10-00\n') and 'EANResNet-10' in output
    assert output.count('+0.50 to +1.50') == 2 and 'judgements' not in output
    assert output.endswith(shell('mask', 'effects', path)[1])


def test_show_draws_the_mask_whose_effects_cannot_be_read(shell, tmp_path):
    path = write_mask(tmp_path, dict(FULL, blocks='\x1b[2J'))
    status, output, _ = shell('mask', 'show', path)
    assert status == 0 and output.startswith('mask 10-00\n')
    (line,) = [line for line in output.splitlines() if 'cannot be read' in line]
    assert line.startswith(f'the effects in {path}') and '\x1b' not in output
    fails(shell('mask', 'effects', path), "'blocks' is no list")


def test_effects_of_other_blocks_than_the_masks_are_refused(shell, tmp_path):
    path = write_mask(tmp_path, FULL, mask='10-0')
    fails(
        shell('mask', 'effects', path), 'of a network with other blocks than its mask'
    )


def test_a_work_dir_of_two_modules_shows_their_effects_once(shell, tmp_path):
    neck = entry('+', module='neck', stages=(1,))
    blocks = FULL['blocks'] + neck['blocks']
    facts = dict(mask=dict(backbone='10-00', neck='1'))
    effects = dict(FULL, blocks=blocks, recommended=facts)
    write_mask(tmp_path, effects)
    write_mask(tmp_path, effects, mask='1', name='neck')
    status, output, _ = shell('mask', 'effects', tmp_path)
    assert status == 0
    assert output.startswith('Attention helps in block 1 of backbone stage 1 and neck')
    rows = [line for line in output.splitlines() if '+0.50 to +1.50' in line]
    assert [row[: row.index('  ')] for row in rows] == [
        'backbone stage 1',
        'neck stage 1',
    ]
    assert '■ recommended for neck' in output


def test_a_file_whose_mask_is_not_the_recommended_one_says_so(shell, tmp_path):
    output = shell('mask', 'effects', write_mask(tmp_path, FULL, mask='11-00'))[1]
    assert output.endswith('mask_backbone.json is another one: 11-00\n')


def test_a_terminal_of_few_letters_gets_ascii(root, tmp_path):
    path = write_mask(tmp_path, FULL, network='réseau')
    result = subprocess.run(
        [sys.executable, '-m', 'ean_mm', 'mask', 'show', path],
        cwd=root, capture_output=True, env=dict(PYTHONIOENCODING='ascii', COLUMNS='80')
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    output = result.stdout.decode('ascii')
    assert 'stage 1  # .' in output and 'r?seau' in output
    assert 'stage 1  block 1  #   +1.00' in output and '----o----' in output


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
