"""What a tool ends with: status 1 and one line for a mistake of the user's."""

import errno
import logging
import sys
from typing import Callable

from ean_mm.compat import NO_OPERATORS, lacks_operators
from ean_mm.errors import EANError, innermost
from ean_mm.launch.processes import end_distributed

# What the user can mend, and how; any other OSError may be a bug of ours.
MENDS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        'make room and run it again; what was saved is whole, and tools/train.py goes '
        'on from it with --resume',
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
        'change its permissions, or name another place (of what a run writes with '
        '--work-dir, of its data with --data-root)',
    ),
}


def explain_errors(main: Callable[[], None]) -> None:
    """Run a tool; end with one line and status 1 on a mistake of the user's.

    A full disk, a folder that cannot be written to, and an mmcv without the operators
    that a config needs are such, too.
    """
    # The log on a full disk would print a traceback for every line that it loses.
    logging.raiseExceptions = False
    try:
        main()
    except OSError as error:
        if error.errno not in MENDS:
            raise
        place = '' if error.filename is None else f'{error.filename}: '
        sys.exit(f'error: {place}{error.strerror}; {MENDS[error.errno]}')
    except ImportError as error:
        if not lacks_operators(error):
            raise
        sys.exit(f'error: {NO_OPERATORS}')
    except EANError as error:
        sys.exit(f'error: {innermost(error)}')
    finally:
        end_distributed()
