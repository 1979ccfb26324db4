"""Searches whose report is looked at, and what their pages show."""

import base64
import json
import re
from xml.etree import ElementTree

from torch import nn

from ean_mm import Mask, RLController
from ean_mm.search import MaskSearch, Reward, SearchSpace, SearchStorage
from ean_mm.search.evaluation.base import Measurement
from ean_mm.visualization.report import read_search, render_report


class Masked(nn.Module):
    """What a search needs of a masked module."""

    attention = dict(type='SEAttention', ratio=4)
    network = 'Toy-4'

    def __init__(self, *stage_blocks):
        super().__init__()
        self.stage_blocks = stage_blocks

    def set_mask(self, mask):
        self.mask = mask


class ToyEvaluator:
    """Every second block is worth a percent, the others cost one."""

    budgets = ()
    measure = 'metric'

    def begin(self):
        pass

    def judge(self, requests):
        return [
            Measurement({'accuracy/top1': 50.0 + sum(bits[::2]) - sum(bits[1::2])})
            for bits, _ in requests
        ]

    def fingerprint(self):
        return dict(weights='none')


class Killed(Exception):
    pass


def search(
    work_dir, modules=None, searcher=None, num_steps=20, stop_after=None, write=True
):
    """Search, and write what a run writes; return the search."""
    space = SearchSpace(nn.ModuleDict(modules or dict(backbone=Masked(2, 2))))
    if searcher is None:
        searcher = RLController(
            space.num_bits, seed=3, preset='paper', num_steps=num_steps
        )
    elif callable(searcher):
        searcher = searcher(space)

    def on_step(record):
        if record['step'] + 1 == stop_after:
            raise Killed

    found = MaskSearch(
        space,
        searcher,
        ToyEvaluator(),
        Reward(),
        SearchStorage(work_dir / 'search'),
        on_step=on_step,
    )
    try:
        best = found.run()
    except Killed:
        return found
    for name, mask in space.split(best.bits).items() if write else ():
        mask.to_file(
            work_dir / f'mask_{name}.json',
            network='Toy-4',
            attention=dict(type='SEAttention', ratio=4),
            reward=best.reward,
            accuracy=best.metric,
            found_by=dict(
                searcher=type(searcher).__name__,
                settings=searcher.describe(),
                metric='accuracy/top1',
                reward_images=50,
                supernet_iterations=270,
                seed=searcher.seed,
            ),
        )
    return found


def page_of(work_dir):
    return render_report(read_search(work_dir))


def fact(page, name):
    found = re.search(f'<tr><th>{re.escape(name)}</th><td>(.*?)</td></tr>', page)
    return found and found.group(1)


def titles(page):
    return re.findall('<h2>(.*?)</h2>', page)


def pictures(page):
    """The pictures, decoded."""
    sources = re.findall('src="data:image/svg\\+xml;base64,(.*?)"', page)
    return [ElementTree.fromstring(base64.b64decode(source)) for source in sources]


def table(page):
    """The cells of the table of masks, without tags; the chosen row is marked."""
    rows = re.findall('<tr( class="best")?>(<td>.*?)</tr>', page)
    return [
        (bool(best), [re.sub('<.*?>', '', cell) for cell in row.split('</td>')][:-1])
        for best, row in rows
    ]


def write_history(work_dir, *steps):
    """Write a history of (mask, metric, reward) by hand."""
    (work_dir / 'search').mkdir(parents=True)
    (work_dir / 'search/history.jsonl').write_text(
        ''.join(
            json.dumps(
                dict(
                    step=number,
                    masks=[
                        dict(mask=dict(backbone=mask), metric=metric, reward=reward)
                        for mask, metric, reward in step
                    ],
                )
            )
            + '\n'
            for number, step in enumerate(steps)
        )
    )


# Masks judged by training them


def judged(mask, reward, budget=800, **facts):
    return dict(
        mask=dict(backbone=mask),
        metric=reward - 1,
        reward=reward,
        budget=budget,
        **facts,
    )


def write_trained(work_dir, *steps, chosen=None, effects=None):
    """Write a finished search by training: its history and its mask file."""
    (work_dir / 'search').mkdir(parents=True)
    records = [dict(step=number, masks=step) for number, step in enumerate(steps)]
    chosen = chosen or steps[0][0]['mask']['backbone']
    records[-1].update(
        policy_mode=True, best=dict(mask=dict(backbone=chosen), reward=1)
    )
    (work_dir / 'search/history.jsonl').write_text(
        ''.join(f'{json.dumps(record)}\n' for record in records)
    )
    Mask.parse(chosen, [len(stage) for stage in chosen.split('-')]).to_file(
        work_dir / 'mask_backbone.json',
        found_by=dict(metric='accuracy/top1'),
        **(dict(effects=effects) if effects else {}),
    )
