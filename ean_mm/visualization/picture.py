"""Where pictures go."""

from pathlib import Path

from matplotlib.figure import Figure

from ean_mm.errors import EANError
from ean_mm.fileio import require_folder


def require_picture(path: str) -> None:
    """Make the folder of a picture that is going to be written.

    Raises:
        ValueError: Its name says no format, or it cannot be written there.
    """
    known = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise EANError(f'{path}: name a .png, .svg or .pdf file')
    require_folder(path)
