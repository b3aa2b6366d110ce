"""Is it the data?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnostics.report import Check, graded

# Root mean square of a feature, and the ratio of the greatest to the smaller ones, from which it is odd and bad.
_SIZE = (10.0, 100.0)
_RATIO = (100.0, 1000.0)
_IMBALANCE = (10.0, 100.0)
_STANDARDIZE = "standardize the features to mean 0 and deviation 1, with the training set's statistics (StandardScaler)"


def data_checks(x: NDArray[Any], y: NDArray[Any]) -> list[Check]:
    """Check that the data are finite and vary, and how they are scaled and balanced."""
    finite = _finite(x, y)
    if finite.verdict != "ok":
        return [finite]
    columns = x.reshape(len(x), -1).astype(np.float64)
    labels = y.dtype.kind in "iub" or bool(np.isin(y, (0, 1)).all())
    return [finite, _constant(columns), _scale(columns), _balance(y) if labels else _target_scale(y)]


def _finite(x: NDArray[Any], y: NDArray[Any]) -> Check:
    bad = [int((~np.isfinite(a.reshape(len(a), -1))).any(axis=1).sum()) for a in (x, y)]
    return Check(
        "data finite",
        "problem" if any(bad) else "ok",
        f"{bad[0]} rows of x, {bad[1]} of y are not",
        "none",
        "remove or impute the rows with NaN or infinity" if any(bad) else "",
        float(sum(bad)),
    )


def _constant(columns: NDArray[np.float64]) -> Check:
    constant = (np.ptp(columns, axis=0) == 0) & (len(columns) > 1)
    # Pixels at the margin are 0 in every image, and do no harm; a constant of another value is a second bias.
    harmful = constant & (columns[:1] != 0).ravel()
    every = bool(constant.all())
    some = bool(harmful.any())
    return Check(
        "constant features",
        "problem" if every else "warning" if some else "ok",
        f"{int(constant.sum())} of {columns.shape[1]}, {int(harmful.sum())} of them not 0",
        "none but zeros",
        "drop features that are the same in every row, and see whether x was filled as intended"
        if every or some
        else "",
        float(harmful.sum()),
    )


def _scale(columns: NDArray[np.float64]) -> Check:
    sizes = np.sqrt(np.square(columns).mean(axis=0))
    spread = columns.std(axis=0)
    varying = spread > 0
    if not varying.any():
        return Check("feature scale", "ok", "no feature varies", "rms near 1")
    lower = float(np.quantile(spread[varying], 0.25, method="lower"))
    # A large mean hides the variation as a large scale does; small features only learn slowly.
    size = float(sizes[varying].max())
    ratio = float(spread.max()) / lower
    small = 1 / max(size, 1e-300)
    verdicts = [graded(size, *_SIZE), graded(ratio, *_RATIO), graded(small, *_RATIO)]
    verdict = max(verdicts, key=("ok", "warning", "problem").index)
    return Check(
        "feature scale",
        verdict,
        f"greatest rms {size:.3g}, spread differs {ratio:.3g}-fold",
        f"rms near 1, at most {_SIZE[0]:g}; spread at most {_RATIO[0]:g}-fold",
        "" if verdict == "ok" else _STANDARDIZE,
        size,
    )


def _balance(y: NDArray[Any]) -> Check:
    # Two dimensions are one-hot or several labels a row. Labels below 0 are those that a loss ignores.
    by_column = y.ndim == 2 and y.shape[-1] > 1
    counts = (y != 0).sum(axis=0) if by_column else np.unique(y[y >= 0], return_counts=True)[1]
    counts = counts[counts > 0]
    ratio = float(counts.max() / counts.min()) if len(counts) > 1 else float("inf")
    verdict = "problem" if len(counts) < 2 else graded(ratio, *_IMBALANCE)
    return Check(
        "label balance",
        verdict,
        f"{len(counts)} classes, the most frequent {ratio:.3g} times the rarest"
        if len(counts) > 1
        else "a single class",
        f"at most {_IMBALANCE[0]:g} times",
        ""
        if verdict == "ok"
        else "weight the classes in the loss (weight, pos_weight), sample evenly, and judge by more than accuracy",
        ratio,
    )


def _target_scale(y: NDArray[Any]) -> Check:
    columns = y.reshape(len(y), -1).astype(np.float64)
    spread = columns.std(axis=0)
    greatest, least = float(spread.max()), float(spread.min())
    verdict = "problem" if greatest == 0 else graded(max(greatest, 1 / greatest), *_SIZE)
    return Check(
        "target scale",
        verdict,
        f"deviation {least:.3g} to {greatest:.3g}" if columns.shape[1] > 1 else f"deviation {greatest:.3g}",
        f"near 1, from {1 / _SIZE[0]:g} to {_SIZE[0]:g}",
        "" if verdict == "ok" else "scale the targets to mean 0 and deviation 1, and scale the predictions back",
        greatest,
    )
