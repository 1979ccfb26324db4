"""Keep what metrics say of every mask out of the console."""

import io
import logging
from contextlib import contextmanager, redirect_stdout
from typing import Iterator, Optional

from mmengine.logging import MMLogger


@contextmanager
def to_log_file(logger: Optional[MMLogger] = None) -> Iterator[None]:
    """Send what is logged and printed meanwhile to the log file, at debug level.

    mmdet's and mmseg's metrics log a table, and pycocotools prints, for each mask that
    is judged. A log that does not have lines of level INFO does not get these either.

    Args:
        logger: Whose file they go to; by default that of the current logger, which
            metrics log to.
    """
    current = MMLogger.get_current_instance()
    files = [
        handler
        for handler in (logger or current).handlers
        if isinstance(handler, logging.FileHandler) and handler.level <= logging.INFO
    ]

    def divert(record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.DEBUG, 'DEBUG'
        for handler in files:
            handler.handle(record)
        return False

    printed = io.StringIO()
    current.addFilter(divert)
    try:
        with redirect_stdout(printed):
            yield
        if printed.getvalue().strip():
            current.debug(printed.getvalue().strip())
    finally:
        current.removeFilter(divert)
