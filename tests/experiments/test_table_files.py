"""The file of a table stays whole, whoever writes to it."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tables import CSV, RUN, TABLE, make_row, read_rows

from ean_mm import EANError
from studies import scheduler
from studies.results import Results
from studies.scheduler import due
from studies.table import Table

RUNS_A_SEED = 7


def running(process):
    return process.poll() is None


def processes_of(folder):
    """Processes whose current folder this is."""
    found = []
    for link in Path('/proc').glob('[0-9]*/cwd'):
        try:
            if link.resolve() == folder and link.parent.name != str(os.getpid()):
                found.append(link.parent.name)
        except OSError:  # ended, or not ours
            pass
    return found


@pytest.mark.slow
@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_table_goes_on(root, tmp_path, monkeypatch, tool, kind):
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', root / 'tools' / RUN,
         *TABLE[1:], '--jobs', '2', '--seeds', '0'],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})  # fmt: skip
    while running(process) and (not CSV.exists() or len(read_rows()) < 2):
        time.sleep(0.01)
    if kind == signal.SIGINT:
        os.killpg(process.pid, kind)  # as the terminal does
    else:
        process.send_signal(kind)
    output, _ = process.communicate(timeout=60)
    deadline = time.time() + 30
    while processes_of(tmp_path) and time.time() < deadline:
        time.sleep(0.05)
    assert not processes_of(tmp_path)  # the workers have ended as well
    if kind == signal.SIGINT:
        assert process.returncode == 1
        assert output.splitlines()[-1].startswith('interrupted'), output
        assert 'Traceback' not in output
    before = CSV.read_bytes()
    assert 2 <= len(read_rows()) < RUNS_A_SEED
    assert tool(*TABLE, '--seeds', '0')[0] == 0
    assert CSV.read_bytes().startswith(before)
    rows = read_rows()
    hashes = {row['config_hash'] for row in rows}
    assert len(rows) == RUNS_A_SEED == len(hashes)


def test_two_processes_do_not_work_in_one_folder(root, folder, tool):
    with scheduler._alone_in(folder / 'runs'):
        status, _ = tool(*TABLE)
    assert status.startswith('error: another process is at work in runs; wait')


def test_a_torn_last_line_is_survived(folder, tool):
    whole = CSV.read_text()
    CSV.write_text(whole[:-30])
    status, out = tool(*TABLE)
    assert status == 0
    assert 'results.csv: the last line was cut off and is left out' in out
    assert '[14/14] ResNet-20 SE, random mask #2, seed 1: ' in out
    assert out.count(' h left') == 1  # nothing else was trained
    old, new = whole.splitlines(), CSV.read_text().splitlines()
    assert new[:-1] == old[:-1] and len(new) == len(old)
    assert tool(*TABLE)[1].count('cut off') == 0


def test_two_tables_append_to_one_file(folder):
    first, *rest = Results(CSV).rows
    whole = CSV.read_bytes()
    CSV.write_bytes(whole + b'digits,cut off')
    one, other = Results(CSV), Results(CSV)
    other.append(rest[0])
    other.append(rest[1])
    one.append(first)
    assert Results(CSV).rows == [first, *rest, *rest[:2], first]
    assert CSV.read_bytes().startswith(whole)


def test_a_full_disk_leaves_the_rows_whole(folder):
    results, whole = Results(CSV), CSV.read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        with pytest.raises(OSError, match='No space left'):
            results.append(results.rows[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert CSV.read_bytes() == whole and len(results.rows) == 14
    results.append(results.rows[0])
    assert len(Results(CSV).rows) == 15


def test_the_time_left_is_that_of_the_runs_shared_among_the_jobs(tmp_path, capsys):
    table, results = Table('digits', attentions=['SE']), Results(tmp_path / 'new.csv')
    for jobs in (1, 2):
        run = next(due(table, results, set()))
        progress = scheduler._Progress(table, results, jobs)
        row = make_row(run.variant, run.seed, 90, train_seconds=1800, date='today')
        results.append({**row, **run.facts(), 'mask': '110-010-001'})
        progress.report(run)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('[1/24] ') and first.endswith('; 11.5 h left')
    assert second.startswith('[2/24] ') and second.endswith('; 5.5 h left')


def test_a_damaged_line_is_named(folder):
    text = CSV.read_text()
    for damage in (text.replace(',plain,', ',', 1), text.replace(',1437,', ',x,', 1)):
        CSV.write_text(damage)
        with pytest.raises(EANError, match='results.csv, line 2 is damaged'):
            Results(CSV)
    CSV.write_text('a,b\n1,2\n')
    with pytest.raises(EANError, match='has other columns'):
        Results(CSV)


def test_a_failing_run_keeps_what_is_finished(tmp_path, monkeypatch, tool):
    monkeypatch.chdir(tmp_path)
    real = scheduler.execute

    def fail(run, work_dir):
        if run.variant == 'shared everywhere':
            raise EANError('the disk is full')
        return real(run, work_dir)

    monkeypatch.setattr(scheduler, 'execute', fail)
    status, _ = tool(*TABLE)
    assert status == 'error: the disk is full'
    assert [row['variant'] for row in read_rows()] == [
        'plain', 'search', 'unshared everywhere']  # fmt: skip


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--protocol', 'mini'], 'there is no data/cifar10; put it there or name its'),
        (['--data-root', 'nowhere'], 'there is no nowhere; put it there or name its'),
        (['--protocol', 'digits', '--attention', 'XX'], "no attention 'XX'; it has SE"),
        (['--protocol', 'digits', '--network', 'XX'], "no network 'XX'; it has ResNet"),
        (['--protocol', 'digits', '--only-report', '--report', 'x.md'], 'no file x.md'),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, monkeypatch, tool, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _ = tool(RUN, *arguments)
    assert status.startswith('error: ') and '\n' not in status
    assert message in status
