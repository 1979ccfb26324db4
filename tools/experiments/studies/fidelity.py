"""How well short trainings rank masks: their measures against whole trainings."""

import copy
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from mmengine.config import Config

from ean_mm.launch import quiet_runner
from ean_mm.search import Request, SearchSpace, TrainedEvaluation
from studies.results import Results, Row, Rows
from studies.run import SEARCH, where_and_when
from studies.table import SHARED, UNSHARED, Table, read_mask

SCRATCH, FINE_TUNED = 'scratch', 'plain weights'
STARTS = {SCRATCH: (4, 8, 2, 12), FINE_TUNED: (2, 1)}
"""epochs of the short trainings from each start, the most telling ones first"""

FINE_TUNING_LR = 0.01

COLUMNS = dict(
    protocol=str,
    network=str,
    attention=str,
    start=str,
    epochs=int,
    mask=str,
    seed=int,
    iterations=int,
    percent=float,  # on the reward images
    loss=float,  # on the reward images
    train_loss=float,  # mean of the second half
    curve=str,  # mean training losses of twenty equal parts
    seconds=float,
    date=str,
    machine=str,
    threads=int,
    torch=str,
)


class Short(NamedTuple):
    """A short training of a mask."""

    start: str
    epochs: int
    mask: str


class FidelityTable:
    """Short trainings of masks that a table has trained to the end.

    They train on the images that a search trains on, and are measured on its reward
    images, with another seed than the whole trainings.

    Args:
        protocol: Name of the protocol.
        network: Name of the network.
        attention: Name of the attention.
        seed: Seed of the short trainings.
        options: What to override in every config.
        data_root: Folder to read every data set from; None for the configs'.
    """

    def __init__(
        self,
        protocol: str,
        network: str,
        attention: str,
        seed: int = 100,
        options: Optional[Dict[str, Any]] = None,
        data_root: Optional[str] = None,
    ) -> None:
        self.name = protocol
        self.network = network
        self.attention = attention
        self.seed = seed
        self._table = Table(
            protocol,
            [network],
            [attention],
            seeds=[seed],
            options=options,
            data_root=data_root,
        )

    def masks(self, results: Results) -> Dict[str, List[float]]:
        """Return what whole trainings of each mask have reached, in percent."""
        reached: Dict[str, List[float]] = {}
        for row in results.by_label().values():
            if (
                (row['protocol'], row['network']) == (self.name, self.network)
                and row['attention'] == self.attention
                and row['variant'] not in (SEARCH, UNSHARED)
                and not row['variant'].startswith('supernet')
            ):
                reached.setdefault(row['mask'], []).append(row['percent'])
        return reached

    def key(self, short: Short) -> Dict[str, Any]:
        """Return the part of a row that names it."""
        return dict(
            protocol=self.name,
            network=self.network,
            attention=self.attention,
            seed=self.seed,
            **short._asdict(),
        )

    def rows_of(self, short: Short, rows: Rows) -> List[Row]:
        """Return the rows of a short training: one, or none yet."""
        key = self.key(short)
        return [row for row in rows.rows if key.items() <= row.items()]

    def config(self, attention: bool = True) -> Config:
        """Return the config of the whole training on the images of a search."""
        cfg = copy.deepcopy(
            self._table.run(self.network, self.attention, SEARCH, self.seed).cfg
        )
        whole = self._table.run(
            self.network, self.attention, SHARED, self.seed, 'all'
        ).cfg
        cfg.param_scheduler = whole.param_scheduler
        cfg.train_cfg = whole.train_cfg
        cfg.custom_hooks = [
            hook
            for hook in cfg.custom_hooks
            if hook['type'] not in ('SupernetHook', 'EANSearchHook')
        ]
        if not attention:
            cfg.model.backbone.attention = None
        cfg.train_cfg.val_begin = 10**9
        return cfg

    def judge(self, shorts: List[Short], work_dir: Path) -> Iterator[Row]:
        """Train masks for a while, all from one start and for as long.

        Args:
            shorts: The trainings.
            work_dir: Folder to work in.
        """
        start, epochs, _ = shorts[0]
        cfg = self.config()
        if start == FINE_TUNED:
            cfg.load_from = str(self._plain(work_dir))
            cfg.model.backbone.attention.init = 'identity'
            cfg.optim_wrapper.optimizer.lr = FINE_TUNING_LR
        name = f'{self.name}_{self.attention}_{start}_{epochs}'.replace(' ', '_')
        runner = quiet_runner(cfg, work_dir / name)
        runner._init_model_weights()
        runner.load_or_resume()
        space = SearchSpace(runner.model)
        evaluation = TrainedEvaluation(
            runner,
            space,
            runner.val_loop.dataloader,
            runner.val_loop.evaluator,
            Path(runner.work_dir),
            budget=epochs * len(runner.train_dataloader),
            seed=self.seed,
        )
        for short in shorts:
            started = time.perf_counter()
            request = Request(read_mask(short.mask).bits, evaluation.budgets[-1])
            measured = evaluation.judge([request])[0]
            yield dict(
                self.key(short),
                iterations=request.budget,
                percent=round(float(measured.metrics.get('accuracy/top1', 0.0)), 4),
                loss=round(measured.loss or 0.0, 6),
                train_loss=round(measured.train_loss or 0.0, 6),
                curve=' '.join(f'{value:.5f}' for value in measured.curve),
                seconds=round(time.perf_counter() - started, 1),
                **where_and_when(),
            )

    def _plain(self, work_dir: Path) -> Path:
        """Train the plain network to the end, once; return its checkpoint."""
        folder = work_dir / f'{self.name}_plain'
        if not (folder / 'last_checkpoint').is_file():
            quiet_runner(self.config(attention=False), folder).train()
        return Path((folder / 'last_checkpoint').read_text().strip())
