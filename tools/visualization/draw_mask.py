"""Draw a mask on its network."""

import argparse
import textwrap

from ean_mm import Mask
from ean_mm.errors import one_line
from ean_mm.launch import explain_errors
from ean_mm.visualization import draw_masks, require_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('mask', help='mask file, as masks/resnet50_sge_imagenet.json')
    parser.add_argument('out', help='picture to write: .png, .svg or .pdf')
    args = parser.parse_args()
    require_picture(args.out)
    mask = Mask.from_file(args.mask)
    facts = mask.info.get('attention')
    attention = facts.get('type') if isinstance(facts, dict) else facts
    figure = draw_masks(
        dict(mask=mask),
        dict(mask=str(attention or 'attention').replace('Attention', '')),
    )
    network = one_line(mask.info.get('network', 'network'))
    title = textwrap.fill(f'{network}, mask {mask}', int(9 * figure.get_figwidth()))
    figure.suptitle(title, parse_math=False)
    figure.savefig(args.out, dpi=150)


if __name__ == '__main__':
    explain_errors(main)
