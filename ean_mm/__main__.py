"""The command line ``python -m ean_mm``: a demo, new configs, versions, masks.

Exit statuses are those of diff and grep: 0 for yes, 1 for no, 2 for a mistake, with one
line on stderr that says how to mend it.
"""

import argparse
import sys
import warnings
from typing import Any, NoReturn, Optional, Sequence

from ean_mm.commands import demo, info, mask, new
from ean_mm.errors import EANError, innermost
from ean_mm.version import __version__

EXAMPLES = """\
examples:
  python -m ean_mm demo
  python -m ean_mm new --data data/pets
  python -m ean_mm info
  python -m ean_mm mask show work_dirs/resnet50_se_search/mask_backbone.json
  python -m ean_mm mask diff mask_backbone.json masks/resnet50_sge_imagenet.json
  python -m ean_mm mask effects work_dirs/resnet20_se_search
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, None for those of the process.

    Returns:
        The exit status: 0, 1 for masks that differ, 2 for a mistake of the user's.
    """
    # mmengine's use of it is none of the user's concern
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    try:
        args = _parser().parse_args(argv)
        return args.run(args)
    except EANError as error:
        print(f'error: {innermost(error)}', file=sys.stderr)
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise EANError(f'{message}; {self.prog} --help has examples')


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog='python -m ean_mm',
        description='Shared attention in OpenMMLab ResNets, plugged in where it pays.',
        epilog=EXAMPLES,
    )
    parser.add_argument('--version', action='version', version=f'EAN-MM {__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    demo.add_parser(commands)
    new.add_parser(commands)
    info.add_parser(commands)
    mask.add_parser(commands)
    return parser


if __name__ == '__main__':
    sys.exit(main())
