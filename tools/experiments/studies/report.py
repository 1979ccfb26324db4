"""What a table of results says: statistics, as Markdown for the documentation."""

import statistics
from typing import Dict, Iterable, List

from studies.report_text import (
    COLUMNS,
    CONFIDENCE,
    effort,
    markdown_table,
    span,
    verdict,
    with_deviation,
    with_interval,
)
from studies.results import Results, Row
from studies.run import SEARCH
from studies.table import (
    PLAIN_NETWORK,
    RANDOM,
    SEARCHED,
    SHARED,
    UNSHARED,
    VARIANTS,
    read_mask,
)

ALL = 'all together'


class NetworkReport:
    """The statistics of a network in all variants.

    The value of random masks for a seed is the mean over that seed's random masks.

    Args:
        name: Name of the network.
        rows: The latest row of each of its runs.
    """

    def __init__(self, name: str, rows: Iterable[Row]) -> None:
        self.name = name
        self.searches, self.trained = [], []
        for row in rows:
            variant = row['variant'].partition(' #')[0]
            if variant == SEARCH:
                self.searches.append(row)
            elif variant in VARIANTS.values():
                self.trained.append(dict(row, variant=variant))
        self.attentions = list(dict.fromkeys(row['attention'] for row in self.trained))
        if 'none' in self.attentions:
            self.attentions.remove('none')
        self.metric = self.trained[0]['metric'] if self.trained else ''

    def rows_of(self, attention: str, variant: str) -> List[Row]:
        """Return the rows of a variant; the plain network is every attention's."""
        attention = 'none' if variant == PLAIN_NETWORK else attention
        return [
            row
            for row in self.trained
            if (row['attention'], row['variant']) == (attention, variant)
        ]

    def by_seed(self, attention: str, variant: str, column: str) -> Dict[int, float]:
        """Return a variant's value for each seed."""
        values: Dict[int, List[float]] = {}
        for row in self.rows_of(attention, variant):
            values.setdefault(row['seed'], []).append(row[column])
        return {seed: statistics.fmean(values[seed]) for seed in sorted(values)}

    def differences(self, attention: str, variant: str, column: str) -> List[float]:
        """Return the searched mask's value minus another variant's, seed by seed.

        Args:
            attention: Name of the attention, or ``ALL`` for the pairs of all of them.
                Those with the plain network, which attentions share, and parameters,
                which differ by the attention, are not pooled.
            variant: The other variant.
            column: What to compare.
        """
        if attention == ALL:
            if variant == PLAIN_NETWORK or column == 'parameters':
                return []
            pairs = (self.differences(one, variant, column) for one in self.attentions)
            return [difference for of_one in pairs for difference in of_one]
        searched = self.by_seed(attention, SEARCHED, column)
        others = self.by_seed(attention, variant, column)
        return [searched[seed] - others[seed] for seed in searched if seed in others]

    def _compared(self) -> List[str]:
        return self.attentions + [ALL] * (len(self.attentions) > 1)

    def markdown(self) -> str:
        """Write how it was measured, each variant, the differences and the masks."""
        parts = [
            f'**{self.name}**. {self._setting()}',
            self._variants(),
            'The searched mask minus the others, paired by seed (random masks: minus '
            f'the mean of the same seed), with {CONFIDENCE:.0%} confidence intervals:',
            self._differences(),
            'Masks that were searched, by seed:',
            self._masks(),
            'What the paper claims, and what the differences above say of it:',
            self.claims(),
        ]
        return '\n\n'.join(part for part in parts if part)

    def claims(self) -> str:
        """Say of the paper's claims on accuracy and parameters what the rows show."""
        lines = []
        for variant, claim in (
            (RANDOM, 'The search finds better masks than chance'),
            (UNSHARED, 'The searched mask keeps the accuracy of usual attention'),
            (PLAIN_NETWORK, 'It is more accurate than the plain network'),
        ):
            shown = [
                f'{attention} {with_interval(differences, "percent")} points, '
                f'{verdict(differences)}'
                for attention in self._compared()
                if (differences := self.differences(attention, variant, 'percent'))
            ]
            if shown:
                lines.append(f'- {claim} (searched - {variant}): {"; ".join(shown)}.')
        added = [
            f'{attention} {shares[SEARCHED]:,.0f} instead of {shares[UNSHARED]:,.0f}'
            for attention in self.attentions
            if len(shares := self._added_parameters(attention)) == 2
        ]
        if added:
            lines.append(
                '- It needs fewer parameters than usual attention (what is added to '
                f'the plain network): {"; ".join(added)}.'
            )
        return '\n'.join(lines)

    def _added_parameters(self, attention: str) -> Dict[str, float]:
        """Return how many parameters attention adds, searched and unshared."""
        means = {
            variant: statistics.fmean(values)
            for variant in (PLAIN_NETWORK, SEARCHED, UNSHARED)
            if (values := self.by_seed(attention, variant, 'parameters').values())
        }
        plain = means.pop(PLAIN_NETWORK, None)
        return {} if plain is None else {v: means[v] - plain for v in means}

    def summary(self) -> List[List[str]]:
        """Return a line of cells for each attention."""
        return [
            [
                self.name,
                attention,
                *(
                    with_deviation(
                        self.by_seed(attention, variant, 'percent').values(), 'percent'
                    )
                    for variant in VARIANTS.values()
                ),
                with_interval(
                    self.differences(attention, RANDOM, 'percent'), 'percent'
                ),
            ]
            for attention in self.attentions
        ]

    def _setting(self) -> str:
        epochs = ''
        if any(row['epochs'] for row in self.trained):  # a loop of epochs counts them
            epochs = f' ({span(self.trained, "epochs")} whole epochs)'
        text = (
            f'Trained on {span(self.trained, "train_images")} images for '
            f'{span(self.trained, "iterations")} iterations{epochs}, tested on '
            f'{span(self.trained, "test_images")} (`{self.metric}`, in %).'
        )
        if self.searches:
            text += (
                f' Supernets: {span(self.searches, "iterations")} iterations on '
                f'{span(self.searches, "train_images")} of the training images, '
                f'masks rewarded on the other {span(self.searches, "test_images")}.'
            )
        return f'{text} {effort(self.trained + self.searches)}'

    def _variants(self) -> str:
        lines = []
        for attention in ['none', *self.attentions]:
            for variant in VARIANTS.values():
                if (attention == 'none') != (variant == PLAIN_NETWORK):
                    continue
                rows = self.rows_of(attention, variant)
                if not rows:
                    continue
                cells = [
                    with_deviation(
                        self.by_seed(attention, variant, column).values(), column
                    )
                    for column in COLUMNS
                ]
                counts = {read_mask(row['mask']).num_connections for row in rows}
                plugged = ', '.join(map(str, sorted(counts)))
                lines.append([attention, variant, str(len(rows)), *cells, plugged])
        head = ['attention', 'variant', 'networks', '%', 'parameters', 'plugged blocks']
        return markdown_table(head, lines)

    def _differences(self) -> str:
        lines = []
        for attention in self._compared():
            for variant in (RANDOM, PLAIN_NETWORK, UNSHARED, SHARED):
                differences = {
                    column: self.differences(attention, variant, column)
                    for column in COLUMNS
                }
                if not differences['percent']:
                    continue
                cells = [with_interval(differences[c], c) for c in COLUMNS]
                pairs = str(len(differences['percent']))
                lines.append([attention, f'searched - {variant}', pairs, *cells])
        head = ['attention', 'difference', 'pairs', 'percentage points', 'parameters']
        return markdown_table(head, lines)

    def _masks(self) -> str:
        lines = []
        for attention in self.attentions:
            masks = {
                row['seed']: row['mask'] for row in self.rows_of(attention, SEARCHED)
            }
            text = ', '.join(f'{seed}: `{masks[seed]}`' for seed in sorted(masks))
            lines.append(f'- {attention}: {text or "none yet"}')
        return '\n'.join(lines)


def table_blocks(results: Results, protocol: str, options: str = '') -> Dict[str, str]:
    """Write what the results say about a protocol.

    Args:
        results: The results.
        protocol: Name of the protocol.
        options: What the command line had overridden.

    Returns:
        The whole table and a summary, by the names of their places in a document.
    """
    by_network: Dict[str, List[Row]] = {}
    for row in results.by_label().values():
        if (row['protocol'], row['options']) == (protocol, options):
            by_network.setdefault(row['network'], []).append(row)
    reports = [NetworkReport(name, rows) for name, rows in by_network.items()]
    reports = [report for report in reports if report.trained]
    if not reports:
        nothing = 'No network has been trained yet.'
        return {protocol: nothing, f'{protocol} summary': nothing}
    head = [
        'network',
        'attention',
        *VARIANTS.values(),
        f'searched - random ({CONFIDENCE:.0%})',
    ]
    lines = [line for report in reports for line in report.summary()]
    return {
        protocol: '\n\n'.join(report.markdown() for report in reports),
        f'{protocol} summary': markdown_table(head, lines),
    }
