"""The accuracies of a table's masks in its supernets."""

import hashlib
from pathlib import Path
from typing import Dict, List, Sequence

import torch
from mmengine.runner.checkpoint import find_latest_checkpoint

from ean_mm.launch import quiet_runner
from ean_mm.models import count_parameters
from ean_mm.search import BNCalibration, MaskEvaluator, SearchSpace
from ean_mm.search.evaluation.calibration import draw_batches
from studies.ranking_table import RankingTable
from studies.results import Results, Row
from studies.run import Run, execute, where_and_when
from studies.table import read_mask

SUPERNET = 'supernet'


def score_masks(
    table: RankingTable, results: Results, work_dir: Path, calibration_batches: int
) -> None:
    """Add the accuracies of a table's masks in its supernets to the results.

    Args:
        table: The table, whose networks and supernets have been trained.
        results: Where the results are and go.
        work_dir: Folder with the supernets. One that is missing is trained again.
        calibration_batches: Training batches to re-estimate the statistics of the norm
            layers on for each mask; 0 to use the supernet's own.
    """
    masks = list(table.trained(results))
    for search in table.all_searches():
        known = results.by_hash()
        missing = [
            mask
            for mask in masks
            if _score_hash(search, mask, calibration_batches) not in known
        ]
        if not missing:
            continue
        if not (search.folder(work_dir) / 'last_checkpoint').is_file():
            execute(search, work_dir)
        for row in _score(search, work_dir, missing, calibration_batches):
            results.append({**known[search.hash], **row})


def scores(
    table: RankingTable, results: Results, search: Run, calibration_batches: int
) -> Dict[str, float]:
    """Return the accuracy of each mask in the supernet of a search, in percent."""
    known = results.by_hash()
    hashes = {
        mask: _score_hash(search, mask, calibration_batches)
        for mask in table.trained(results)
    }
    return {m: known[h]['percent'] for m, h in hashes.items() if h in known}


def _score_hash(search: Run, mask: str, calibration_batches: int) -> str:
    text = f'{search.hash} {mask} {calibration_batches}'
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@torch.no_grad()
def _score(
    search: Run, work_dir: Path, masks: Sequence[str], calibration_batches: int
) -> List[Row]:
    folder = search.folder(work_dir)
    runner = quiet_runner(search.cfg, folder / 'scores')
    runner.load_checkpoint(find_latest_checkpoint(str(folder)))
    model = runner.model.to(memory_format=torch.channels_last)
    calibration = None
    if calibration_batches:
        loader = runner.build_dataloader(runner.cfg.train_dataloader)
        calibration = BNCalibration(model, draw_batches(loader, calibration_batches))
    space = SearchSpace(model)
    evaluator = MaskEvaluator(
        model,
        space,
        runner.build_dataloader(runner.cfg.val_dataloader),
        runner.build_evaluator(runner.cfg.val_evaluator),
        calibration,
    )
    bits = [read_mask(mask).bits for mask in masks]
    rows = []
    for mask, plugged, metrics in zip(masks, bits, evaluator.evaluate(bits)):
        space.apply(plugged)
        rows.append(
            dict(
                variant=_supernet(calibration_batches),
                mask=mask,
                percent=round(metrics[search.metric] * search.to_percent, 4),
                parameters=count_parameters(model),
                config_hash=_score_hash(search, mask, calibration_batches),
                **where_and_when(),
            )
        )
    return rows


def _supernet(calibration_batches: int) -> str:
    if not calibration_batches:
        return SUPERNET
    return f'{SUPERNET}, norm layers on {calibration_batches} batches'
