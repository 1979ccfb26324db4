"""The mask files that a search ends with."""

from pathlib import Path
from typing import Any, Dict, Mapping

from mmengine.dist import is_main_process

from ean_mm.mask import Mask
from ean_mm.search.history import Judgement
from ean_mm.search.loop import MaskSearch
from ean_mm.search.surrogate import Effects, block_effects


def search_effects(search: MaskSearch, best: Judgement) -> Effects:
    """Find what attention in each block brings, of all that a search has judged."""
    return block_effects(
        search.history,
        search.space.stage_blocks,
        metric=search.reward.metric,
        measure=search.evaluator.measure,
        recommended=best.bits,
    )


def write_masks(
    search: MaskSearch,
    best: Judgement,
    folder: Path,
    facts: Mapping[str, Any],
    **found_by: Any,
) -> Dict[Path, Mask]:
    """Write one mask file for each masked module.

    Args:
        search: The search that is finished.
        best: What it ends with.
        folder: Where to write the files.
        facts: What else to note in each.
        **found_by: What to note about the search beside what it says itself.

    Returns:
        The masks by the paths of their files.
    """
    files = {}
    described = search.space.describe()
    reward = search.reward
    costs = {} if reward.cost is None else {reward.cost: best.cost}
    for name, mask in search.space.split(best.bits).items():
        path = folder / f'mask_{name}.json'
        files[path] = mask
        if is_main_process():
            mask.to_file(
                path,
                network=described[name]['network'],
                attention=described[name]['attention'],
                **names_of_blocks(search.space.modules[name]),
                reward=round(best.reward, 4),
                accuracy=round(best.metric, 4),
                **costs,
                **facts,
                found_by=dict(
                    searcher=type(search.searcher).__name__,
                    settings=search.searcher.describe(),
                    metric=reward.metric,
                    masks_evaluated=len(search.history),
                    module=name,
                    seed=search.searcher.seed,
                    **({} if best.budget is None else dict(budget=best.budget)),
                    **found_by,
                ),
            )
    return files


def names_of_blocks(module: Any) -> Dict[str, Any]:
    """Say which block each bit of a masked module's mask is of, if it has blocks."""
    names = getattr(module, 'block_names', None)
    return {} if names is None else dict(blocks=names)
