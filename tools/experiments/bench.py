"""Train a network with every mask there is, and report what that says.

The masks come in an order whose beginnings tell much: no block, all blocks, then masks
and their opposites, balanced in every three blocks after each 32 masks. 64 of them are
trained with two more seeds. Every finished training is a row of a CSV file; the same
command goes on with what is left, and several of them share the work.

--pilot tries a protocol on a few masks with three seeds; its trainings are among those
of the bench, and the file that it names may become the bench's. --check trains a row
again.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import torch

from ean_mm.errors import EANError
from ean_mm.launch import OptionAction, explain_errors
from ean_mm.visualization import require_picture
from studies.bench import (
    COLUMNS,
    Bench,
    Job,
    analyse,
    bench_block,
    do_jobs,
    has_row,
    longer_block,
    ordered_jobs,
    pilot_block,
    pilot_jobs,
    pilots_block,
    read_rows,
    train_again,
)
from studies.bench.plot import draw_bench
from studies.command_line import add_report_arguments, report
from studies.fidelity import FidelityTable
from studies.protocols import PROTOCOLS
from studies.results import Results, Row, Rows

Work = List[Tuple[Bench, Path]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--protocol', choices=PROTOCOLS, default='bench')
    parser.add_argument('--attention', nargs='+', default=['DIA'])
    parser.add_argument(
        '--masks', type=int, help='only so many; default: 512, of a pilot 6'
    )
    parser.add_argument(
        '--folder',
        type=Path,
        default='docs/data',
        help='folder of the results, bench_ATTENTION.csv',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default='work_dirs/bench',
        help='folder for logs, pilots, and locks by which processes share the work',
    )
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument('--threads', type=int, default=1, help='of each training')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='override the config; that is another protocol',
    )
    parser.add_argument(
        '--pilot', action='store_true', help='show how far a protocol tells masks apart'
    )
    for name, what in (
        ('epochs', 'epochs'),
        ('images-per-class', 'training and reward images of each class'),
        ('test-images-per-class', 'test images of each class'),
    ):
        parser.add_argument(
            f'--{name}', type=int, help=f'of a pilot: {what}, not as in the protocol'
        )
    parser.add_argument(
        '--check',
        type=int,
        metavar='ROW',
        help='train a row of each file again and compare; the first one is 1',
    )
    add_report_arguments(parser)
    parser.add_argument('--figure', help='picture to write: .png, .svg or .pdf')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.figure:
        require_picture(args.figure)
    torch.set_num_threads(args.threads)
    change_protocol(args)
    if args.only_report:
        show(args)
        return
    benches = [
        Bench(
            args.protocol,
            attention,
            args.work_dir,
            options=args.cfg_options,
            data_root=args.data_root,
        )
        for attention in args.attention
    ]
    if args.pilot:
        pilot(args, benches)
    elif args.check is not None:
        for bench in benches:
            check(bench, _csv(args, bench.attention), args.check)
    else:
        work = [(bench, _csv(args, bench.attention)) for bench in benches]
        train(work, ordered_jobs(args.masks or 512), args.work_dir)
        show(args)


def change_protocol(args: argparse.Namespace) -> None:
    """Try other numbers than those of the protocol, in this process.

    Raises:
        ValueError: It is no pilot, whose file would not say what it was trained by.
    """
    names = 'epochs', 'images_per_class', 'test_images_per_class'
    changes = {name: getattr(args, name) for name in names}
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes and not args.pilot:
        raise EANError(
            f'--{next(iter(changes)).replace("_", "-")} is for a --pilot; a bench has '
            f'the numbers of {args.protocol!r} in studies/protocols.py'
        )
    PROTOCOLS[args.protocol] = replace(PROTOCOLS[args.protocol], **changes)


def train(work: Work, parts: List[List[Job]], work_dir: Path) -> None:
    """Do what is left to do, and say how far it is."""
    jobs = [job for part in parts for job in part]
    seconds: List[float] = []
    try:
        for row in do_jobs(work, parts, work_dir):
            seconds.append(row['seconds'])
            rows = [(bench, read_rows(path, bench)) for bench, path in work]
            done = sum(has_row(own, bench, job) for bench, own in rows for job in jobs)
            left = len(jobs) * len(work) - done
            print(
                f'[{done}/{len(jobs) * len(work)}] {row["attention"]} {row["mask"]}, '
                f'seed {row["seed"]}: {row["accuracy"]:.2f} %, {row["seconds"]:.0f} s; '
                f'{left * statistics.fmean(seconds) / 3600:.1f} h of one process left',
                flush=True,
            )
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command goes on with what is left')


def pilot(args: argparse.Namespace, benches: List[Bench]) -> None:
    """Train a few masks with every seed, and say how far they can be told apart."""
    parts = pilot_jobs(args.masks or 6)
    jobs = {job for part in parts for job in part}
    for bench in benches:
        path = args.work_dir / f'pilot_{bench.attention.lower()}_{bench.hash}.csv'
        train([(bench, path)], parts, args.work_dir)
        rows = read_rows(path, bench).rows
        done = [row for row in rows if Job(row['mask'], row['seed']) in jobs]
        print(f'\n{bench.attention}, {path}\n\n{pilot_block(done)}\n')


def check(bench: Bench, path: Path, number: int) -> None:
    """Train a row again; a number that differs without a reason is an error."""
    rows = read_rows(path, bench).rows
    if not 1 <= number <= len(rows):
        raise EANError(f'{path} has {len(rows)} rows, and none of number {number}')
    row = rows[number - 1]
    again, why = train_again(bench, row)
    name = f'{path}, row {number}, {row["attention"]} {row["mask"]}, seed {row["seed"]}'
    if again['accuracy'] == row['accuracy']:
        print(
            f'{name}: {row["accuracy"]} %, as in the file{f" ({why})" if why else ""}'
        )
        return
    text = f'{name}: {again["accuracy"]} % instead of {row["accuracy"]} %'
    if not why:
        raise EANError(
            f'{text}, on the same machine; the code or the data have changed'
        )
    print(f'{text}, as may be with {why}')


def show(args: argparse.Namespace) -> None:
    """Report what has been trained, of all attentions asked for."""
    rows: List[Row] = []
    for attention in args.attention:
        known = Rows(_csv(args, attention), COLUMNS).rows
        rows += [row for row in known if row['attention'] == attention]
    found = analyse(rows)
    blocks = {f'{args.protocol} masks': bench_block(found)}
    paths = sorted(args.folder.glob('pilot_*.csv'))
    if paths:
        pilots = {path.name: Rows(path, COLUMNS).rows for path in paths}
        blocks[f'{args.protocol} pilots'] = pilots_block(pilots, rows)
    blocks[f'{args.protocol} and longer trainings'] = longer_block(
        {name: list(own.trainings.values()) for name, own in found.items()},
        longer_trainings(args, found),
    )
    report(args, blocks)
    if args.figure and found:
        draw_bench(list(found.values())).savefig(args.figure, dpi=150)


def longer_trainings(
    args: argparse.Namespace, attentions: Iterable[str]
) -> Dict[str, Dict[str, float]]:
    """Return the accuracies of ResNet-20's masks by the protocol *mini*, in percent."""
    results = Results(args.folder / 'results.csv')
    return {
        attention: {
            mask: statistics.fmean(values)
            for mask, values in FidelityTable('mini', 'ResNet-20', attention)
            .masks(results)
            .items()
        }
        for attention in attentions
    }


def _csv(args: argparse.Namespace, attention: str) -> Path:
    return args.folder / f'bench_{attention.lower()}.csv'


if __name__ == '__main__':
    explain_errors(main)
