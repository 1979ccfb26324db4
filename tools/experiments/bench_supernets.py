"""Train supernets by the protocol of a bench, and score every mask in them.

A supernet has the images, initial weights and batches of the bench's trainings, and
another random mask in each iteration. All masks are scored on the reward images, in
several ways. Each supernet, seed and way is a row of a CSV file; the same command goes
on with what is left. tools/analysis_tools/replay_bench.py compares searches by them.
"""

import argparse
import sys
from pathlib import Path

import torch

from ean_mm.launch import OptionAction, explain_errors
from studies.bench import Bench
from studies.bench.supernet import SUPERNETS
from studies.bench.supernet_table import SCORES, TUNED, score_supernets
from studies.protocols import PROTOCOLS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--protocol', choices=PROTOCOLS, default='bench')
    parser.add_argument('--attention', default='DIA')
    parser.add_argument(
        '--supernets', nargs='+', default=list(SUPERNETS), choices=SUPERNETS
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--no-fine-tuning',
        action='store_true',
        help='leave out what takes the longest, masks fine-tuned from a supernet',
    )
    parser.add_argument(
        '--folder',
        type=Path,
        default='docs/data',
        help='folder of the results, supernets_ATTENTION.csv',
    )
    parser.add_argument(
        '--work-dir', type=Path, default='work_dirs/bench', help='folder for logs'
    )
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='override the config, as those of the bench were',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(
        args.protocol,
        args.attention,
        args.work_dir,
        options=args.cfg_options,
        data_root=args.data_root,
    )
    path = args.folder / f'supernets_{args.attention.lower()}.csv'
    ways = [way for way in SCORES if way != TUNED or not args.no_fine_tuning]
    try:
        for row in score_supernets(bench, path, args.supernets, args.seeds, ways):
            print(
                f'{row["supernet"]}, {row["scores"]}, seed {row["seed"]}: an epoch '
                f'takes {row["epoch_seconds"]:.1f} s, to score a mask as long as '
                f'{row["mask_epochs"]:.3f} epochs',
                flush=True,
            )
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command goes on with what is left')
    print(f'all are in {path}')


if __name__ == '__main__':
    explain_errors(main)
