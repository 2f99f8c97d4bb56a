"""A network that is trained within a second, in place of the default of a report."""

from sbnn import SparseBottleneckRegressor
from sbnn.models.schedules import get_schedule


def short_network(n_cells):
    """Stand for `default_network`: two small networks, a tenth of the epochs."""
    schedule = get_schedule("fast").shortened(0.1)
    return SparseBottleneckRegressor(schedule=schedule, hidden=(8, 4), n_networks=2)


def shorten(monkeypatch):
    """Let reports take short networks; linear models stay in this process."""
    monkeypatch.setattr("sbnn.reporting.contest.default_network", short_network)
