"""Free energy, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor

if TYPE_CHECKING:
    from fastnn.unsupervised.rbm import RBM

# Rows at a time: (rows, hidden) stays in cache while unit after unit is flipped.
_ROWS = 512
# Threshold from which softplus is the identity: beyond float64's last digit, unlike PyTorch's 20.
_THRESHOLD = 40.0


def _softplus(x: Tensor) -> Tensor:
    return _core.softplus(x, 1.0, _THRESHOLD)


def free_energy(rbm: RBM, v: Tensor) -> Tensor:
    """Return the free energy of rows."""
    hidden = _softplus(_core.linear(v, rbm.weight, rbm.hidden_bias)).sum(1)
    if rbm.visible == "gaussian":
        return 0.5 * (v - rbm.visible_bias).square().sum(1) - hidden
    return -(v @ rbm.visible_bias) - hidden


def pseudo_likelihood(rbm: RBM, rows: NDArray[Any], flipped: NDArray[np.int64]) -> NDArray[Any]:
    """Return the sum over the flipped units, scaled to all of them.

    Flipping unit i moves the hidden units' inputs by a multiple of column i of the weights, so no product is needed.
    """
    columns = rbm.weight.t().contiguous()
    biases = rbm.visible_bias.detach().numpy()
    result = np.zeros(len(rows), np.float64)
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        inputs = _core.linear(part, rbm.weight, rbm.hidden_bias)
        before = _softplus(inputs).sum(1).numpy().astype(np.float64)
        for unit in flipped.tolist():
            change = 1 - 2 * part[:, unit : unit + 1]
            moved = inputs + _core.from_numpy(change) * columns[unit]
            after = _softplus(moved).sum(1).numpy()
            # F(flipped) - F(v)
            rise = before - after - float(biases[unit]) * change[:, 0]
            result[first : first + _ROWS] -= np.logaddexp(0.0, -rise)
    return (result * (rbm.n_visible / len(flipped))).astype(rows.dtype)
