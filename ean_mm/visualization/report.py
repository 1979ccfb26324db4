"""One page about a mask search, from the files that the search leaves."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import matplotlib

from ean_mm.effects import StoredEffects
from ean_mm.effects.words import judged_how
from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.search import SearchStorage
from ean_mm.visualization.progress_plot import draw_progress
from ean_mm.visualization.report_effects import effects_section, read_effects
from ean_mm.visualization.report_html import (
    DRAWING,
    STYLE,
    clean,
    figure_html,
    section,
    tiles_html,
)
from ean_mm.visualization.report_masks import DrawnMask, check_entry, count_masks
from ean_mm.visualization.report_plots import (
    draw_masks,
    draw_probabilities,
    draw_trade_off,
)
from ean_mm.visualization.report_table import mask_html, table_section
from ean_mm.visualization.report_training import (
    curves_section,
    judging_html,
    metric_label,
)

BIT_STRING = re.compile(r'[01]+(-[01]+)*')


@dataclass(frozen=True)
class Search:
    """What the files of a search say; what none of them says is empty or None."""

    name: str
    records: List[Dict[str, Any]]
    stage_blocks: Dict[str, Tuple[int, ...]]
    drawn: List[DrawnMask]
    """the distinct masks, in the order in which they were drawn"""
    best: DrawnMask
    """the chosen mask if the search is finished, else the best so far"""
    finished: bool
    num_steps: Optional[int]
    """steps of the whole search"""
    space: Dict[str, Dict[str, Any]]
    """network and attention of each module"""
    reward: Dict[str, Any]
    """the reward's settings"""
    found_by: Dict[str, Any]
    """what the mask file says about the search"""
    settings: Dict[str, Any]
    """the searcher's settings"""
    seed: Any
    dates: Dict[str, str]
    effects: Optional[StoredEffects] = None
    """what attention in each block brings"""
    effects_problem: str = ''
    """why the effects cannot be shown"""

    @property
    def steps_done(self) -> int:
        """Number of finished steps; evaluating the policy's mode is none."""
        return _steps_done(self.records)

    @property
    def num_blocks(self) -> int:
        """Number of blocks in all masked modules."""
        return sum(map(sum, self.stage_blocks.values()))

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return clean(
            self.reward.get('metric') or self.found_by.get('metric') or 'metric'
        )

    @property
    def budgets(self) -> List[int]:
        """Iterations that masks were trained for, ascending; none in a supernet."""
        entries = [entry for record in self.records for entry in record['masks']]
        return sorted({entry['budget'] for entry in entries if entry.get('budget')})

    @property
    def fully_judged(self) -> List[DrawnMask]:
        """The masks that can be compared: of the largest budget, and not diverged."""
        budget = self.budgets[-1] if self.budgets else None
        return [
            mask
            for mask in self.drawn
            if mask is self.best or (mask.budget == budget and not mask.diverged)
        ]

    @property
    def cost(self) -> Optional[str]:
        """What to call the cost of the masks, None if they have none."""
        if any(mask.cost is None for mask in self.drawn):
            return None
        return f'added {clean(self.reward.get("cost") or "cost")}'


def read_search(work_dir: Path) -> Search:
    """Read a search, running or finished.

    It is finished if its last step is done and the mask file holds its best mask: the
    file may also be left from an earlier search.

    Args:
        work_dir: Work dir of a run with ``EANSearchHook``.

    Raises:
        ValueError: There is no search, it has no finished step, or its files are
            unreadable.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise EANError(f'there is no folder {work_dir}')
    storage = SearchStorage(work_dir / 'search')
    if not storage.exists():
        raise EANError(
            f'{work_dir} holds no search: there is no {storage.history_path}; give the '
            'work dir of a run with EANSearchHook'
        )
    try:
        records = storage.read_history()
    except OSError as error:
        raise EANError(
            f'{storage.history_path} cannot be read: {error.strerror}'
        ) from error
    if not records:
        raise EANError(
            f'the search in {work_dir} has not finished its first step yet; try again '
            'later'
        )
    stage_blocks = _check(records, storage.history_path)
    state = _read_state(storage)
    fingerprint = _entry(state, 'fingerprint')
    space = {
        name: facts
        for name, facts in _parse(fingerprint.get('search_space')).items()
        if name in stage_blocks and isinstance(facts, dict)
    }
    settings = _parse(fingerprint.get('searcher'))
    drawn = count_masks(records, list(stage_blocks))
    best = _best(drawn, records[-1])
    is_complete = records[-1].get('policy_mode') or _steps_done(records) >= (
        _number_of_steps(settings) or 0
    )
    files = _read_mask_files(work_dir, stage_blocks) if is_complete else {}
    finished = best.masks == {name: str(mask) for name, mask in files.items()}
    dates = {'last step written': _date(storage.history_path)}
    found_by, effects, problem = {}, None, ''
    if finished:
        effects, problem = read_effects(files, stage_blocks)
        first = next(iter(files))
        found_by = _entry(files[first].info, 'found_by')
        space = {name: dict(mask.info) for name, mask in files.items()}
        settings = settings or _entry(found_by, 'settings')
        dates['mask file written'] = _date(work_dir / f'mask_{first}.json')
    return Search(
        name=work_dir.resolve().name,
        records=records,
        stage_blocks=stage_blocks,
        drawn=drawn,
        best=best,
        finished=finished,
        num_steps=_number_of_steps(settings),
        space=space,
        reward=_parse(fingerprint.get('reward')),
        found_by=found_by,
        settings=settings,
        seed=found_by.get('seed', _entry(state, 'searcher').get('seed')),
        dates=dates,
        effects=effects,
        effects_problem=problem,
    )


def render_report(search: Search) -> str:
    """Return the HTML page of a search: one file that loads nothing else."""
    title, best = escape(f'Mask search {search.name}'), search.best
    with matplotlib.rc_context(DRAWING):
        sections = [
            effects_section(search.effects, search.effects_problem),
            _best_section(search),
            _progress_section(search),
            curves_section(search.drawn, best, _best_label(search)),
            _probabilities_section(search),
            _trade_off_section(search),
            table_section(search.drawn, best, search.metric, search.cost),
            _facts_section(search),
        ]
    body = '\n'.join(part for part in sections if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n'
        f'<h1>{title}</h1>\n{_status(search)}\n'
        f'{judging_html(search.metric, search.budgets)}\n'
        f'{body}\n</main>\n</body>\n</html>\n'
    )


def _status(search: Search) -> str:
    steps = f'{_steps(search)} {"step" if search.steps_done == 1 else "steps"}'
    if search.finished:
        return f'<p class="status">Finished, {steps} done.</p>'
    if search.num_steps is not None and search.steps_done >= search.num_steps:
        return (
            f'<p class="status">{steps} done, but the search has written no mask '
            'file yet.</p>'
        )
    return (
        '<p class="status"><span class="running">The search is still running</span>, '
        f'or was stopped before its end: {steps} done, the last one written on '
        f'{search.dates["last step written"]}.</p>'
    )


def _best_section(search: Search) -> str:
    best = search.best
    how = judged_how([best.budget], search.metric)
    tiles = [
        ('reward', f'{best.reward:.2f}', how.partition(', ')[0]),
        (search.metric, f'{best.metric:.2f} %', how),
        ('blocks with attention', f'{best.num_connections} of {search.num_blocks}', ''),
    ]
    if search.cost is not None:
        tiles.append((search.cost, f'{best.cost:.2f} %', ''))
    tiles.append(('first drawn', f'step {best.first_step}', ''))
    highest = max(mask.reward for mask in search.fully_judged)
    caption = (
        'The residual blocks, from input to output. Each stage shares one attention '
        'module, which is joined to the blocks whose bit is 1.'
    )
    if highest > best.reward:
        caption += (
            f' The highest reward is {highest:.2f}, of another mask: the searcher '
            'weighs all measurements, as a single one may be luck.'
        )
    figure = draw_masks(
        {
            name: Mask.parse(mask, search.stage_blocks[name])
            for name, mask in best.masks.items()
        },
        {name: _attention(search, name) for name in best.masks},
    )
    return section(
        f'The {_best_label(search)}',
        f'<p class="mask">{mask_html(best.masks)}</p>\n'
        + tiles_html(tiles)
        + figure_html(figure, 'The mask drawn on the network', caption),
    )


def _progress_section(search: Search) -> str:
    caption = (
        'Every mask that was drawn, the mean of each step, and the mask that had the '
        f'best reward until then. Its {search.metric} need not be the highest: the '
        f'reward also counts what attention costs. {_measured(search, search.budgets)}'
    )
    if len(search.budgets) > 1:
        caption += ' Mean and best are of the longest training.'
    return section(
        'Rewards',
        figure_html(
            draw_progress(
                search.records,
                metric_label(search.metric, search.budgets),
                'reward' if search.budgets else 'reward in the supernet',
            ),
            f'Reward and {search.metric} over the steps of the search',
            caption,
        ),
    )


def _probabilities_section(search: Search) -> str:
    figure = draw_probabilities(search.records, search.stage_blocks)
    if figure is None:
        return ''
    return section(
        'Probability of each bit',
        figure_html(
            figure,
            'Probability of each bit over the steps of the search',
            'As the searcher reports it: its probability to give a block attention or, '
            'without a policy, the share of its masks so far that do. Blocks are '
            'numbered within their stage.',
        ),
    )


def _trade_off_section(search: Search) -> str:
    masks = search.fully_judged
    if search.cost is None:
        costs: List[Any] = [mask.num_connections for mask in masks]
        cost_label = f'blocks with attention (of {search.num_blocks})'
    else:
        costs, cost_label = [mask.cost for mask in masks], f'{search.cost}, %'
    metric = metric_label(search.metric, search.budgets[-1:])
    which = 'with the longest training' if search.budgets[1:] else 'that were evaluated'
    caption = (
        f'The {len(masks)} masks {which}. A mask is on the Pareto front if '
        f'no mask as far left, or further, has a higher {search.metric}. '
        f'{_measured(search, search.budgets[-1:])}'
    )
    if len(masks) < len(search.drawn):
        caption += (
            f' {len(search.drawn) - len(masks)} masks, which diverged or were not '
            'trained as long, are left out.'
        )
    figure = draw_trade_off(
        costs,
        [mask.metric for mask in masks],
        masks.index(search.best),
        cost_label,
        f'{metric}, %',
        _best_label(search),
    )
    return section(
        'Cost and gain',
        figure_html(
            figure, f'{search.metric} of each mask against its {cost_label}', caption
        ),
    )


def _measured(search: Search, budgets: List[int]) -> str:
    """Say what the metric in a picture is of."""
    return f'{search.metric} was measured {judged_how(budgets, search.metric)}.'


def _best_label(search: Search) -> str:
    return 'chosen mask' if search.finished else 'best mask so far'


def _facts_section(search: Search) -> str:
    rows = ''.join(
        f'<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in _facts(search)
    )
    return section('About the run', f'<table class="facts">\n{rows}</table>')


def _facts(search: Search) -> List[Tuple[str, str]]:
    """Name what the files say about the run; what they do not say is left out."""
    facts: List[Tuple[str, Any]] = []
    for name, blocks in search.stage_blocks.items():
        described = search.space.get(name, {})
        attention = dict(_entry(described, 'attention'))
        kind = attention.pop('type', None)
        parts = [
            described.get('network'),
            f'stages of {"-".join(map(str, blocks))} blocks',
            kind and f'{kind} ({_listed(attention)})' if attention else kind,
        ]
        facts.append((name, ', '.join(clean(part) for part in parts if part)))
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
    facts += [
        ('searcher', settings.pop('type', searcher)),
        ('searcher settings', _listed(settings)),
        ('reward', _listed(reward) or search.found_by.get('metric')),
        ('reward images', found_by.pop('reward_images', None)),
        ('steps done', _steps(search)),
        ('masks drawn', f'{draws}, {len(search.drawn)} of them distinct'),
        ('draws of known masks', f'{1 - len(search.drawn) / draws:.0%}'),
    ]
    last = search.records[-1]
    if last.get('policy_mode'):
        entry = last['masks'][0]
        mode = ', '.join(entry['mask'].values())
        facts.append(("the searcher's mode", f'{mode}, reward {entry["reward"]:.2f}'))
    facts.append(('seed', search.seed))
    facts += [(key.replace('_', ' '), value) for key, value in found_by.items()]
    facts += search.dates.items()
    return [
        (clean(key), clean(value)) for key, value in facts if value not in (None, '')
    ]


def _steps(search: Search) -> str:
    total = '' if search.num_steps is None else f' of {search.num_steps}'
    return f'{search.steps_done}{total}'


def _attention(search: Search, name: str) -> str:
    attention = _entry(search.space.get(name, {}), 'attention')
    kind = clean(attention.get('type', '')).replace('Attention', '')
    return clean(kind, 16) or 'attention'


def _check(records: List[Dict[str, Any]], path: Path) -> Dict[str, Tuple[int, ...]]:
    """Check that the records are of one search; return the blocks of its stages."""
    stage_blocks: Dict[str, Tuple[int, ...]] = {}
    last_step, trained = -1, None
    for number, record in enumerate(records, 1):
        try:
            step, entries = record['step'], record['masks']
            if not isinstance(step, int) or step <= last_step or not entries:
                raise ValueError('its step is out of order or has no masks')
            last_step = step
            for entry in entries:
                check_entry(entry)
                has_budget = entry.get('budget') is not None
                if trained not in (None, has_budget):
                    raise ValueError('only some of its masks have a budget')
                trained = has_budget
                blocks = {name: _blocks(bits) for name, bits in entry['mask'].items()}
                if not all(map(str.isprintable, blocks)):
                    raise ValueError('a module has no printable name')
                stage_blocks = stage_blocks or blocks
                if blocks != stage_blocks or not blocks:
                    raise ValueError('its masks are of another network')
        except KeyError as error:
            raise EANError(f'{path}, record {number} has no {error}') from error
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            reason = error if isinstance(error, ValueError) else 'it is damaged'
            raise EANError(
                f'{path}, record {number} is not of a mask search: {reason}'
            ) from error
    return stage_blocks


def _blocks(bits: str) -> Tuple[int, ...]:
    if not BIT_STRING.fullmatch(bits):
        raise ValueError('its mask is not bits')
    return tuple(map(len, bits.split('-')))


def _best(drawn: List[DrawnMask], record: Dict[str, Any]) -> DrawnMask:
    """Return the mask that the last record calls the best.

    It need not be the one with the best reward, which counts where nothing is said.
    """
    told = _entry(record, 'best').get('mask')
    for mask in drawn:
        if mask.masks == told:
            return mask
    return max(
        drawn, key=lambda mask: (not mask.diverged, mask.budget or 0, mask.reward)
    )


def _steps_done(records: List[Dict[str, Any]]) -> int:
    return sum(not record.get('policy_mode') for record in records)


def _number_of_steps(settings: Dict[str, Any]) -> Optional[int]:
    number = settings.get('num_steps')
    return number if isinstance(number, int) else None


def _read_state(storage: SearchStorage) -> Dict[str, Any]:
    """Return the state, without running anything in it; nothing if there is none."""
    try:
        return storage.load({}) or {}  # no fingerprint: the state of any search
    except EANError:
        return {}


def _read_mask_files(
    work_dir: Path, stage_blocks: Dict[str, Tuple[int, ...]]
) -> Dict[str, Mask]:
    """Read the mask file of each module; nothing unless all are there."""
    paths = {name: work_dir / f'mask_{name}.json' for name in stage_blocks}
    if not all(path.is_file() for path in paths.values()):
        return {}
    return {name: Mask.from_file(path) for name, path in paths.items()}


def _parse(text: Any) -> Dict[str, Any]:
    """Parse the ``repr`` of a dict; nothing if it holds more than plain values."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _entry(content: Mapping[str, Any], key: str) -> Dict[str, Any]:
    """An entry that should be a dict, as a dict."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


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


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime('%Y-%m-%d %H:%M')
