"""Read a search, running or finished, from the files in its work dir."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ean_mm.effects import Effects, read_effects
from ean_mm.errors import EANError, one_line
from ean_mm.mask import Mask
from ean_mm.search import SearchStorage
from ean_mm.visualization.report.history import (
    DrawnMask,
    Record,
    check_history,
    count_masks,
)

LONGEST_ATTENTION = 16
"""letters of its name that a picture has room for"""


@dataclass(frozen=True)
class Search:
    """What the files of a search say; what none of them says is empty or None."""

    name: str
    records: List[Record]
    stage_blocks: Dict[str, Tuple[int, ...]]
    drawn: List[DrawnMask]
    """the distinct masks, in the order in which they were drawn"""
    best: DrawnMask
    """the chosen mask if the search is finished, else the best so far"""
    finished: bool
    steps_done: int
    """finished steps; evaluating the policy's mode is none"""
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
    effects: Optional[Effects] = None
    """what attention in each block brings"""
    effects_problem: str = ''
    """why the effects cannot be shown"""

    @property
    def steps(self) -> str:
        """The finished steps, of how many if that is known."""
        total = '' if self.num_steps is None else f' of {self.num_steps}'
        return f'{self.steps_done}{total}'

    @property
    def num_blocks(self) -> int:
        """Number of blocks in all masked modules."""
        return sum(map(sum, self.stage_blocks.values()))

    @property
    def metric(self) -> str:
        """Name of the metric."""
        named = self.reward.get('metric') or self.found_by.get('metric')
        return one_line(named or 'metric')

    @property
    def cost(self) -> Optional[str]:
        """What to call the cost of the masks, None if they have none."""
        if any(mask.cost is None for mask in self.drawn):
            return None
        return f'added {one_line(self.reward.get("cost") or "cost")}'

    @property
    def best_label(self) -> str:
        """What to call the best mask."""
        return 'chosen mask' if self.finished else 'best mask so far'

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
    def ranked(self) -> List[DrawnMask]:
        """The masks by reward, those trained for longer first, the diverged last."""
        return sorted(
            self.drawn,
            key=lambda mask: (mask.diverged, -(mask.budget or 0), -mask.reward),
        )

    def attention(self, module: str) -> str:
        """Return the short name of a module's attention, as ``'SE'``."""
        kind = entry(self.space.get(module, {}), 'attention').get('type', '')
        name = one_line(str(kind).replace('Attention', ''), LONGEST_ATTENTION)
        return name or 'attention'


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
    storage = SearchStorage(work_dir / 'search')
    records = _read_records(work_dir, storage)
    stage_blocks = check_history(records, storage.history_path)
    state = _read_state(storage)
    fingerprint = entry(state, 'fingerprint')
    space = {
        name: facts
        for name, facts in _parse(fingerprint.get('search_space')).items()
        if name in stage_blocks and isinstance(facts, dict)
    }
    settings = _parse(fingerprint.get('searcher'))
    drawn = count_masks(records, list(stage_blocks))
    best = _best(drawn, records[-1])
    steps_done = sum(not record.get('policy_mode') for record in records)
    is_complete = records[-1].get('policy_mode') or steps_done >= (
        _number_of_steps(settings) or 0
    )
    files = _read_mask_files(work_dir, stage_blocks) if is_complete else {}
    finished = best.masks == {name: str(mask) for name, mask in files.items()}
    dates = {'last step written': _date(storage.history_path)}
    found_by, effects, problem = {}, None, ''
    if finished:
        effects, problem = _read_effects(files, stage_blocks)
        first = next(iter(files))
        found_by = entry(files[first].info, 'found_by')
        space = {name: dict(mask.info) for name, mask in files.items()}
        settings = settings or entry(found_by, 'settings')
        dates['mask file written'] = _date(work_dir / f'mask_{first}.json')
    return Search(
        name=work_dir.resolve().name,
        records=records,
        stage_blocks=stage_blocks,
        drawn=drawn,
        best=best,
        finished=finished,
        steps_done=steps_done,
        num_steps=_number_of_steps(settings),
        space=space,
        reward=_parse(fingerprint.get('reward')),
        found_by=found_by,
        settings=settings,
        seed=found_by.get('seed', entry(state, 'searcher').get('seed')),
        dates=dates,
        effects=effects,
        effects_problem=problem,
    )


def _read_records(work_dir: Path, storage: SearchStorage) -> List[Record]:
    if not work_dir.is_dir():
        raise EANError(f'there is no folder {work_dir}')
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
    return records


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


def _read_effects(
    files: Mapping[str, Mask], stage_blocks: Mapping[str, Tuple[int, ...]]
) -> Tuple[Optional[Effects], str]:
    """Read the effects in the mask files, which hold the same, if any.

    Returns:
        The effects, None if there are none; and why they cannot be shown, or ''.
    """
    for name, mask in files.items():
        if 'effects' not in mask.info:
            continue
        source = f'mask_{name}.json'
        try:
            effects = read_effects(mask.info['effects'], source)
        except EANError as error:
            return None, str(error)
        if effects.stage_blocks != stage_blocks:
            return None, f'the effects in {source} are of another network'
        return effects, ''
    return None, ''


def _best(drawn: List[DrawnMask], record: Record) -> DrawnMask:
    """Return the mask that the last record calls the best.

    It need not be the one with the best reward, which counts where nothing is said.
    """
    told = entry(record, 'best').get('mask')
    for mask in drawn:
        if mask.masks == told:
            return mask
    return max(
        drawn, key=lambda mask: (not mask.diverged, mask.budget or 0, mask.reward)
    )


def _number_of_steps(settings: Dict[str, Any]) -> Optional[int]:
    number = settings.get('num_steps')
    return number if isinstance(number, int) else None


def _parse(text: Any) -> Dict[str, Any]:
    """Parse the JSON of a dict; nothing if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def entry(content: Mapping[str, Any], key: str) -> Dict[str, Any]:
    """An entry that should be a dict, as a dict."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime('%Y-%m-%d %H:%M')
