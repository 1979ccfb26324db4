"""Write a page about a mask search, running or finished: one HTML file of pictures."""

import argparse
from pathlib import Path

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.launch import explain_errors
from ean_mm.visualization.report import read_search, render_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work dir of a run with EANSearchHook')
    parser.add_argument(
        '--out', metavar='FILE.html', help='default: search_report.html in the work dir'
    )
    args = parser.parse_args()
    page = render_report(read_search(Path(args.work_dir)))
    out = Path(args.out or Path(args.work_dir, 'search_report.html'))
    try:
        with atomic_write(out) as file:
            file.write(page.encode())
    except OSError as error:
        raise EANError(f'{out} cannot be written: {error.strerror}') from error
    print(out)


if __name__ == '__main__':
    explain_errors(main)
