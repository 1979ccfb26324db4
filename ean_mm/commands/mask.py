"""``mask``: look at masks and what their search found, and compare them."""

import argparse
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from rich.console import Console
from rich.text import Text

from ean_mm import terminal
from ean_mm.effects import Effects, print_effects, read_effects
from ean_mm.errors import EANError, one_line, printable
from ean_mm.mask import Mask

MASK_HELP = (
    'mask file, as masks/resnet50_sge_imagenet.json, or bits, as 100-1011-010011-011'
)
SHOW_EXAMPLES = """\
examples:
  python -m ean_mm mask show masks/resnet50_sge_imagenet.json
  python -m ean_mm mask show 100-1011-010011-011
  python -m ean_mm mask show all --stages 3-4-6-3
"""
DIFF_EXAMPLES = """\
exit status: 0 for equal masks, 1 for different ones, 2 for a mistake

examples:
  python -m ean_mm mask diff seed_0/mask_backbone.json seed_1/mask_backbone.json
  python -m ean_mm mask diff mask_backbone.json all --stages 3-4-6-3
"""


EFFECTS_EXAMPLES = """\
examples:
  python -m ean_mm mask effects work_dirs/resnet20_se_search
  python -m ean_mm mask effects work_dirs/resnet20_se_search/mask_backbone.json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers of a parser."""
    mask = commands.add_parser(
        'mask',
        help='look at masks and compare them',
        description='Look at masks and compare them.',
        epilog=SHOW_EXAMPLES
        + '  python -m ean_mm mask diff a.json b.json\n'
        + '  python -m ean_mm mask effects work_dirs/resnet20_se_search\n',
    )
    actions = mask.add_subparsers(metavar='ACTION', required=True)
    show = actions.add_parser(
        'show',
        help='draw a mask, with what its file says of its origin',
        description='Draw a mask, one row a stage, with what its file says of its '
        'origin.',
        epilog=SHOW_EXAMPLES,
    )
    show.add_argument('mask', metavar='FILE_OR_BITS', help=MASK_HELP)
    show.set_defaults(run=_show)
    diff = actions.add_parser(
        'diff',
        help='say in which blocks two masks differ',
        description='Say, stage by stage, in which blocks two masks differ.',
        epilog=DIFF_EXAMPLES,
    )
    diff.add_argument('a', metavar='A', help=MASK_HELP)
    diff.add_argument('b', metavar='B', help='the same')
    diff.set_defaults(run=_diff)
    effects = actions.add_parser(
        'effects',
        help="say what attention in each block brings, of a search's mask file",
        description='Say what attention in each block brings, with 95 % intervals, as '
        'the search has found it.',
        epilog=EFFECTS_EXAMPLES,
    )
    effects.add_argument(
        'path',
        metavar='FILE_OR_WORK_DIR',
        help='mask file that a search has written, or the work dir of the search',
    )
    effects.set_defaults(run=_effects)
    for action in (show, diff):
        action.add_argument(
            '--stages',
            metavar='3-4-6-3',
            help="blocks in each stage; needed for bits without dashes, 'all', 'none'",
        )


def _show(args: argparse.Namespace) -> int:
    console = terminal.console()
    mask = _read(args.mask, args.stages)
    console.print(f'mask {mask}', soft_wrap=True)
    console.print(
        f'{mask.num_connections} of {len(mask.bits)} blocks plugged in, '
        f'sparsity {mask.sparsity:.2f}'
    )
    console.print(
        terminal.grid(
            (
                f'stage {number}',
                _draw(stage, console),
                f'{sum(stage)} of {len(stage)}',
                *names,
            )
            for (number, stage), names in zip(
                enumerate(mask.stages, 1), _names(mask, console)
            )
        )
    )
    if mask.info:
        console.print(f'from {printable(args.mask)}', soft_wrap=True)
        notes = [
            pair for pair in mask.info.items() if pair[0] not in ('effects', 'blocks')
        ]
        console.print(
            terminal.grid((printable(k), printable(_compact(v))) for k, v in notes)
        )
    if 'effects' in mask.info:
        console.print()
        try:
            print_effects(_effects_of(mask, args.mask), console)
        except EANError as error:  # the mask is good without them
            console.print(str(error), soft_wrap=True)
    return 0


def _names(mask: Mask, console: Console) -> List[List[str]]:
    """Say of each stage where in the network its blocks are, if the file says it."""
    to = ' to ' if console.options.ascii_only else ' … '
    ends = (dict.fromkeys(names[:1] + names[-1:]) for names in mask.block_names)
    return [[to.join(names)] if names else [] for names in ends]


def _effects(args: argparse.Namespace) -> int:
    console = terminal.console()
    paths = [args.path]
    if Path(args.path).is_dir():
        paths = [str(path) for path in sorted(Path(args.path).glob('mask_*.json'))]
        if not paths:
            raise EANError(
                f'{one_line(args.path)} holds no mask_NAME.json; give the work dir of '
                'a search that has ended, or a mask file'
            )
    shown: List[Effects] = []
    for path in paths:
        mask = Mask.from_file(path)
        if 'effects' not in mask.info:
            continue
        effects = _effects_of(mask, path)
        if effects not in shown:  # each module's file has those of all modules
            print_effects(effects, console)
            shown.append(effects)
        if effects.masks and mask not in effects.masks.values():
            console.print(
                f'\nThe mask in {one_line(path)} is another one: {mask}', soft_wrap=True
            )
    if not shown:
        raise EANError(
            f'{one_line(args.path)} does not say what attention in each block brings; '
            "a search with searcher=dict(type='SurrogateSearcher') writes it"
        )
    return 0


def _effects_of(mask: Mask, path: str) -> Effects:
    """Read the effects in the file of a mask."""
    effects = read_effects(mask.info['effects'], path)
    if mask.stage_blocks not in effects.stage_blocks.values():
        raise EANError(
            f'the effects in {one_line(path)} are of a network with other blocks than '
            'its mask; its search has to write them again'
        )
    return effects


def _diff(args: argparse.Namespace) -> int:
    console = terminal.console()
    a, b = _read(args.a, args.stages), _read(args.b, args.stages)
    for letter, mask, name in (('A', a, args.a), ('B', b, args.b)):
        console.print(
            f'{letter}  {mask}  sparsity {mask.sparsity:.2f}  {printable(name)}',
            soft_wrap=True,
        )
    if a == b:
        console.print('equal')
        return 0
    if a.stage_blocks != b.stage_blocks:
        sizes = ['-'.join(map(str, mask.stage_blocks)) for mask in (a, b)]
        console.print(f'of different networks: stages of {sizes[0]} and {sizes[1]}')
        return 1
    rows: List[Any] = [('', 'A', 'B', '')]
    for number, (old, new) in enumerate(zip(a.stages, b.stages), 1):
        only = filter(None, (_only_in('A', old, new), _only_in('B', new, old)))
        drawn = _draw(old, console), _draw(new, console)
        rows.append((f'stage {number}', *drawn, '; '.join(only) or 'equal'))
    console.print(terminal.grid(rows))
    return 1


def _only_in(letter: str, stage: Sequence[int], other: Sequence[int]) -> str:
    """Name the blocks that one of two masks plugs in and the other does not."""
    blocks = [str(i) for i, bits in enumerate(zip(stage, other), 1) if bits == (1, 0)]
    plural = 's' * (len(blocks) > 1)
    return f'block{plural} {", ".join(blocks)} only in {letter}' if blocks else ''


def _read(text: str, stages: Optional[str]) -> Mask:
    """Read a mask argument; without ``--stages`` it has to say where stages end."""
    if stages is not None:
        sizes = stages.split('-')
        if not all(size.isdecimal() for size in sizes):
            raise EANError(
                f'--stages {stages} must be the blocks of each stage, as 3-4-6-3'
            )
        return Mask.parse(text, [int(size) for size in sizes])
    if text in ('all', 'none') or text and set(text) <= set('01'):
        raise EANError(
            f'mask {text} does not say where its stages end; add --stages 3-4-6-3 with '
            'the blocks of each, or write dashes between them'
        )
    if text and set(text) <= set('01-'):
        return Mask.parse(text, [len(stage) for stage in text.split('-')])
    return Mask.from_file(text)


def _draw(stage: Tuple[int, ...], console: Console) -> Text:
    """A square a block, filled where attention is plugged in."""
    plain, plugged = '.#' if console.options.ascii_only else '□■'
    text = Text()
    for bit in stage:
        text.append(plugged if bit else plain, style='bold red' if bit else '')
        text.append(' ')
    return text


def _compact(value: Any) -> str:
    """Write what JSON holds in one line, as ``type=SEAttention, ratio=4``."""
    if isinstance(value, dict):
        return ', '.join(
            f'{key}=({_compact(each)})'
            if isinstance(each, dict)
            else f'{key}={_compact(each)}'
            for key, each in value.items()
        )
    return str(value)
