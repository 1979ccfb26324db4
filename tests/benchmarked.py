"""Networks of the benchmark of inference times."""

from argparse import Namespace

from benchmark_networks import list_networks


def by_label(**changes):
    """Return the networks that the benchmark's options name."""
    options = dict(depth=50, attention=['SE', 'SGE'], masks=[], references=[])
    networks = list_networks(Namespace(**{**options, **changes}))
    return {network.label: network for network in networks}
