"""One page about a mask search, from the files that the search leaves."""

import base64
import io
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import matplotlib
from matplotlib.figure import Figure

from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.search import SearchStorage
from ean_mm.visualization.report_plots import (
    draw_masks,
    draw_probabilities,
    draw_progress,
    draw_trade_off,
)

MASKS_IN_TABLE = 10
BIT_STRING = re.compile(r'[01]+(-[01]+)*')

# Text from files is no mathematics, and the same search gives the same page.
DRAWING: Any = {'text.parse_math': False, 'svg.hashsalt': 'ean_mm', 'font.size': 10}

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #2f3640;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 0 0 12px; }
section { background: white; border: 1px solid #e1e4e9; border-radius: 10px;
  padding: 20px 24px; margin-top: 20px; }
.status { margin: 0; color: #5b6472; }
.running { color: #a8324a; font-weight: 600; }
.mask { margin: 14px 0 0; }
.mask code { font-size: 24px; letter-spacing: 1px; }
.tiles { display: flex; flex-wrap: wrap; gap: 8px 40px; margin: 8px 0 20px; }
.tiles div { margin: 0; }
.tiles dt { color: #5b6472; font-size: 14px; }
.tiles dd { margin: 0; font-size: 22px; font-weight: 600; }
figure { margin: 0; overflow-x: auto; }
img { display: block; width: 100%; height: auto; }
figcaption { color: #5b6472; font-size: 14px; margin-top: 10px; max-width: 46em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e1e4e9; }
th { color: #5b6472; font-weight: 500; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.best td { background: #fbeef0; font-weight: 600; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code i { font-style: normal; color: #9aa2ae; }
code b { color: #d1495b; }
.facts th, .facts td { text-align: left; vertical-align: top; white-space: normal;
  overflow-wrap: anywhere; }
.facts th { width: 13em; }
"""


@dataclass(frozen=True)
class DrawnMask:
    """A mask of the search, and how often it was drawn."""

    masks: Dict[str, str]
    """bits of each module, as ``'10-01'``"""
    reward: float
    metric: float
    """the metric, in percent"""
    num_connections: int
    sparsity: float
    """fraction of blocks without attention"""
    cost: Optional[float]
    """what attention adds to the plain network, in percent, if the reward counts it"""
    first_step: int
    times_drawn: int


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
        return _clean(
            self.reward.get('metric') or self.found_by.get('metric') or 'metric'
        )

    @property
    def cost(self) -> Optional[str]:
        """What to call the cost of the masks, None if they have none."""
        if any(mask.cost is None for mask in self.drawn):
            return None
        return f'added {_clean(self.reward.get("cost") or "cost")}'


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
    drawn = _count(records, list(stage_blocks))
    best = max(drawn, key=lambda mask: mask.reward)

    is_complete = records[-1].get('policy_mode') or _steps_done(records) >= (
        _number_of_steps(settings) or 0
    )
    files = _read_mask_files(work_dir, stage_blocks) if is_complete else {}
    finished = best.masks == {name: str(mask) for name, mask in files.items()}
    dates = {'last step written': _date(storage.history_path)}
    found_by = {}
    if finished:
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
    )


def render_report(search: Search) -> str:
    """Return the HTML page of a search: one file that loads nothing else."""
    title = escape(f'Mask search {search.name}')
    with matplotlib.rc_context(DRAWING):
        sections = [
            _best_section(search),
            _progress_section(search),
            _probabilities_section(search),
            _trade_off_section(search),
            _table_section(search),
            _facts_section(search),
        ]
    body = '\n'.join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n'
        f'<h1>{title}</h1>\n{_status(search)}\n{body}\n</main>\n</body>\n</html>\n'
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
    tiles = {
        'reward': f'{best.reward:.2f}',
        search.metric: f'{best.metric:.2f} %',
        'blocks with attention': f'{best.num_connections} of {search.num_blocks}',
    }
    if search.cost is not None:
        tiles[search.cost] = f'{best.cost:.2f} %'
    tiles['first drawn'] = f'step {best.first_step}'
    figure = draw_masks(
        {
            name: Mask.parse(mask, search.stage_blocks[name])
            for name, mask in best.masks.items()
        },
        {name: _attention(search, name) for name in best.masks},
    )
    return _section(
        'The chosen mask' if search.finished else 'The best mask so far',
        f'<p class="mask">{_mask_html(best.masks)}</p>\n<dl class="tiles">'
        + ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
            for name, value in tiles.items()
        )
        + '</dl>\n'
        + _figure_html(
            figure,
            'The mask drawn on the network',
            'The residual blocks, from input to output. Each stage shares one '
            'attention module, which is joined to the blocks whose bit is 1.',
        ),
    )


def _progress_section(search: Search) -> str:
    return _section(
        'Rewards',
        _figure_html(
            draw_progress(search.records, search.metric),
            f'Reward and {search.metric} over the steps of the search',
            'Every mask that was drawn, the mean of each step, and the mask that had '
            f'the best reward until then. Its {search.metric} need not be the highest: '
            'the reward also counts what attention costs.',
        ),
    )


def _probabilities_section(search: Search) -> str:
    figure = draw_probabilities(search.records, search.stage_blocks)
    if figure is None:
        return ''
    return _section(
        'Probability of each bit',
        _figure_html(
            figure,
            'Probability of each bit over the steps of the search',
            'As the searcher reports it: its probability to give a block attention or, '
            'without a policy, the share of its masks so far that do. Blocks are '
            'numbered within their stage, from 0.',
        ),
    )


def _trade_off_section(search: Search) -> str:
    label = 'chosen mask' if search.finished else 'best mask so far'
    if search.cost is None:
        costs: List[Any] = [mask.num_connections for mask in search.drawn]
        cost_label = f'blocks with attention (of {search.num_blocks})'
    else:
        costs, cost_label = [mask.cost for mask in search.drawn], f'{search.cost}, %'
    figure = draw_trade_off(
        costs,
        [mask.metric for mask in search.drawn],
        search.drawn.index(search.best),
        cost_label,
        f'{search.metric}, %',
        label,
    )
    return _section(
        'Cost and gain',
        _figure_html(
            figure,
            f'{search.metric} of each mask against its {cost_label}',
            f'The {len(search.drawn)} masks that were evaluated. A mask is on the '
            f'Pareto front if no mask as far left, or further, has a higher '
            f'{search.metric}.',
        ),
    )


def _table_section(search: Search) -> str:
    ranked = sorted(search.drawn, key=lambda mask: -mask.reward)[:MASKS_IN_TABLE]
    columns = ['', 'mask', 'reward', f'{search.metric}, %', 'sparsity', 'first drawn',
               'times drawn']  # fmt: skip
    if search.cost is not None:
        columns.insert(5, f'{search.cost}, %')
    head = ''.join(f'<th>{escape(column)}</th>' for column in columns)
    rows = []
    for rank, mask in enumerate(ranked, 1):
        cells = [
            str(rank),
            _mask_html(mask.masks),
            f'{mask.reward:.2f}',
            f'{mask.metric:.2f}',
            f'{100 * mask.sparsity:.1f} %',
            f'step {mask.first_step}',
            str(mask.times_drawn),
        ]
        if search.cost is not None:
            cells.insert(5, f'{mask.cost:.2f}')
        kind = ' class="best"' if mask is search.best else ''
        rows.append(f'<tr{kind}>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    count = {1: 'The only mask'}.get(len(ranked), f'The best {len(ranked)} masks')
    return _section(
        count,
        f'<div class="scroll"><table>\n<tr>{head}</tr>\n'
        + '\n'.join(rows)
        + '\n</table></div>',
    )


def _facts_section(search: Search) -> str:
    rows = ''.join(
        f'<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in _facts(search)
    )
    return _section('About the run', f'<table class="facts">\n{rows}</table>')


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
        facts.append((name, ', '.join(_clean(part) for part in parts if part)))
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
        (_clean(key), _clean(value)) for key, value in facts if value not in (None, '')
    ]


def _steps(search: Search) -> str:
    total = '' if search.num_steps is None else f' of {search.num_steps}'
    return f'{search.steps_done}{total}'


def _section(title: str, content: str) -> str:
    return f'<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def _figure_html(figure: Figure, description: str, caption: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, format='svg', dpi=150, metadata=dict(Date=None))
    data = base64.b64encode(file.getvalue()).decode()
    # Not larger than drawn; a wide one scrolls before its text becomes too small.
    width = 96 * figure.get_figwidth()
    return (
        f'<figure><img alt="{escape(description)}" '
        f'style="max-width: {width:.0f}px; min-width: {0.7 * width:.0f}px" '
        f'src="data:image/svg+xml;base64,{data}">\n'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def _mask_html(masks: Dict[str, str]) -> str:
    """Write the bits with the connected blocks in colour, one line a module."""
    lines = []
    for name, bits in masks.items():
        marked = re.sub('1+', r'<b>\g<0></b>', re.sub('0+', r'<i>\g<0></i>', bits))
        prefix = f'{escape(_clean(name))} ' if len(masks) > 1 else ''
        lines.append(f'{prefix}<code>{marked}</code>')
    return '<br>'.join(lines)


def _attention(search: Search, name: str) -> str:
    attention = _entry(search.space.get(name, {}), 'attention')
    kind = _clean(attention.get('type', '')).replace('Attention', '')
    return _clean(kind, 16) or 'attention'


def _check(records: List[Dict[str, Any]], path: Path) -> Dict[str, Tuple[int, ...]]:
    """Check that the records are of one search; return the blocks of its stages."""
    stage_blocks: Dict[str, Tuple[int, ...]] = {}
    last_step = -1
    for number, record in enumerate(records, 1):
        try:
            step, entries = record['step'], record['masks']
            if not isinstance(step, int) or step <= last_step or not entries:
                raise ValueError('its step is out of order or has no masks')
            last_step = step
            for entry in entries:
                for key in ('metric', 'reward'):
                    if not math.isfinite(entry[key]):
                        raise ValueError(f'its {key} is not finite')
                if not math.isfinite(entry.get('cost', 0)):
                    raise ValueError('its cost is not finite')
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


def _count(records: List[Dict[str, Any]], modules: List[str]) -> List[DrawnMask]:
    """Return the distinct masks, in the order in which they were drawn."""
    first: Dict[Tuple[str, ...], Tuple[int, Dict[str, Any]]] = {}
    times: Counter = Counter()
    for record in records:
        for entry in record['masks']:
            key = tuple(entry['mask'][name] for name in modules)
            first.setdefault(key, (record['step'], entry))
            times[key] += 1
    drawn = []
    for key, (step, entry) in first.items():
        bits = ''.join(key).replace('-', '')
        drawn.append(
            DrawnMask(
                masks=dict(zip(modules, key)),
                reward=entry['reward'],
                metric=entry['metric'],
                num_connections=bits.count('1'),
                sparsity=bits.count('0') / len(bits),
                cost=entry.get('cost'),
                first_step=step,
                times_drawn=times[key],
            )
        )
    return drawn


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


def _clean(value: Any, limit: int = 400) -> str:
    """Text of a file's value, on one line and not endless."""
    text = ''.join(char if char.isprintable() else ' ' for char in str(value))
    return text if len(text) <= limit else f'{text[: limit - 3]}...'


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime('%Y-%m-%d %H:%M')
