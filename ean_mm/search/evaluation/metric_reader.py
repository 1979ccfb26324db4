"""Read the metric of the reward out of what evaluators report, or do not."""

import math
from dataclasses import replace
from typing import Any, Iterable, List

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.reward import Reward

SILENT = dict(
    CocoMetric=('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l'),
    LVISMetric=('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf'),
)
"""metrics of mmdet that report nothing where nothing was detected, and what else"""


class MetricReader:
    """Says what a mask's metric is in percent, also where there is none.

    mmdet's ``CocoMetric`` reports nothing of a mask that detects nothing, and a mean
    over classes may have nothing to count. Such a mask has the worst value, 0, if the
    metric is known to exist: other masks have it, or the evaluator is one that is known
    to be silent at times. Where lower is better there is no worst value to take.

    Args:
        reward: The reward.
        evaluator: The evaluator of masks, None if there is none.
    """

    def __init__(self, reward: Reward, evaluator: Any = None) -> None:
        self.reward = reward
        # A loop of the host's may put something before the name, as 'teacher/'.
        self.expected = f'/{reward.metric}'.endswith(
            tuple(f'/{name}' for name in silent_names(evaluator))
        )
        """whether the evaluator has the metric, by its name, and may be silent of it"""
        self.known = False
        """whether any mask has the metric"""

    def read(self, measurements: Iterable[Measurement]) -> List[Measurement]:
        """Complete measurements by the metric in percent.

        Raises:
            ValueError: The metric is missing or not finite, and no mask has it.
        """
        measurements = list(measurements)
        self.known = self.known or any(map(self._reports, measurements))
        return [self._completed(each) for each in measurements]

    def _reports(self, measurement: Measurement) -> bool:
        if measurement.diverged or measurement.unreported:
            return False
        return measurement.percent is not None or not self._is_silent(measurement)

    def _is_silent(self, measurement: Measurement) -> bool:
        value = measurement.metrics.get(self.reward.metric, math.nan)
        try:
            return math.isnan(float(value))
        except (TypeError, ValueError):
            return False

    def _completed(self, measurement: Measurement) -> Measurement:
        if measurement.diverged:
            return replace(measurement, percent=0.0)
        if measurement.percent is not None:
            return measurement
        if self._is_silent(measurement) and self.reward.weight >= 0:
            nothing = self.reward.metric not in measurement.metrics
            if self.known or (nothing and self.expected):
                return replace(measurement, percent=0.0, unreported=True)
        # which says what is wrong
        return replace(measurement, percent=self.reward.percent(measurement.metrics))


def silent_names(evaluator: Any) -> List[str]:
    """Name what metrics report that report nothing at times."""
    names = []
    for metric in getattr(evaluator, 'metrics', None) or []:
        for kind in type(metric).__mro__:
            if kind.__name__ in SILENT:
                items = metric.metric_items or SILENT[kind.__name__]
                prefix = f'{metric.prefix}/' if metric.prefix else ''
                names += [
                    f'{prefix}{task}_{item}'
                    for task in metric.metrics
                    for item in items
                ]
                break
    return names
