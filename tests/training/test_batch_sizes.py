"""Numbers that do not depend on the batch size: losses of batches make that of all rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.reference import ops as ref

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

N = 17
SIZES = [1, 3, 7, N, 64]
CLASSES = 4
RNG = np.random.default_rng(5)
CLASS_WEIGHT = np.array([0.25, 3.0, 1.0, 0.0])
POS_WEIGHT = np.array([0.5, 4.0, 1.5])
SAMPLE_WEIGHT = np.where(np.arange(N) % 5 == 2, 0.0, RNG.uniform(0.1, 3.0, N))


class Case(NamedTuple):
    """A loss, data that a model without parameters passes on to it, and the loss of single elements in NumPy.

    Args:
        loss: The loss, by its reduction.
        x: Outputs.
        y: Targets.
        elements: The losses of the elements, and what each counts for in a mean.
    """

    loss: Callable[[str], Any]
    x: np.ndarray
    y: np.ndarray
    elements: tuple[np.ndarray, np.ndarray]


def labels(*inner: int, ignored: int | None = None) -> np.ndarray:
    y = RNG.integers(0, CLASSES, (N, *inner))
    if ignored is not None:
        # Among them batches in which nothing counts, and rows in which nothing does.
        y[2:7] = ignored
        y.reshape(-1)[::3] = ignored
    return y


def logits(*inner: int) -> np.ndarray:
    return RNG.normal(size=(N, CLASSES, *inner))


def cross_entropies(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, ignored: int | None, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each target, ``(n, *)``, and what it counts for in a mean."""
    rows = np.moveaxis(x, 1, -1).reshape(-1, CLASSES)
    shape = x.shape[:1] + x.shape[2:]
    if y.dtype.kind == "f":
        target = np.moveaxis(y, 1, -1).reshape(-1, CLASSES)
        return ref.cross_entropy(rows, target, weight, reduction="none", label_smoothing=smoothing).reshape(
            shape
        ), np.ones(shape)
    none = -100 if ignored is None else ignored
    each = ref.cross_entropy(rows, y.reshape(-1), weight, none, "none", smoothing).reshape(shape)
    table = np.ones(CLASSES) if weight is None else weight
    return each, np.where(y == none, 0.0, table[np.where(y == none, 0, y)])


def classes(make: Any, inner: tuple[int, ...] = (), ignored: int | None = None, **settings: Any) -> Case:
    x, y = logits(*inner), labels(*inner, ignored=ignored)
    if make in (nn.NLLLoss, F.nll_loss):
        x = ref.log_softmax(x, 1)
    elements = cross_entropies(x, y, settings.get("weight"), ignored, settings.get("label_smoothing", 0.0))
    if ignored is not None:
        settings["ignore_index"] = ignored
    return Case(lambda reduction: bound(make, reduction, **settings), x, y, elements)


def probabilities(make: Any, inner: tuple[int, ...] = (), **settings: Any) -> Case:
    x, y = logits(*inner), RNG.dirichlet(np.ones(CLASSES), (N, *inner))
    y = np.ascontiguousarray(np.moveaxis(y, -1, 1))
    elements = cross_entropies(x, y, settings.get("weight"), None, settings.get("label_smoothing", 0.0))
    return Case(lambda reduction: bound(make, reduction, **settings), x, y, elements)


def points(
    make: Any, formula: Callable[..., np.ndarray], low: float = -2.0, high: float = 2.0, **settings: Any
) -> Case:
    x, y = RNG.uniform(low, high, (N, 3)), RNG.uniform(low, high, (N, 3))
    each = formula(x, y, reduction="none", **settings)
    return Case(lambda reduction: bound(make, reduction, **settings), x, y, (each, np.ones_like(each)))


def bound(make: Any, reduction: str, **settings: Any) -> Any:
    settings = {name: fnn.tensor(value) if isinstance(value, np.ndarray) else value for name, value in settings.items()}
    if isinstance(make, type):
        return make(reduction=reduction, **settings)
    return partial(make, reduction=reduction, **settings)


CASES = {
    "cross entropy": classes(nn.CrossEntropyLoss),
    "cross entropy, ignored": classes(nn.CrossEntropyLoss, ignored=-100),
    "cross entropy, ignored class": classes(nn.CrossEntropyLoss, ignored=2, weight=CLASS_WEIGHT),
    "cross entropy, weights": classes(nn.CrossEntropyLoss, weight=CLASS_WEIGHT),
    "cross entropy, smoothing": classes(
        nn.CrossEntropyLoss, ignored=-1, weight=CLASS_WEIGHT + 0.1, label_smoothing=0.3
    ),
    "cross entropy of pixels": classes(nn.CrossEntropyLoss, (3, 2), ignored=255, weight=CLASS_WEIGHT),
    "cross entropy of probabilities": probabilities(nn.CrossEntropyLoss, weight=CLASS_WEIGHT, label_smoothing=0.2),
    "cross entropy of pixels' probabilities": probabilities(nn.CrossEntropyLoss, (2, 3), label_smoothing=0.2),
    "cross_entropy": classes(F.cross_entropy, (3,), ignored=-7, weight=CLASS_WEIGHT),
    "nll": classes(nn.NLLLoss, ignored=-100, weight=CLASS_WEIGHT),
    "nll of pixels": classes(nn.NLLLoss, (2, 2), ignored=3),
    "nll_loss": classes(F.nll_loss, ignored=1),
    "mse": points(nn.MSELoss, ref.mse_loss),
    "mse_loss": points(F.mse_loss, ref.mse_loss),
    "l1": points(nn.L1Loss, ref.l1_loss),
    "l1_loss": points(F.l1_loss, ref.l1_loss),
    "smooth l1": points(nn.SmoothL1Loss, ref.smooth_l1_loss, beta=0.7),
    "smooth_l1_loss": points(F.smooth_l1_loss, ref.smooth_l1_loss, beta=0.7),
    "huber": points(nn.HuberLoss, ref.huber_loss, delta=0.6),
    "huber_loss": points(F.huber_loss, ref.huber_loss, delta=0.6),
    "bce": points(nn.BCELoss, ref.bce, 0.05, 0.95, weight=POS_WEIGHT),
    "binary_cross_entropy": points(F.binary_cross_entropy, ref.bce, 0.05, 0.95),
    "bce with logits": points(nn.BCEWithLogitsLoss, ref.bce_with_logits, 0.0, 1.0, pos_weight=POS_WEIGHT),
    "binary_cross_entropy_with_logits": points(F.binary_cross_entropy_with_logits, ref.bce_with_logits, 0.0, 1.0),
    "kl": points(nn.KLDivLoss, ref.kl_div, 0.1, 1.0, log_target=False),
    "kl, log target": points(nn.KLDivLoss, ref.kl_div, -2.0, -0.1, log_target=True),
    "kl_div": points(F.kl_div, ref.kl_div, 0.1, 1.0, log_target=False),
}
REDUCTIONS = [(name, reduction) for name in CASES for reduction in ("mean", "sum")]
REDUCTIONS += [(name, "batchmean") for name in CASES if name.startswith("kl")]


def at_once(case: Case, reduction: str, weight: np.ndarray | None = None) -> float:
    """The loss of all rows."""
    each, counts = case.elements
    w = np.ones(N) if weight is None else weight
    w = w.reshape(-1, *[1] * (each.ndim - 1))
    total = float((each * w).sum())
    divisor = {"mean": (counts * w).sum(), "sum": 1.0, "batchmean": w.sum()}[reduction]
    return total / float(divisor)


class Passing(nn.Module):
    """Identity; a parameter is there to be trained, by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(fnn.tensor(1.0, dtype=fnn.float64))

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return x * self.scale


def trainer(loss: Any, metrics: Any = (), **settings: Any) -> fnn.Trainer:
    model = Passing()
    # The scale stays what it is, so that all batches see the same model.
    return fnn.Trainer(model, loss, optim.SGD(model.parameters(), lr=0.0), metrics, **settings)


def batches(case: Case, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(case.x[i : i + size], case.y[i : i + size]) for i in range(0, N, size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "reduction"), REDUCTIONS)
def test_the_loss_is_that_of_all_rows(name: str, reduction: str, size: int) -> None:
    case = CASES[name]
    expected = at_once(case, reduction)
    loss = case.loss(reduction)
    whole = float(loss(fnn.tensor(case.x), fnn.tensor(case.y)).item())
    assert whole == pytest.approx(expected, rel=1e-12)
    one = trainer(loss)
    found = [
        one.evaluate(case.x, case.y, batch_size=size)["loss"],
        one.evaluate(batches(case, size))["loss"],
        *one.fit(case.x, case.y, batch_size=size, epochs=2, verbose=False)["loss"],
        *one.fit(batches(case, size), epochs=2, verbose=False)["loss"],
        *one.fit(case.x, case.y, batch_size=size, augment=lambda x, y: (x, y), verbose=False)["loss"],
        *one.fit(case.x, case.y, batch_size=N, validation_data=batches(case, size), verbose=False)["val_loss"],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "reduction"), [r for r in REDUCTIONS if "_" not in r[0]])
def test_sample_weights_count_as_in_one_batch(name: str, reduction: str, size: int) -> None:
    case = CASES[name]
    one = trainer(case.loss(reduction))
    history = one.fit(case.x, case.y, batch_size=size, epochs=2, sample_weight=SAMPLE_WEIGHT, verbose=False)
    np.testing.assert_allclose(history["loss"], at_once(case, reduction, SAMPLE_WEIGHT), rtol=1e-12)


@pytest.mark.parametrize("accumulate", [2, 3, 5, N])
@pytest.mark.parametrize(("name", "reduction"), REDUCTIONS)
def test_micro_batches_have_the_gradient_of_the_batch(name: str, reduction: str, accumulate: int) -> None:
    case = CASES[name]
    x, y = case.x, case.y
    if name.startswith(("nll", "bce", "binary_cross_entropy")):
        x = 0.9 * x
    updated = []
    for parts in (1, accumulate):
        model = Passing()
        step = fnn.TrainStep(model, case.loss(reduction), optim.SGD(model.parameters(), lr=0.01), parts)
        losses = [step(x, y) for _ in range(3)]
        assert step.reason is None
        # Another batch: nothing of the first one is part of the plan.
        losses += [step(x[::-1].copy(), np.roll(y, 1, 0))]
        updated.append((losses, model.scale.item()))
    np.testing.assert_allclose(*[losses for losses, _ in updated], rtol=1e-11)
    np.testing.assert_allclose(*[scale for _, scale in updated], rtol=1e-11)


@pytest.mark.parametrize("size", SIZES)
def test_class_weights_of_a_fit(size: int) -> None:
    case = CASES["cross entropy, ignored"]
    each, counts = cross_entropies(case.x, case.y, CLASS_WEIGHT, -100, 0.0)
    # Those that are ignored count for nothing, whatever the weight of their rows.
    history = trainer(case.loss("mean")).fit(
        case.x, case.y, batch_size=size, class_weight=dict(enumerate(CLASS_WEIGHT)), verbose=False
    )
    assert history["loss"][0] == pytest.approx(each.sum() / counts.sum(), rel=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inner", [(), (3, 2)])
def test_metrics_leave_ignored_labels_out(size: int, inner: tuple[int, ...]) -> None:
    case = classes(nn.CrossEntropyLoss, inner, ignored=-3)
    one = trainer(case.loss("mean"), ["accuracy", "top_2"])
    kept = case.y != -3
    scores = np.moveaxis(case.x, 1, -1)[kept]
    ranks = (scores > np.take_along_axis(scores, case.y[kept][:, None], 1)).sum(1)
    for found in (one.evaluate(case.x, case.y, batch_size=size), one.evaluate(batches(case, size))):
        assert found["accuracy"] == pytest.approx((ranks == 0).mean())
        assert found["top_2"] == pytest.approx((ranks < 2).mean())


@pytest.mark.parametrize("size", SIZES)
def test_smoothed_labels_of_classes_of_weight_0_have_a_loss(size: int) -> None:
    case = classes(nn.CrossEntropyLoss, weight=CLASS_WEIGHT, label_smoothing=0.3)
    found = trainer(case.loss("mean")).evaluate(case.x, case.y, batch_size=size)["loss"]
    assert found == pytest.approx(at_once(case, "mean"), rel=1e-12)


def test_nothing_but_ignored_labels_is_nan() -> None:
    one = trainer(nn.CrossEntropyLoss(), ["accuracy", "top_2"])
    found = one.evaluate(logits(), np.full(N, -100))
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize("given", ["arrays", "batches", "function"])
@pytest.mark.parametrize("on_nonfinite", ["raise", "stop", "ignore"])
def test_a_batch_in_which_nothing_counts_is_passed_over(on_nonfinite: str, given: str) -> None:
    y = labels()
    y[3:9] = -100
    x = logits()
    history: list[list[float]] = []
    for skip in (False, True):
        fnn.manual_seed(0)
        model = nn.Linear(CLASSES, CLASSES).double()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        loss, kept = nn.CrossEntropyLoss(), np.r_[0:3, 9:N] if skip else np.arange(N)
        one = fnn.Trainer(model, loss, optimizer, on_nonfinite=on_nonfinite)  # type: ignore[arg-type]
        inputs, targets = x[kept], y[kept]
        if given == "batches":
            parts = [(inputs[i : i + 3], targets[i : i + 3]) for i in range(0, len(kept), 3)]
            history.append(one.fit(parts, epochs=3, verbose=False)["loss"])
        else:
            augment = (lambda x, y: (x, y)) if given == "function" else None
            fit = one.fit(inputs, targets, batch_size=3, epochs=3, shuffle=False, augment=augment, verbose=False)
            history.append(fit["loss"])
    np.testing.assert_allclose(*history, rtol=1e-12)


@pytest.mark.parametrize("given", ["arrays", "batches", "function"])
def test_schedules_count_batches_in_which_nothing_counts(given: str) -> None:
    x, y = logits(), labels()
    y[:6] = -100
    model = nn.Linear(CLASSES, CLASSES).double()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    callback = fnn.callbacks.LearningRateScheduler(optim.lr_scheduler.StepLR(optimizer, 2, 0.5), by="batch")
    one = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    augment = (lambda x, y: (x, y)) if given == "function" else None
    if given == "batches":
        one.fit([(x[i : i + 3], y[i : i + 3]) for i in range(0, N, 3)], callbacks=[callback], verbose=False)
    else:
        one.fit(x, y, batch_size=3, shuffle=False, augment=augment, callbacks=[callback], verbose=False)
    # Six batches.
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


class OfTheUsers(nn.Module):
    """A mean over the labels that are not 0."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, output: fnn.Tensor, target: fnn.Tensor) -> fnn.Tensor:
        total = (((output - target) ** 2) * (target != 0).to(output.dtype)).sum()
        return total if self.reduction == "sum" else total / (target != 0).to(output.dtype).sum()


class Focal(nn.CrossEntropyLoss):
    """A mean over rows, whatever its base divides by."""

    def forward(self, input: Any, target: Any, sample_weight: Any = None) -> fnn.Tensor:
        losses = F.cross_entropy(input, target, reduction="none", sample_weight=sample_weight)
        return ((1 - (-losses).exp()) ** 2 * losses).mean()


class FocalWithNormalizer(Focal):
    def normalizer(self, target: Any, sample_weight: Any = None) -> float:
        return float(len(target))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [Focal, FocalWithNormalizer])
def test_subclasses_that_compute_another_loss(size: int, make: Any) -> None:
    loss = make(fnn.tensor(CLASS_WEIGHT))
    x, y = logits(), labels()
    expected = loss(fnn.tensor(x), fnn.tensor(y)).item()
    assert trainer(loss).evaluate(x, y, batch_size=size)["loss"] == pytest.approx(expected, rel=1e-12)
    assert trainer(loss).fit(x, y, batch_size=size, verbose=False)["loss"][0] == pytest.approx(expected, rel=1e-12)
    one = trainer(loss, accumulate=3)
    assert one.fit(x, y, batch_size=size, verbose=False)["loss"][0] == pytest.approx(expected, rel=1e-12)


class WithNormalizer(OfTheUsers):
    def normalizer(self, target: fnn.Tensor, sample_weight: fnn.Tensor | None = None) -> fnn.Tensor:
        return (target != 0).sum()


@pytest.mark.parametrize("size", SIZES)
def test_losses_of_the_users(size: int) -> None:
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3)) * (RNG.random((N, 3)) < 0.8)
    y[:, 0] = 1.0
    squares, kept = (x - y) ** 2 * (y != 0), y != 0
    rows = [slice(i, i + size) for i in range(0, N, size)]
    by_rows = sum(squares[r].sum() / kept[r].sum() * len(x[r]) for r in rows) / N
    for loss, expected in [
        (OfTheUsers(), by_rows),
        (OfTheUsers().forward, by_rows),
        (OfTheUsers("sum"), squares.sum()),
        (WithNormalizer(), squares.sum() / kept.sum()),
    ]:
        one = trainer(loss)
        assert one.evaluate(x, y, batch_size=size)["loss"] == pytest.approx(expected)
        history = one.fit(x, y, batch_size=size, shuffle=False, verbose=False)
        assert history["loss"][0] == pytest.approx(expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_labels_that_are_converted_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, size: int, weighted: bool, prefetch: int
) -> None:
    monkeypatch.setattr("fastnn.training.data._SMALL", 0)
    monkeypatch.setattr("fastnn.training.data._PIECE", 400)
    case = CASES["cross entropy of pixels"]
    x, y = case.x.astype(np.float16).astype(np.float32), case.y.astype(np.uint8)
    each, counts = cross_entropies(x.astype(np.float64), case.y, CLASS_WEIGHT, 255, 0.0)
    w = (SAMPLE_WEIGHT if weighted else np.ones(N)).reshape(-1, 1, 1)
    history = trainer(case.loss("mean")).fit(
        x, y, batch_size=size, sample_weight=w.ravel() if weighted else None, prefetch=prefetch, verbose=False
    )
    assert history["loss"][0] == pytest.approx((each * w).sum() / (counts * w).sum(), rel=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_that_are_mixed_count_for_their_samples(size: int, weighted: bool) -> None:
    # Nothing is mixed, but labels become probabilities.
    mixing = fnn.augment.MixUp(0.0, CLASSES)
    case = classes(nn.CrossEntropyLoss, weight=CLASS_WEIGHT)
    w = SAMPLE_WEIGHT if weighted else np.ones(N)
    history = trainer(case.loss("mean")).fit(
        case.x, case.y, batch_size=size, sample_weight=w if weighted else None, augment=mixing, verbose=False
    )
    assert history["loss"][0] == pytest.approx((case.elements[0] * w).sum() / w.sum(), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if "_" not in name])
def test_a_normalizer_is_what_the_mean_divides_by(name: str) -> None:
    case = CASES[name]
    for weight in (None, SAMPLE_WEIGHT):
        mean, total = (
            case.loss(reduction)(fnn.tensor(case.x), fnn.tensor(case.y), None if weight is None else fnn.tensor(weight))
            for reduction in ("mean", "sum")
        )
        normalizer = case.loss("mean").normalizer(case.y, weight)
        assert normalizer == pytest.approx((total / mean).item(), rel=1e-12)
        assert normalizer == case.loss("mean").normalizer(fnn.tensor(case.y), weight)
        assert case.loss("sum").normalizer(case.y, weight) == 1
