"""The restricted Boltzmann machine."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import TensorLike, check_at_least, check_choice, check_dtype, check_number
from fastnn.data.generator import draws_alone
from fastnn.nn import init
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.training.data import check_batch_size, to_array
from fastnn.training.history import History
from fastnn.training.progress import Progress
from fastnn.unsupervised import _likelihood

Visible = Literal["bernoulli", "gaussian"]

# Batches that run in one call: long enough for the call to cost nothing, short enough for Ctrl-C and the bar.
_CHUNK_SECONDS = 0.025
# Rows whose reconstruction is measured after an epoch of persistent chains, which reconstruct nothing themselves.
_MEASURED_ROWS = 1000


class RBM(Module):
    """A restricted Boltzmann machine: visible units v, hidden units h of 0 and 1, and weights between the two kinds.

    With W = ``weight``, a = ``visible_bias`` and b = ``hidden_bias``::

        E(v, h) = -a·v - b·h - h·W v                  # "bernoulli"
        E(v, h) = ½ ‖v - a‖² - b·h - h·W v            # "gaussian": standardize the data
        p(h[j] = 1 | v) = sigmoid(b[j] + W[j]·v)
        p(v[i] = 1 | h) = sigmoid(a[i] + W[:, i]·h)   # "gaussian": v ~ N(a + Wᵀ h, 1)

    Each batch takes one step of contrastive divergence, with p = p(h = 1 | v)::

        g = <p vᵀ> over the data - <p vᵀ> over a Gibbs chain after k steps
        d = momentum * d + lr * (g - weight_decay * W)
        W = W + d

    and likewise the biases, without decay. The chain starts at the data; if ``persistent``, at the hidden units where
    the last batch left it. With ``sparsity_cost``, all hidden units' p in the data's term are shifted by
    ``sparsity_cost * (sparsity_target - q)``, q being the running mean of p, before they are multiplied and averaged.

    Args:
        n_visible: Visible units, at least 1.
        n_hidden: Hidden units, at least 1.
        visible: ``"bernoulli"``: data in [0, 1], values in between count as probabilities; ``"gaussian"``: any numbers.
        k: Gibbs steps a batch, at least 1.
        persistent: Whether chains go on from batch to batch (PCD).
        lr: Step size, at least 0; ``None`` for 0.1, and 0.01 with Gaussian units, which go astray at larger ones.
        momentum: Share of the last step that is taken again, in [0, 1).
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        sparsity_target: Wanted mean of p, in (0, 1).
        sparsity_cost: How strongly, at least 0.
        sparsity_decay: Share of the old in q, in [0, 1).
        n_chains: Persistent chains, at least 1. They begin with all hidden units 0.
        sample_visible: Whether the chain's visible units are drawn, or set to their means.
        dtype: ``float32`` or ``float64``.

    Shapes:
        ``weight``: ``(n_hidden, n_visible)``, as of an ``nn.Linear``; ``visible_bias``: ``(n_visible,)``;
        ``hidden_bias``: ``(n_hidden,)``; ``chains``: ``(n_hidden, n_chains)``, hidden units.

    Attributes:
        history: Of the last fit: ``reconstruction_error``, ``seconds``.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Hinton 2002, https://doi.org/10.1162/089976602760128018 (CD); Tieleman 2008,
        https://doi.org/10.1145/1390156.1390290 (PCD); Hinton 2012, "A practical guide to training restricted Boltzmann
        machines", https://doi.org/10.1007/978-3-642-35289-8_32: weights from N(0, 0.01²), biases 0, lr inside the
        momentum (in PyTorch's SGD it multiplies from outside), sparsity. The guide would have visible units set to
        their means; scikit-learn's ``BernoulliRBM``, which is PCD with ``n_chains=batch_size``, draws them too.
    """

    weight: Parameter
    visible_bias: Parameter
    hidden_bias: Parameter
    weight_step: Tensor
    visible_step: Tensor
    hidden_step: Tensor
    activity: Tensor
    chains: Tensor | None
    num_batches_tracked: Tensor

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        visible: Visible = "bernoulli",
        k: int = 1,
        persistent: bool = False,
        lr: float | None = None,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        sparsity_decay: float = 0.95,
        n_chains: int = 100,
        sample_visible: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_at_least("RBM", "n_visible", n_visible, 1)
        check_at_least("RBM", "n_hidden", n_hidden, 1)
        check_at_least("RBM", "n_chains", n_chains, 1)
        check_dtype("RBM", dtype)
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        self.visible = visible
        self.k = k
        self.persistent = persistent
        self.lr = (0.1 if visible == "bernoulli" else 0.01) if lr is None else lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.sparsity_decay = sparsity_decay
        self.sample_visible = sample_visible
        self._settings()
        self.weight = Parameter(init.normal_(_core.empty(n_hidden, n_visible, dtype=dtype), 0.0, 0.01))
        self.visible_bias = Parameter(_core.zeros(n_visible, dtype=dtype))
        self.hidden_bias = Parameter(_core.zeros(n_hidden, dtype=dtype))
        self.register_buffer("weight_step", _core.zeros(n_hidden, n_visible, dtype=dtype))
        self.register_buffer("visible_step", _core.zeros(n_visible, dtype=dtype))
        self.register_buffer("hidden_step", _core.zeros(n_hidden, dtype=dtype))
        self.register_buffer("activity", _core.full((n_hidden,), sparsity_target, dtype=dtype))
        self.register_buffer("chains", _core.zeros(n_hidden, n_chains, dtype=dtype) if persistent else None)
        self.register_buffer("num_batches_tracked", _core.tensor(0, dtype=_core.int64))
        self.history = History()
        self._engine = _core.Rbm()

    def extra_repr(self) -> str:
        method = f"{'PCD' if self.persistent else 'CD'}-{self.k}"
        return f"{self.n_visible}, {self.n_hidden}, visible={self.visible!r}, {method}, lr={self.lr}"

    def forward(self, input: TensorLike) -> Tensor:
        """Return p(h = 1 | v), ``(*, n_hidden)``, as an op that gradients flow through."""
        return _core.sigmoid(_core.linear(input, self.weight, self.hidden_bias))

    # Learning

    def _settings(self) -> dict[str, Any]:
        """Return what a batch reads, checked: they may have been assigned."""
        check_choice("RBM", "visible", self.visible, ("bernoulli", "gaussian"))
        check_at_least("RBM", "k", self.k, 1)
        settings: dict[str, Any] = {"visible": self.visible, "k": int(self.k)}
        for name in ("lr", "weight_decay", "sparsity_cost"):
            settings[name] = check_number("RBM", name, getattr(self, name))
            if not 0 <= settings[name] < math.inf:
                raise ValueError(f"RBM: expected {name} of at least 0; got {getattr(self, name)}")
        for name in ("momentum", "sparsity_decay"):
            settings[name] = check_number("RBM", name, getattr(self, name))
            if not 0 <= settings[name] < 1:
                raise ValueError(f"RBM: expected {name} in [0, 1); got {getattr(self, name)}")
        settings["sparsity_target"] = check_number("RBM", "sparsity_target", self.sparsity_target)
        if not 0 < settings["sparsity_target"] < 1:
            raise ValueError(f"RBM: expected sparsity_target in (0, 1); got {self.sparsity_target}")
        return settings | {"persistent": bool(self.persistent), "sample_visible": bool(self.sample_visible)}

    def _tensors(self) -> dict[str, Tensor]:
        names = ("weight", "visible_bias", "hidden_bias", "weight_step", "visible_step", "hidden_step", "activity")
        chains = self.chains
        if chains is None:
            if self.persistent:
                raise ValueError(f"{self._name}: expected persistent=True from the start; got it afterwards")
            chains = _core.zeros(self.n_hidden, 0, dtype=self.weight.dtype)
        return {name: getattr(self, name) for name in names} | {"chains": chains}

    @property
    def _name(self) -> str:
        return f"RBM({self.n_visible}, {self.n_hidden})"

    def _data(self, where: str, x: Any, *, fitted: bool = True) -> NDArray[Any]:
        """Return ``x`` in the machine's type, checked."""
        if fitted and not self.num_batches_tracked.item():
            raise ValueError(f"{self._name}.{where}: expected a fitted machine; call fit or load_state_dict first")
        array = to_array(f"{self._name}.{where}", "x", x)
        if array.ndim != 2 or array.shape[1] != self.n_visible:
            raise ValueError(f"{self._name}.{where}: expected x of shape (n, {self.n_visible}); got {array.shape}")
        if not len(array):
            raise ValueError(f"{self._name}.{where}: expected at least one row in x; got shape {array.shape}")
        dtype = np.float64 if self.weight.dtype == _core.float64 else np.float32
        array = np.ascontiguousarray(array, dtype)
        low, high = array.min(), array.max()
        if self.visible == "bernoulli" and not (low >= 0 and high <= 1):
            wrong = low if not low >= 0 else high
            raise ValueError(
                f"{self._name}.{where}: expected x in [0, 1], as the visible units are Bernoulli; got {wrong:g}"
            )
        if not np.isfinite(high - low):
            raise ValueError(
                f"{self._name}.{where}: expected finite numbers in x; got {high if low > -np.inf else low}"
            )
        return array

    @draws_alone
    def fit(
        self,
        x: Any,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        initial_epoch: int = 0,
        verbose: bool = True,
    ) -> History:
        """Learn from rows, going on from what is learned already. Ctrl-C ends it early, and the machine can be used.

        Args:
            x: Data, ``(n, n_visible)``.
            epochs: Number of the last epoch.
            batch_size: Rows a batch; the last has what is left.
            shuffle: Whether rows are taken in a new order every epoch, drawn from fastnn's generator.
            initial_epoch: Number of epochs that are done.
            verbose: Whether there is a progress bar.

        Returns:
            The history, also as ``self.history``. ``reconstruction_error`` is the mean squared difference between data
            and p(v | h), h being drawn given the data, while the epoch ran; with persistent chains, h = p(h | v), after
            the epoch, for the first 1000 rows.

        Raises:
            ValueError: ``x`` has another width or values out of range, a setting is out of range, or the error is not
                finite; the batch that gave it changes nothing.
            TypeError: Data or settings are of another type.
            RuntimeError: Another thread fits the same machine.
        """
        check_at_least("RBM.fit", "epochs", epochs, 0)
        check_at_least("RBM.fit", "initial_epoch", initial_epoch, 0)
        batch_size = check_batch_size("RBM.fit", batch_size)
        settings, rows = self._settings(), self._data("fit", x, fitted=False)
        history = self.history = History()
        batch_size = min(batch_size, len(rows))
        batches = -(-len(rows) // batch_size)
        if not settings["momentum"]:
            for step in (self.weight_step, self.visible_step, self.hidden_step):
                step.zero_()
        progress = Progress(shown=verbose, epochs=epochs, initial_epoch=initial_epoch, batches=batches)
        try:
            for epoch in range(initial_epoch, epochs):
                begin = time.perf_counter()
                progress.begin_epoch(epoch)
                order = _core.permutation(len(rows)) if shuffle else np.arange(len(rows), dtype=np.int64)
                error = self._run_epoch(epoch, rows, order, batch_size, settings, progress)
                if self.persistent:
                    measured = rows[:_MEASURED_ROWS]
                    error = float(np.square(self.reconstruct(measured) - measured, dtype=np.float64).mean())
                    if not math.isfinite(error):
                        raise ValueError(self._astray(error, epoch))
                progress.end_epoch({"loss": error})
                history.append(epoch, {"reconstruction_error": error, "seconds": time.perf_counter() - begin})
        except KeyboardInterrupt:
            history.interrupted = True
            history.stop_reason = "interrupted"
        finally:
            progress.close()
        return history

    def _run_epoch(
        self,
        epoch: int,
        rows: NDArray[Any],
        order: NDArray[np.int64],
        batch_size: int,
        settings: dict[str, Any],
        progress: Progress,
    ) -> float:
        """Run batches in chunks of a few milliseconds, each one call that holds no GIL; return the mean error."""
        data, tensors = _core.from_numpy(rows), self._tensors()
        batch, batches, chunk = 0, -(-len(rows) // batch_size), 1
        measured: list[float] = []
        while batch < batches:
            count = min(chunk, batches - batch)
            taken = order[batch * batch_size : (batch + count) * batch_size]
            begin = time.perf_counter()
            errors = self._engine.train(tensors, settings, data, taken, batch_size)
            seconds = time.perf_counter() - begin
            self.num_batches_tracked.add_(len(errors))
            if not math.isfinite(errors[-1]):
                raise ValueError(self._astray(float(errors[-1]), epoch))
            batch += count
            measured += errors.tolist()
            progress.advance(count, math.fsum(measured) / batch)
            chunk = max(1, min(4 * count, int(_CHUNK_SECONDS * count / max(seconds, 1e-9))))
        # Summed at once: how long the chunks were depends on the time they took, and is not to show in the last digit.
        last = len(rows) - (batches - 1) * batch_size
        return (math.fsum(measured[:-1]) * batch_size + measured[-1] * last) / len(rows)

    def _astray(self, error: float, epoch: int) -> str:
        return (
            f"{self._name}.fit: the reconstruction error is {error} in epoch {epoch}: try an lr below {self.lr:g}"
            f"{', and standardize the data' if self.visible == 'gaussian' else ''}"
        )

    # Using what was learned

    @no_grad()
    def _mean_visible(self, hidden: TensorLike) -> Tensor:
        inputs = _core.linear(hidden, self.weight.t(), self.visible_bias)
        return _core.sigmoid(inputs) if self.visible == "bernoulli" else inputs

    @no_grad()
    def transform(self, x: Any) -> NDArray[Any]:
        """Return p(h = 1 | v), ``(n, n_hidden)``, the features that the machine has learned.

        Raises:
            ValueError: The machine was never fitted, or ``x`` has another width or values out of range.
        """
        return self.forward(self._data("transform", x)).numpy()

    @no_grad()
    def reconstruct(self, x: Any) -> NDArray[Any]:
        """Return the visible units' means given p(h = 1 | v) in h's place, ``(n, n_visible)``.

        Raises:
            ValueError: The machine was never fitted, or ``x`` has another width or values out of range.
        """
        return self._mean_visible(self.forward(self._data("reconstruct", x))).numpy()

    @no_grad()
    def free_energy(self, x: Any) -> NDArray[Any]:
        """Return F(v), ``(n,)``: ``p(v) = exp(-F(v)) / Z``, the hidden units being summed out::

            F(v) = -a·v - Σ_j softplus(b[j] + W[j]·v)           # "bernoulli"
            F(v) = ½ ‖v - a‖² - Σ_j softplus(b[j] + W[j]·v)     # "gaussian"

        Raises:
            ValueError: The machine was never fitted, or ``x`` has another width or values out of range.

        Source:
            Hinton 2012, section 16.1.
        """
        return _likelihood.free_energy(self, _core.from_numpy(self._data("free_energy", x))).numpy()

    @no_grad()
    def pseudo_likelihood(self, x: Any, units: int | None = None) -> NDArray[Any]:
        """Return the log pseudo-likelihood of rows, ``(n,)``: how well each unit is predicted from all others::

            PL(v) = Σ_i log p(v[i] | all other v) = Σ_i log sigmoid(F(v with unit i flipped) - F(v))

        Args:
            x: Rows of zeros and ones, ``(n, n_visible)``.
            units: How many units to flip, the same random ones in every row, the sum being scaled up; ``None``: all.

        Raises:
            ValueError: The machine was never fitted, its visible units are not Bernoulli, ``x`` has another width or
                other values than 0 and 1, or ``units`` is out of range.

        Source:
            Besag 1975, https://doi.org/10.2307/2987782. scikit-learn's ``score_samples`` flips one unit a row.
        """
        if self.visible != "bernoulli":
            raise ValueError(f"{self._name}.pseudo_likelihood: expected Bernoulli visible units; got {self.visible!r}")
        rows = self._data("pseudo_likelihood", x)
        between = rows[(rows != 0) & (rows != 1)]
        if between.size:
            raise ValueError(f"{self._name}.pseudo_likelihood: expected x of zeros and ones; got {between[0]:g}")
        flipped = np.arange(self.n_visible, dtype=np.int64)
        if units is not None:
            check_at_least("RBM.pseudo_likelihood", "units", units, 1)
            if units > self.n_visible:
                raise ValueError(
                    f"{self._name}.pseudo_likelihood: expected units of at most {self.n_visible}; got {units}"
                )
            flipped = _core.permutation(self.n_visible)[:units]
        return _likelihood.pseudo_likelihood(self, rows, flipped)

    @no_grad()
    def sample(self, n: int, steps: int = 100, *, start: Any = None, mean: bool = False) -> NDArray[Any]:
        """Draw visible units by Gibbs sampling, all rows being chains of their own.

        Args:
            n: Rows, at least 1.
            steps: Steps from v to h and back, at least 0.
            start: Where chains begin, ``(n, n_visible)``; ``None``: draws from the visible biases alone.
            mean: Whether to return the means that the last draws were made from, which look smoother.

        Returns:
            The samples, ``(n, n_visible)``.

        Raises:
            ValueError: The machine was never fitted, a setting is out of range, or ``start`` does not fit.
        """
        check_at_least("RBM.sample", "n", n, 1)
        check_at_least("RBM.sample", "steps", steps, 0)
        if start is None:
            means = self._mean_visible(_core.zeros(n, self.n_hidden, dtype=self.weight.dtype))
            self._data("sample", means)
            v = _core.bernoulli(means) if self.visible == "bernoulli" else means + _core.randn_like(means)
        else:
            means = _core.from_numpy(self._data("sample", start))
            if len(means) != n:
                raise ValueError(f"{self._name}.sample: expected start of {n} rows; got {len(means)}")
            v = means.clone()
        means = means.clone()
        self._engine.sample(self._tensors(), self.visible, v, steps, means)
        return (means if mean else v).numpy()
