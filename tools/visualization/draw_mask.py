"""Draw a mask on its network."""

import argparse

from matplotlib.figure import Figure

from ean_mm import Mask
from ean_mm.launch import explain_errors
from ean_mm.visualization import draw_mask, require_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('mask', help='mask file, as masks/resnet50_sge_imagenet.json')
    parser.add_argument('out', help='picture to write: .png, .svg or .pdf')
    args = parser.parse_args()
    require_picture(args.out)
    mask = Mask.from_file(args.mask)
    facts = mask.info.get('attention')
    attention = facts.get('type') if isinstance(facts, dict) else facts
    figure = Figure(figsize=(0.62 * len(mask.bits) + 1, 2.6), layout='constrained')
    ax = figure.subplots()
    draw_mask(ax, mask, str(attention or 'attention').replace('Attention', ''))
    ax.set_title(f'{mask.info.get("network", "network")}, mask {mask}')
    figure.savefig(args.out, dpi=150)


if __name__ == '__main__':
    explain_errors(main)
