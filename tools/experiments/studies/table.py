"""The runs of a table: the networks of a protocol in all variants."""

import copy
import math
from functools import cache
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
from mmengine.config import Config

from ean_mm.errors import EANError
from ean_mm.launch import add_hook, check, load_config
from ean_mm.mask import Mask
from studies.protocols import PROTOCOLS, TableNetwork
from studies.results import Results
from studies.run import LOG_KEYS, RESULT_KEYS, SEARCH, Run

PLAIN_NETWORK = 'plain'
UNSHARED = 'unshared everywhere'
SHARED = 'shared everywhere'
SEARCHED = 'searched mask'
RANDOM = 'random mask'
VARIANTS = {
    variant.partition(' ')[0]: variant
    for variant in (PLAIN_NETWORK, UNSHARED, SHARED, SEARCHED, RANDOM)
}
"""the variants by their short names"""


class Table:
    """The networks of a protocol, in all variants, with some seeds.

    Args:
        protocol: Name of the protocol.
        networks: Names of its networks to train; None for all.
        attentions: Names of the attentions to plug in; None for all.
        seeds: Seeds of the trainings.
        random_masks: Random masks for every searched one.
        variants: Short names of the variants to train; None for all.
        options: What to override in every config, dotted names to values.
        search_options: What to override in the configs of searches.
        data_root: Folder to read every data set from; None for the configs'.

    Raises:
        ValueError: The protocol has no such network or variant, or none of its networks
            has the attention.
    """

    def __init__(
        self,
        protocol: str,
        networks: Optional[Sequence[str]] = None,
        attentions: Optional[Sequence[str]] = None,
        seeds: Sequence[int] = (0, 1, 2),
        random_masks: int = 3,
        variants: Optional[Sequence[str]] = None,
        options: Optional[Dict[str, Any]] = None,
        search_options: Optional[Dict[str, Any]] = None,
        data_root: Optional[str] = None,
    ) -> None:
        self.name = protocol
        self.protocol = PROTOCOLS[protocol]
        known = self.protocol.networks
        self.networks = {
            name: known[name] for name in known_names(networks, known, 'network')
        }
        all_attentions = dict.fromkeys(
            name for network in self.networks.values() for name in network.attentions
        )
        self.attentions = known_names(attentions, all_attentions, 'attention')
        self.seeds = list(seeds)
        self.random_masks = random_masks
        self.variants = {
            VARIANTS[name] for name in known_names(variants, VARIANTS, 'variant')
        }
        if self.variants & {SEARCHED, RANDOM}:
            self.variants.add(SEARCH)
        self._options = options or {}
        self._search_options = search_options or {}
        self._data_root = data_root
        self.options = _as_text(self._options, self._search_options)
        self._runs: Dict[Any, Run] = {}

    def runs(self, results: Results) -> Iterator[Run]:
        """Yield the runs whose mask is known, a seed after the other.

        Args:
            results: What is done already, the searches among it.
        """
        for run in self._all_runs(results):
            if run.variant.partition(' #')[0] in self.variants:
                yield run

    def _all_runs(self, results: Results) -> Iterator[Run]:
        done = results.by_hash()
        for seed in self.seeds:
            for name, network in self.networks.items():
                yield self.run(name, 'none', PLAIN_NETWORK, seed, 'none')
                for attention in self._attentions_of(network):
                    mask = None
                    if network.search is None:
                        mask = self._given_mask(network)
                    else:
                        search = self.run(name, attention, SEARCH, seed)
                        yield search
                        if search.hash in done:
                            mask = read_mask(done[search.hash]['mask'])
                    yield self.run(name, attention, UNSHARED, seed, 'all')
                    yield self.run(name, attention, SHARED, seed, 'all')
                    if mask is None:
                        continue
                    yield self.run(name, attention, SEARCHED, seed, mask_text(mask))
                    others = random_masks(mask, self.random_masks, seed)
                    for number, other in enumerate(others, 1):
                        variant = f'{RANDOM} #{number}'
                        yield self.run(name, attention, variant, seed, mask_text(other))

    def __len__(self) -> int:
        """Number of its runs, if there are as many random masks as asked for."""
        numbers = {PLAIN_NETWORK: 0, RANDOM: self.random_masks}
        of_attention = sum(numbers.get(v, 1) for v in self.variants - {SEARCH})
        return len(self.seeds) * sum(
            (PLAIN_NETWORK in self.variants)
            + len(self._attentions_of(network))
            * (of_attention + (network.search is not None and SEARCH in self.variants))
            for network in self.networks.values()
        )

    def check(self) -> None:
        """Check that the data are there.

        Raises:
            ValueError: A folder is missing.
        """
        for name in self.networks:
            run = self.run(name, 'none', PLAIN_NETWORK, self.seeds[0], 'none')
            check(run.cfg, ('train_dataloader', 'test_dataloader'))

    def run(
        self, network: str, attention: str, variant: str, seed: int, mask: str = ''
    ) -> Run:
        """Return a run of the table, or of another mask by the same protocol."""
        key = network, attention, variant, seed, mask
        if key not in self._runs:
            task = self.networks[network]
            self._runs[key] = Run(
                self.name,
                self.options,
                *key,
                metric=task.metric,
                to_percent=task.to_percent,
                cfg=self._config(*key),
                others={
                    name: value
                    for name, value in self._overrides(variant).items()
                    if name.partition('.')[0] not in RESULT_KEYS
                    and not name.startswith(LOG_KEYS)
                },
            )
        return self._runs[key]

    def _overrides(self, variant: str) -> Dict[str, Any]:
        if variant == SEARCH:
            return {**self._options, **self._search_options}
        return self._options

    def _attentions_of(self, network: TableNetwork) -> List[str]:
        return [name for name in self.attentions if name in network.attentions]

    def _given_mask(self, network: TableNetwork) -> Mask:
        cfg = _load(network.config, self._data_root)
        return Mask.from_file(cfg.model.backbone.mask)

    def _config(
        self, network: str, attention: str, variant: str, seed: int, mask: str
    ) -> Config:
        task, searches = self.networks[network], variant == SEARCH
        source = task.search if searches else task.config
        assert source is not None  # no search, no run of one
        cfg = _load(source, self._data_root)
        epochs = self.protocol.epochs
        if searches:
            epochs = self.protocol.supernet_epochs
        if epochs is not None:
            _set_epochs(cfg, epochs)
        if self.protocol.images_per_class is not None:
            _use_part(cfg, self.protocol.images_per_class)
        if self.protocol.test_images_per_class is not None:
            cfg.test_dataloader.dataset = part_of(
                cfg.test_dataloader.dataset, self.protocol.test_images_per_class
            )
        cfg.merge_from_dict({**task.options, **self.protocol.options})
        cfg.model.backbone.attention = task.attentions.get(attention)
        if not searches:
            cfg.model.backbone.mask = mask
            cfg.model.backbone.share = 'block' if variant == UNSHARED else 'stage'
        cfg.merge_from_dict(self._overrides(variant))
        if not searches:
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.randomness = dict(seed=seed)
        # A run that was killed begins again, so that it needs no exact resuming, and
        # mmengine's hook leaves the random numbers as the results' rows had them.
        cfg.default_hooks.checkpoint.update(
            type='CheckpointHook',
            interval=-1,  # only the last one
            save_optimizer=False,
            save_param_scheduler=False,
        )
        add_hook(cfg, 'ChannelsLastHook')
        return cfg


def random_masks(mask: Mask, number: int, seed: int) -> List[Mask]:
    """Draw masks with as many bits set as a mask has, all different from it.

    Args:
        mask: The mask.
        number: How many masks to draw; fewer if there are not as many.
        seed: Seed of the draws.
    """
    blocks, plugged = len(mask.bits), mask.num_connections
    rng = np.random.default_rng(seed)
    masks = {mask: None}  # in the order of the draws
    while len(masks) < min(1 + number, math.comb(blocks, plugged)):
        bits = np.zeros(blocks, int)
        bits[rng.choice(blocks, plugged, replace=False)] = 1
        masks[Mask(tuple(bits), mask.stage_blocks)] = None
    return list(masks)[1:]


def mask_text(mask: Mask) -> str:
    """Write a mask for a run, whose hash must not depend on how it was come by."""
    return {0: 'none', len(mask.bits): 'all'}.get(mask.num_connections, str(mask))


def read_mask(text: str) -> Mask:
    """Read a mask that is written with dashes between the stages."""
    return Mask.parse(text, tuple(map(len, text.split('-'))))


def known_names(
    names: Optional[Sequence[str]], known: Dict[str, Any], what: str
) -> List[str]:
    """Return the names that are chosen, once each; all of the known for None.

    Raises:
        ValueError: One is not known.
    """
    for name in names or ():
        if name not in known:
            raise EANError(
                f'the protocol has no {what} {name!r}; it has {", ".join(known)}'
            )
    return list(known) if names is None else list(dict.fromkeys(names))


def _load(path: str, data_root: Optional[str]) -> Config:
    return copy.deepcopy(_load_once(path, data_root))


@cache
def _load_once(path: str, data_root: Optional[str]) -> Config:
    """Read a config of this package; one of mmdet's takes a quarter of a second."""
    return load_config(f'ean_mm::{path}', None, data_root)


def _set_epochs(cfg: Config, epochs: int) -> None:
    """Train for another number of epochs, the learning rate's schedule to scale."""
    factor = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    schedulers = cfg.param_scheduler
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        scheduler['milestones'] = [round(m * factor) for m in scheduler['milestones']]


def _use_part(cfg: Config, images_per_class: int) -> None:
    """Use a part of the training set, of which a search holds out a part in turn."""
    for loader in ('train_dataloader', 'val_dataloader'):
        split = cfg[loader].dataset
        if split.type == 'HeldOutSplit':
            split.dataset = part_of(split.dataset, images_per_class)
        elif loader == 'train_dataloader':
            cfg[loader].dataset = part_of(split, images_per_class)


def part_of(dataset: Dict[str, Any], images_per_class: int) -> Dict[str, Any]:
    """Return the config of a part of a data set."""
    return dict(
        type='HeldOutSplit',
        held_out=True,
        num_per_class=images_per_class,
        dataset=dataset,
    )


def _as_text(options: Dict[str, Any], search_options: Dict[str, Any]) -> str:
    items = [*options.items(), *(('search ' + k, v) for k, v in search_options.items())]
    return ' '.join(f'{key}={value}' for key, value in items)
