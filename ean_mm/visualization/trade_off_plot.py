"""Draw what masks cost and what they gain."""

from typing import List, Sequence

from matplotlib.figure import Figure

from ean_mm.visualization.style import INK, PLAIN, PLUGGED, tidy, whole_numbers


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> List[int]:
    """Find the points that no other point beats.

    Args:
        costs: What each point costs; less is better.
        values: What each point is worth; more is better.

    Returns:
        Indices of the front, by rising cost: each is worth more than all that cost as
        much or less. Of equal points the first counts.
    """
    front: List[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i], i)):
        if not front or values[index] > values[front[-1]]:
            front.append(index)
    return front


def draw_trade_off(
    costs: Sequence[float],
    metrics: Sequence[float],
    marked: int,
    cost_label: str,
    metric_label: str,
    label: str = 'chosen mask',
) -> Figure:
    """Draw all evaluated masks in the plane of cost and metric.

    Args:
        costs: What each mask costs, as its number of blocks with attention.
        metrics: For each mask the metric.
        marked: Index of the mask to mark.
        cost_label: What the costs are.
        metric_label: What the metrics are.
        label: What to call the marked mask.

    Returns:
        A figure with the Pareto front drawn through the masks.
    """
    front = pareto_front(costs, metrics)
    figure = Figure(figsize=(10, 4.8), layout='constrained')
    ax = figure.subplots()
    ax.scatter(costs, metrics, s=22, color=PLAIN, label='masks evaluated')
    ax.plot(
        [costs[index] for index in front],
        [metrics[index] for index in front],
        color=INK,
        lw=1.2,
        marker='o',
        ms=5,
        drawstyle='steps-post',
        label='Pareto front',
    )
    ax.scatter(
        [costs[marked]],
        [metrics[marked]],
        s=130,
        marker='D',
        color=PLUGGED,
        edgecolors='white',
        zorder=3,
        label=label,
    )
    tidy(ax, ylabel=metric_label)
    ax.set_xlabel(cost_label)
    if all(float(cost).is_integer() for cost in costs):
        ax.xaxis.set_major_locator(whole_numbers())
    ax.margins(x=0.06, y=0.1)
    figure.legend(loc='outside upper center', ncols=3, frameon=False)
    return figure
