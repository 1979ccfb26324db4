"""What the files of a search say about its run, in words."""

import re
from typing import Any, Dict, List, Tuple

from ean_mm.errors import one_line
from ean_mm.visualization.report.reading import Search, entry

LONGEST_FACT = 400


def facts(search: Search) -> List[Tuple[str, str]]:
    """Name what the files say about the run; what they do not say is left out."""
    found_by, settings = dict(search.found_by), dict(search.settings)
    searcher = found_by.pop('searcher', None)
    for key in ('settings', 'module', 'masks_evaluated', 'metric', 'seed'):
        found_by.pop(key, None)
    draws = sum(mask.times_drawn for mask in search.drawn)
    # Weights of a cost say nothing where none counts.
    reward = {
        key: value
        for key, value in search.reward.items()
        if search.reward.get('cost') or not re.search('cost|budget', str(key))
    }
    named: List[Tuple[str, Any]] = [
        *((name, _module(search, name)) for name in search.stage_blocks),
        ('searcher', settings.pop('type', searcher)),
        ('searcher settings', _listed(settings)),
        ('reward', _listed(reward) or search.found_by.get('metric')),
        ('reward images', found_by.pop('reward_images', None)),
        ('steps done', search.steps),
        ('masks drawn', f'{draws}, {len(search.drawn)} of them distinct'),
        ('draws of known masks', f'{1 - len(search.drawn) / draws:.0%}'),
    ]
    last = search.records[-1]
    if last.get('policy_mode'):
        judged = last['masks'][0]
        mode = ', '.join(judged['mask'].values())
        named.append(("the searcher's mode", f'{mode}, reward {judged["reward"]:.2f}'))
    named.append(('seed', search.seed))
    named += [(key.replace('_', ' '), value) for key, value in found_by.items()]
    named += search.dates.items()
    return [
        (one_line(key, LONGEST_FACT), one_line(value, LONGEST_FACT))
        for key, value in named
        if value not in (None, '')
    ]


def _module(search: Search, name: str) -> str:
    """Say what a masked module is: its network, its stages and its attention."""
    described = search.space.get(name, {})
    attention = dict(entry(described, 'attention'))
    kind = attention.pop('type', None)
    parts = [
        described.get('network'),
        f'stages of {"-".join(map(str, search.stage_blocks[name]))} blocks',
        kind and f'{kind} ({_listed(attention)})' if attention else kind,
    ]
    return ', '.join(one_line(part, LONGEST_FACT) for part in parts if part)


def _listed(settings: Dict[str, Any]) -> str:
    return ', '.join(
        f'{str(key).replace("_", " ")} {_plain(value)}'
        for key, value in settings.items()
        if value is not None
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return 'on' if value else 'off'
    return f'{value:g}' if isinstance(value, float) else str(value)
