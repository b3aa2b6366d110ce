"""Scaling of inputs, as a part of the model: what it was fitted to is saved and loaded with the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import TensorLike, check_at_least, check_device, check_dtype, check_number, shape_of
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from typing_extensions import Self

_EPS = 2.0**-52  # of float64, in which statistics are taken
_CHUNK = 1 << 20  # elements that are widened to float64 at once


class Scaler(Module):
    """Base of scalers: checks, batches of any size, and the count of samples."""

    _name: ClassVar[str]
    _statistics: ClassVar[tuple[str, ...]]
    num_features: int
    n_samples_seen: Tensor

    def __init__(self, num_features: int, device: object, dtype: Any) -> None:
        super().__init__()
        check_at_least(self._name, "num_features", num_features, 1)
        check_device(self._name, device)
        check_dtype(self._name, dtype)
        self.num_features = num_features
        for name in self._statistics:
            self.register_buffer(name, _core.zeros(num_features, dtype=dtype))
        self.register_buffer("n_samples_seen", _core.tensor(0, dtype=_core.int64))

    def fit(self, x: TensorLike) -> Self:
        """Forget earlier data, and take the statistics of ``x``.

        Args:
            x: ``(n, num_features)``, of any number type, finite; at least one row.

        Returns:
            The scaler.

        Raises:
            ValueError: ``x`` has another shape, no rows, or a value that is not finite. Nothing has changed.
        """
        return self._take(x, "fit", None)

    def partial_fit(self, x: TensorLike) -> Self:
        """Add ``x`` to the data so far: the statistics become those of all of it.

        Args:
            x: ``(n, num_features)``, of any number type, finite; at least one row.

        Returns:
            The scaler.

        Raises:
            ValueError: ``x`` has another shape, no rows, or a value that is not finite. Nothing has changed.

        Source:
            Chan, Golub & LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115, equation 2.1, in float64.
        """
        seen = int(self.n_samples_seen.item())
        before = [self._buffer(name).to(_core.float64) for name in self._statistics]
        return self._take(x, "partial_fit", (seen, before) if seen else None)

    def _take(self, x: TensorLike, method: str, total: tuple[int, list[Tensor]] | None) -> Self:
        with no_grad():
            for rows in self._chunks(x, method):
                new = rows.shape[0], self._of(rows)
                total = new if total is None else (total[0] + new[0], self._merge(total, new))
            assert total is not None  # there is at least one chunk
            self._finish(*total)
            names = [*self._statistics, "n_samples_seen"]
            seen = _core.full_like(self.n_samples_seen, total[0])
            _core.assign(self._name, names, [self._buffer(name) for name in names], [*total[1], seen])
        return self

    def _chunks(self, x: TensorLike, method: str) -> Iterator[Tensor]:
        """Check all of ``x``, then yield it in float64, some rows at a time."""
        where, c, shape = f"{self._name}({self.num_features})", self.num_features, shape_of(x)
        if not hasattr(x, "shape"):
            raise TypeError(f"{where}: expected a tensor or an array; got {type(x).__name__}")
        if len(shape) != 2 or shape[1] != c:
            raise ValueError(f"{where}: expected input of shape (n, {c}); got {shape}")
        if shape[0] == 0:
            raise ValueError(f"{where}: expected at least 1 sample to {method}; got {shape}")
        step = max(1, _CHUNK // c)
        chunks = [slice(start, start + step) for start in range(0, shape[0], step)]
        data = _core.as_tensor(x).detach()
        for rows in chunks:
            finite = data[rows].isfinite().all(0).tolist()
            if not all(finite):
                raise ValueError(f"{where}: expected finite values; got nan or inf in feature {finite.index(False)}")
        return (data[rows].to(_core.float64) for rows in chunks)

    def _buffer(self, name: str) -> Tensor:
        return getattr(self, name)  # type: ignore[no-any-return]

    def _of(self, rows: Tensor) -> list[Tensor]:
        """Return the statistics of some rows."""
        raise NotImplementedError

    def _merge(self, a: tuple[int, list[Tensor]], b: tuple[int, list[Tensor]]) -> list[Tensor]:
        """Return the statistics of two sets of rows together."""
        raise NotImplementedError

    def _finish(self, n: int, statistics: list[Tensor]) -> None:
        """Put into the last place what follows from the others."""
        raise NotImplementedError

    def _check(self, x: TensorLike) -> None:
        where, shape = f"{self._name}({self.num_features})", shape_of(x)
        if not hasattr(x, "shape"):
            raise TypeError(f"{where}: expected a tensor or an array; got {type(x).__name__}")
        if shape[-1:] != (self.num_features,):
            raise ValueError(f"{where}: expected input of shape (*, {self.num_features}); got {shape}")
        if self.n_samples_seen._peek() == 0:
            raise ValueError(f"{where}: expected fit or partial_fit before the first use; got no samples yet")

    def _own_type(self, y: Tensor) -> Tensor:
        dtype = self._buffer("scale").dtype
        return y if y.dtype == dtype else y.to(dtype)


class StandardScaler(Scaler):
    """Give every feature mean 0 and variance 1 over the data it was fitted to::

        y = (x - mean) / scale        scale = sqrt(var), var = mean((x - mean)**2)

    A feature that is constant has ``scale`` 1, and so becomes 0.

    The layer stands at the head of a model, which then takes raw inputs. It is not trained: ``mean``, ``var``,
    ``scale`` and ``n_samples_seen`` are buffers, saved and loaded with the model, and change in :meth:`fit` and
    :meth:`partial_fit` alone. Fit it to the training data only.

    Args:
        num_features: Width of the input, at least 1.
        device: ``None`` or the CPU.
        dtype: Of the buffers and the output: float32, the default, or float64. Statistics are taken in float64.

    Shapes:
        x: ``(*, num_features)``, of any number type.
        y: The same, of ``dtype``.

    Raises:
        ValueError: ``num_features`` is out of range; ``x`` has another width; or it was never fitted.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3. Names, the biased variance, and what counts
        as constant are scikit-learn's. Keras' ``Normalization`` divides by ``max(sqrt(var), 1e-7)``.
    """

    _name = "StandardScaler"
    _statistics = ("mean", "var", "scale")
    mean: Tensor
    var: Tensor
    scale: Tensor

    def __init__(self, num_features: int, device: object = None, dtype: Any = None) -> None:
        super().__init__(num_features, device, dtype)

    def forward(self, input: TensorLike) -> Tensor:
        self._check(input)
        return self._own_type((_core.as_tensor(input) - self.mean) / self.scale)

    def inverse(self, y: TensorLike) -> Tensor:
        """Return ``x = y * scale + mean``, of which ``y`` is the scaled form.

        Args:
            y: ``(*, num_features)``.

        Raises:
            ValueError: ``y`` has another width; or the scaler was never fitted.
        """
        self._check(y)
        return self._own_type(_core.as_tensor(y) * self.scale + self.mean)

    def extra_repr(self) -> str:
        return f"{self.num_features}"

    def _of(self, rows: Tensor) -> list[Tensor]:
        return [rows.mean(0), rows.var(0, correction=0), _core.ones(self.num_features, dtype=_core.float64)]

    def _merge(self, a: tuple[int, list[Tensor]], b: tuple[int, list[Tensor]]) -> list[Tensor]:
        (n_a, (mean_a, var_a, scale)), (n_b, (mean_b, var_b, _)) = a, b
        share, delta = n_b / (n_a + n_b), mean_b - mean_a
        mean = mean_a + delta * share
        var = var_a * (1 - share) + var_b * share + delta * delta * (share * (1 - share))
        return [mean, var, scale]

    def _finish(self, n: int, statistics: list[Tensor]) -> None:
        mean, var, _ = statistics
        # The variance that rounding alone may give n equal values.
        rounding = var * (n * _EPS) + (mean * (n * _EPS)).square()
        statistics[2] = _core.where(var <= rounding, _core.ones_like(var), var.sqrt())


class MinMaxScaler(Scaler):
    """Bring every feature into a range, over the data it was fitted to::

        y = (x - data_min) * scale + low        scale = (high - low) / (data_max - data_min)

    A feature that is constant is divided by 1 instead, and so becomes ``low``. Later inputs outside the data's range
    come out outside ``feature_range``.

    The layer stands at the head of a model, which then takes raw inputs. It is not trained: ``data_min``, ``data_max``,
    ``scale`` and ``n_samples_seen`` are buffers, saved and loaded with the model, and change in :meth:`fit` and
    :meth:`partial_fit` alone. Fit it to the training data only.

    Args:
        num_features: Width of the input, at least 1.
        feature_range: ``(low, high)``, finite, ``low`` below ``high``. Not a part of the state.
        device: ``None`` or the CPU.
        dtype: Of the buffers and the output: float32, the default, or float64. Statistics are taken in float64.

    Shapes:
        x: ``(*, num_features)``, of any number type.
        y: The same, of ``dtype``.

    Raises:
        ValueError: A setting is out of range; ``x`` has another width; or it was never fitted.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Names, and what counts as constant, are scikit-learn's, which computes ``x * scale + min``: that cancels where
        the data is far from 0.
    """

    _name = "MinMaxScaler"
    _statistics = ("data_min", "data_max", "scale")
    feature_range: tuple[float, float]
    data_min: Tensor
    data_max: Tensor
    scale: Tensor

    def __init__(
        self,
        num_features: int,
        feature_range: tuple[float, float] = (0, 1),
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, device, dtype)
        if not isinstance(feature_range, tuple | list) or len(feature_range) != 2:
            raise TypeError(f"MinMaxScaler: expected feature_range to be a pair (low, high); got {feature_range!r}")
        low, high = (check_number("MinMaxScaler", "feature_range", end) for end in feature_range)
        if not low < high or math.isinf(low) or math.isinf(high):
            raise ValueError(f"MinMaxScaler: expected feature_range with low below high; got {tuple(feature_range)}")
        self.feature_range = (feature_range[0], feature_range[1])

    def forward(self, input: TensorLike) -> Tensor:
        self._check(input)
        return self._own_type((_core.as_tensor(input) - self.data_min) * self.scale + self.feature_range[0])

    def inverse(self, y: TensorLike) -> Tensor:
        """Return ``x = (y - low) / scale + data_min``, of which ``y`` is the scaled form.

        Args:
            y: ``(*, num_features)``.

        Raises:
            ValueError: ``y`` has another width; or the scaler was never fitted.
        """
        self._check(y)
        return self._own_type((_core.as_tensor(y) - self.feature_range[0]) / self.scale + self.data_min)

    def extra_repr(self) -> str:
        return f"{self.num_features}, feature_range={self.feature_range}"

    def _of(self, rows: Tensor) -> list[Tensor]:
        low = rows.amin(0)
        return [low, rows.amax(0), low]

    def _merge(self, a: tuple[int, list[Tensor]], b: tuple[int, list[Tensor]]) -> list[Tensor]:
        low = _core.minimum(a[1][0], b[1][0])
        return [low, _core.maximum(a[1][1], b[1][1]), low]

    def _finish(self, n: int, statistics: list[Tensor]) -> None:  # noqa: ARG002
        low, high, _ = statistics
        spread = high - low
        spread = _core.where(spread < 10 * _EPS, _core.ones_like(spread), spread)
        statistics[2] = (self.feature_range[1] - self.feature_range[0]) / spread
