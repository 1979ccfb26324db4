"""Effects of blocks as a mask file holds them, and as an ASCII terminal shows them."""

import io

from rich.console import Console

from ean_mm.effects import print_effects, read_effects


def entry(*verdicts, module='backbone', stages=(2, 2), **facts):
    """The effects of blocks that help (+), hurt (-), or may do either (?)."""
    numbers = {'+': (1.0, 0.5, 1.5), '-': (-1.0, -1.5, -0.5), '?': (0.2, -0.3, 0.7)}
    blocks = [
        dict(
            module=module,
            stage=stage,
            block=block,
            **dict(zip(('effect', 'low', 'high'), numbers[verdict])),
        )
        for (stage, block), verdict in zip(
            ((s, b) for s, n in enumerate(stages, 1) for b in range(1, n + 1)),
            ''.join(verdicts),
        )
    ]
    return dict(
        dict(metric='accuracy/top1', budget=800, judgements=40, blocks=blocks), **facts
    )


FULL = entry(
    '+?',
    '-?',
    measure='metric',
    noise=0.31,
    explained=0.62,
    pairs=[dict(blocks=[['backbone', 1, 1], ['backbone', 2, 1]],
                effect=0.4, low=0.1, high=0.7)],
    recommended=dict(
        mask=dict(backbone='10-00'),
        over_none=dict(gain=1.0, low=0.5, high=1.5, probability=0.9999),
        over_all=dict(gain=0.8, low=-0.4, high=2.0, probability=0.905),
    ),
    trainings_to_halve=85,
    tells_apart=True,
)  # fmt: skip


def effects_lines(facts):
    """The lines that a terminal of 80 columns shows."""
    file = io.TextIOWrapper(io.BytesIO(), 'ascii', 'replace')
    console = Console(file=file, width=80, color_system=None, markup=False)
    print_effects(read_effects(facts), console)
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]
