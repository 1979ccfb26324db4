"""Records of what was timed: medians, and ratios of paired times with intervals."""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from benchmark_networks import TimedNetwork
from benchmark_report import Record

RESAMPLES = 2000


@dataclass(frozen=True)
class Setting:
    """What the networks of a round have in common."""

    deployed: bool
    memory_format: str
    batch: int
    threads: int
    training: bool = False
    runtime: str = 'torch'
    precision: str = 'f32'

    def __str__(self) -> str:
        form = 'deployed' if self.deployed else 'as trained'
        if self.training:
            form = 'training' if self.precision == 'f32' else 'training in bfloat16'
        threads = f'{self.threads} thread{"s" * (self.threads > 1)}'
        if self.runtime != 'torch':
            return f'{self.runtime}, {self.precision}, batch {self.batch}, {threads}'
        layout = self.memory_format.replace('_', ' ')
        return f'{form}, {layout}, batch {self.batch}, {threads}'


def paired_ratio(
    times: Sequence[float], others: Sequence[float], rng: np.random.Generator
) -> Tuple[float, List[float]]:
    """Return the median of the rounds' ratios and its 95 % bootstrap interval."""
    ratios = np.asarray(times) / np.asarray(others)
    samples = rng.choice(ratios, (RESAMPLES, len(ratios)))
    interval = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(np.median(ratios)), interval.tolist()


def make_records(
    times: Dict[TimedNetwork, Sequence[float]],
    setting: Setting,
    repeat: int,
    rng: np.random.Generator,
) -> List[Record]:
    """Make a record of each network from its milliseconds, round by round."""
    plain = {network.source: network for network in times if not network.attention}
    records = []
    for network, own in times.items():
        record = dict(label=network.label, **vars(network), setting=str(setting))
        del record['build']
        record.update(vars(setting), repeat=repeat)
        if network.is_reference and not setting.training:
            record.update(deployed=False, memory_format='contiguous')
        record['median_ms'] = float(np.median(own))
        record['quartiles_ms'] = np.percentile(own, [25, 75]).tolist()
        record['rti'] = record['rti_interval'] = None
        if network.attention:
            ratio, interval = paired_ratio(own, times[plain[network.source]], rng)
            record['rti'] = 100 * (ratio - 1)
            record['rti_interval'] = [100 * (bound - 1) for bound in interval]
        record['ratio_to'] = {
            other.label: dict(
                zip(('ratio', 'interval'), paired_ratio(own, theirs, rng))
            )
            for other, theirs in times.items()
            if other.source == 'mmpretrain'
        }
        record['times_ms'] = [round(float(x), 4) for x in own]
        records.append(record)
    return records
