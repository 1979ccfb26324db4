"""Search by one of Optuna's samplers."""

import warnings
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from mmengine.registry import TASK_UTILS

from ean_mm.errors import EANError
from ean_mm.search.optuna_extra import import_optuna
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, Masks, Values
from ean_mm.search.strategies.shared_study import SharedStudy

SAMPLERS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    # all bits together, and with regard to masks that wait for a reward
    'tpe': ('TPESampler', dict(multivariate=True, constant_liar=True)),
    # without the margin, a bit's variance may vanish at the wrong value
    'cmaes': ('CmaEsSampler', dict(with_margin=True, warn_independent_sampling=False)),
    'nsgaii': ('NSGAIISampler', {}),
}
"""Optuna's names of the samplers, and their options"""


@TASK_UTILS.register_module()
class OptunaSearcher(BaseSearcher):
    """Asks one of Optuna's samplers for masks (https://optuna.org, an optional extra).

    ``'tpe'`` (tree-structured Parzen estimators) and ``'cmaes'`` (CMA-ES with margin,
    for integers) maximise the reward. ``'nsgaii'`` maximises the metric and minimises
    the share of ones, whatever the reward weighs them by; the best mask is still the
    one with the highest reward.

    The samplers may ask for a mask again. Without a storage the masks depend on the
    seed and the rewards alone. A resumed search asks for all of its masks once more, so
    that the sampler gets into the state that it was in: a matter of seconds, for TPE
    of minutes after thousands of masks.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of the sampler. With a storage the sampler is not seeded: workers
            with the same seed would draw the same masks.
        num_steps: Steps of the search, of this worker if there are several.
        masks_per_step: Masks asked for in a step, before any of them is told.
        sampler: ``'tpe'``, ``'cmaes'`` or ``'nsgaii'``.
        storage: URL of a database in which workers share a study, as
            ``'sqlite:///search.db'``. They must search the same supernet with the same
            sampler and rewards; others are refused.
        study_name: Name of the study in that database.
        heartbeat: Seconds between two signs of life of a worker that judges masks, with
            a storage. Masks of one that has given none for twice as long are asked for
            by others.

    Raises:
        ValueError: Unknown sampler, a storage without a study's name or that cannot be
            used, a study of another search, or Optuna is not installed.
    """

    def __init__(
        self,
        num_bits: int,
        *,
        seed: int = 0,
        num_steps: int = 300,
        masks_per_step: int = 3,
        sampler: str = 'tpe',
        storage: Optional[str] = None,
        study_name: Optional[str] = None,
        heartbeat: int = 60,
    ) -> None:
        super().__init__(
            num_bits, seed=seed, num_steps=num_steps, masks_per_step=masks_per_step
        )
        if sampler not in SAMPLERS:
            raise EANError(f'sampler {sampler!r} is unknown; use {", ".join(SAMPLERS)}')
        if storage is not None and study_name is None:
            raise EANError(
                'a storage needs a study_name, the same for all workers that share it'
            )
        self.sampler = sampler
        self.storage = storage
        self.study_name = study_name
        self.heartbeat = heartbeat
        self._start()

    def _start(self) -> None:
        """Create the study, or join the one in the storage."""
        optuna = import_optuna(with_cmaes=self.sampler == 'cmaes')
        single = self.sampler != 'nsgaii'
        directions = ['maximize'] if single else ['maximize', 'minimize']
        kind, options = SAMPLERS[self.sampler]
        seed = self.seed if self.storage is None else None
        with warnings.catch_warnings():  # 'experimental' in some versions of Optuna
            warnings.simplefilter('ignore')
            sampler = getattr(optuna.samplers, kind)(seed=seed, **options)
        self._shared: Optional[SharedStudy] = None
        if self.storage is None:
            self.study = optuna.create_study(directions=directions, sampler=sampler)
        else:
            assert self.study_name is not None
            self._shared = SharedStudy(
                optuna,
                self.storage,
                self.study_name,
                directions,
                sampler,
                dict(num_bits=self.num_bits, sampler=self.sampler),
                self.heartbeat,
            )
            self.study = self._shared.study
        self._trials: List[Any] = []  # those that were asked for and not yet told
        self._told: List[Dict[str, Any]] = []

    def join(self, fingerprint: Mapping[str, str]) -> None:
        """Compare what rewards depend on with the other workers of a storage.

        Raises:
            ValueError: They search something else, as another supernet.
        """
        if self._shared is not None:
            self._shared.join(fingerprint)

    def ask(self) -> List[Bits]:
        """Ask the sampler for the masks of the next step."""
        if self._shared is None:
            self._trials = [self.study.ask() for _ in range(self.masks_per_step)]
            return [self._suggest(trial) for trial in self._trials]
        self._trials = self._shared.ask(self.masks_per_step)
        with self._shared.one_line_errors('give another study_name'):
            return [self._suggest(trial) for trial in self._trials]

    def _suggest(self, trial: Any) -> Bits:
        names = [f'bit_{bit}' for bit in range(self.num_bits)]
        if self.sampler == 'cmaes':  # it knows no categories
            return tuple(trial.suggest_int(name, 0, 1) for name in names)
        return tuple(trial.suggest_categorical(name, (0, 1)) for name in names)

    def tell(
        self, masks: Masks, rewards: Values, metrics: Optional[Values] = None
    ) -> Dict[str, float]:
        """Tell the study the rewards of the masks that :meth:`ask` returned.

        Args:
            masks: The masks, in the order in which they were returned.
            rewards: Their rewards.
            metrics: The metric of each, in percent; ``'nsgaii'`` needs it.

        Returns:
            Nothing: there is no loss here.

        Raises:
            ValueError: ``'nsgaii'`` gets no metrics.
        """
        if self.sampler != 'nsgaii':
            values = [[float(reward)] for reward in rewards]
        elif metrics is None:
            raise EANError("sampler='nsgaii' needs the metric of each mask; none given")
        else:
            costs = [sum(mask) / self.num_bits for mask in masks]
            values = [[float(metric), cost] for metric, cost in zip(metrics, costs)]
        self._tell_study(masks, values)
        return super().tell(masks, rewards, metrics)

    def _tell_study(
        self, masks: Sequence[Bits], values: Sequence[Sequence[float]]
    ) -> None:
        tell = self.study.tell if self._shared is None else self._shared.tell
        for trial, value in zip(self._trials, values):
            tell(trial, value)
        self._trials = []
        if self.storage is None:
            self._told.append(
                dict(
                    masks=torch.tensor(masks, dtype=torch.uint8),
                    values=torch.tensor(values, dtype=torch.float64),
                )
            )

    def describe(self) -> Dict[str, Any]:
        """Return the settings; the storage's address may hold a password."""
        return dict(
            super().describe(), sampler=self.sampler, study_name=self.study_name
        )

    def state_dict(self) -> Dict[str, Any]:
        """Return what was told, as tensors and numbers; a storage keeps its own."""
        return dict(super().state_dict(), told=self._told)

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`.

        Raises:
            ValueError: The sampler asks for other masks than it did.
        """
        super().load_state_dict(state)
        self._start()
        for step in state['told']:
            # Optuna's samplers hide what they have learned in their own objects and in
            # pickled attributes of trials; doing it again needs neither.
            masks = [tuple(mask) for mask in step['masks'].tolist()]
            if self.ask() != masks:
                raise EANError(
                    'the search cannot be resumed: this version of Optuna does not '
                    'repeat its masks; use the version that it was started with'
                )
            self._tell_study(masks, step['values'].tolist())
