"""A training step under pytest-benchmark: ours and every peer installed, a group a net.

`python -m benches` times the same candidates interleaved, which is fairer on a machine whose speed drifts.
"""

from __future__ import annotations

from typing import Any

import pytest

from benches import kernels, nets

SMALL = [net for net in nets.NETS if net.name in {"iris", "narrow", "rl", "mnist"}]
CANDIDATES = {**nets.OURS, **nets.installed_peers()}


@pytest.mark.parametrize("net", SMALL, ids=lambda net: net.name)
@pytest.mark.parametrize("name", CANDIDATES)
def test_step(benchmark: Any, net: nets.Net, name: str) -> None:
    benchmark.group = f"step {net.name}"
    problem = nets.Problem.make(net)
    first = CANDIDATES[name](problem)()
    assert first == pytest.approx(nets.fastnn_planned(problem)(), rel=2e-3)
    benchmark(CANDIDATES[name](problem))


@pytest.mark.parametrize("row", kernels.rows()[:1] + kernels.rows()[2:], ids=lambda row: row.name)
def test_kernel(benchmark: Any, row: kernels.Row) -> None:
    benchmark.group = row.name
    benchmark(row.ours())
