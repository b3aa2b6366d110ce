"""The deep belief net: restricted Boltzmann machines, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import TensorLike, check_at_least
from fastnn.data.generator import draws_alone
from fastnn.nn.activation import Sigmoid
from fastnn.nn.container import ModuleList, Sequential
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.training.history import History
from fastnn.training.trainer import Trainer
from fastnn.unsupervised.rbm import RBM, Visible


class DBN(Module):
    """A deep belief net: each machine learns from the hidden probabilities of the one below, and is then left alone.

    ::

        x0 = x;  fit RBM 1 to x0;  x1 = p(h = 1 | x0);  fit RBM 2 to x1;  …

    Args:
        widths: Units of every layer, the visible ones first; at least two.
        visible: Kind of the lowest visible units; those above are Bernoulli.
        **settings: Of every :class:`RBM`: ``k``, ``persistent``, ``lr``, ``momentum``, ``weight_decay``, …; assign to
            ``dbn.rbms[i].lr`` and so on where they are to differ.

    Attributes:
        rbms: The machines, lowest first.
        histories: Of the last pre-training, one a machine.

    Raises:
        ValueError: A width or a setting is out of range.
        TypeError: A width or a setting is of another type.

    Source:
        Hinton, Osindero & Teh 2006, https://doi.org/10.1162/neco.2006.18.7.1527 (greedy learning, sampling); Hinton &
        Salakhutdinov 2006, https://doi.org/10.1126/science.1127647 (pre-training, then back-propagation).
    """

    rbms: ModuleList

    def __init__(self, widths: Sequence[int], visible: Visible = "bernoulli", **settings: Any) -> None:
        super().__init__()
        if isinstance(widths, (str, bytes)) or not isinstance(widths, Sequence):
            raise TypeError(f"DBN: expected widths to be a sequence of ints; got {type(widths).__name__}")
        if len(widths) < 2:
            raise ValueError(f"DBN: expected at least two widths; got {list(widths)}")
        for width in widths:
            check_at_least("DBN", "widths", width, 1)
        self.widths = tuple(widths)
        kinds: list[Visible] = [visible, *["bernoulli"] * (len(widths) - 2)]  # type: ignore[list-item]
        pairs = zip(self.widths, self.widths[1:], kinds, strict=False)
        self.rbms = ModuleList([RBM(below, above, kind, **settings) for below, above, kind in pairs])
        self.histories: list[History] = []

    @property
    def _machines(self) -> list[RBM]:
        return list(self.rbms)  # type: ignore[arg-type]

    @property
    def _name(self) -> str:
        return f"DBN({list(self.widths)})"

    def _check_pretrained(self, where: str) -> None:
        for number, rbm in enumerate(self._machines):
            if not rbm.num_batches_tracked.item():
                raise ValueError(
                    f"{self._name}.{where}: expected a pre-trained net, but rbms[{number}] was never fitted; "
                    "call pretrain or load_state_dict first"
                )

    def forward(self, input: TensorLike) -> Tensor:
        """Return the topmost p(h = 1 | …), as an op that gradients flow through."""
        first, *others = self._machines
        output = first.forward(input)
        for rbm in others:
            output = rbm.forward(output)
        return output

    @draws_alone
    def pretrain(
        self, x: Any, epochs: int = 1, batch_size: int = 32, *, shuffle: bool = True, verbose: bool = True
    ) -> list[History]:
        """Fit one machine after the other, lowest first.

        Args:
            x: Data, ``(n, widths[0])``.
            epochs: Epochs of each machine.
            batch_size: Rows a batch.
            shuffle: Whether rows are taken in a new order every epoch.
            verbose: Whether there are progress bars.

        Returns:
            The machines' histories, also as ``self.histories``. Ctrl-C ends the machine at work and those above.

        Raises:
            ValueError: See :meth:`RBM.fit`.
            TypeError: See :meth:`RBM.fit`.
        """
        self.histories = []
        for number, rbm in enumerate(self._machines):
            fitted = rbm.fit(x, epochs, batch_size, shuffle=shuffle, verbose=verbose)
            self.histories.append(fitted)
            if fitted.interrupted or not rbm.num_batches_tracked.item():
                break
            if number + 1 < len(self.rbms):
                x = rbm.transform(x)
        return self.histories

    @no_grad()
    def transform(self, x: Any) -> NDArray[Any]:
        """Return the topmost hidden probabilities, ``(n, widths[-1])``.

        Raises:
            ValueError: A machine was never fitted, or ``x`` has another width or values out of range.
        """
        self._check_pretrained("transform")
        for rbm in self._machines:
            x = rbm.transform(x)
        return x  # type: ignore[no-any-return]

    @no_grad()
    def reconstruct(self, x: Any) -> NDArray[Any]:
        """Return what is left of ``x`` after the way up and down, means throughout, ``(n, widths[0])``.

        Raises:
            ValueError: A machine was never fitted, or ``x`` has another width or values out of range.
        """
        self._check_pretrained("reconstruct")
        return self._down(_core.from_numpy(self.transform(x)), len(self.rbms))

    def _down(self, values: Tensor, count: int) -> NDArray[Any]:
        """Return the visible means below the first ``count`` machines."""
        for rbm in reversed(self._machines[:count]):
            values = rbm._mean_visible(values)
        return values.numpy()

    @no_grad()
    def sample(self, n: int, steps: int = 100) -> NDArray[Any]:
        """Draw from the topmost machine by Gibbs sampling, and take the visible units' means below.

        Args:
            n: Rows, at least 1.
            steps: Gibbs steps of the topmost machine.

        Returns:
            Means of the lowest visible units, ``(n, widths[0])``.

        Raises:
            ValueError: A machine was never fitted, or a setting is out of range.
        """
        self._check_pretrained("sample")
        top = self._machines[-1].sample(n, steps, mean=len(self.rbms) == 1)
        return self._down(_core.from_numpy(top), len(self.rbms) - 1)

    def to_sequential(self, head: int | None = None) -> Sequential:
        """Return an ordinary net that starts where pre-training ended: Linear and Sigmoid in turn, weights copied.

        Args:
            head: Outputs of a further, freshly drawn Linear at the end: the number of classes. ``None`` for no such.

        Raises:
            ValueError: A machine was never fitted, or ``head`` is below 1.
            TypeError: ``head`` is not an int.
        """
        self._check_pretrained("to_sequential")
        if head is not None:
            check_at_least("DBN.to_sequential", "head", head, 1)
        layers: list[Module] = []
        for rbm in self._machines:
            linear = Linear(rbm.n_visible, rbm.n_hidden, dtype=rbm.weight.dtype)
            linear.load_state_dict({"weight": rbm.weight.detach(), "bias": rbm.hidden_bias.detach()})
            layers += [linear, Sigmoid()]
        if head is not None:
            layers.append(Linear(self.widths[-1], head, dtype=self._machines[-1].weight.dtype))
        return Sequential(*layers)

    def finetune(self, x: Any, y: Any, head: int, *, lr: float = 1e-3, **fit: Any) -> Trainer:
        """Train :meth:`to_sequential` to classify, with cross-entropy and Adam. This net keeps what it is.

        For any other loss or optimizer, give ``to_sequential(head)`` to a ``Trainer``.

        Args:
            x: Data, ``(n, widths[0])``.
            y: Labels, ``(n,)``, in [0, head).
            head: Number of classes.
            lr: Adam's step size.
            **fit: Of ``Trainer.fit``: ``epochs``, ``batch_size``, ``validation_data``, ``callbacks``, …

        Returns:
            The trainer, with ``model`` and ``history``.

        Raises:
            ValueError: A machine was never fitted, or data or settings do not fit.
            TypeError: Data or settings are of another type.
        """
        from fastnn.nn.loss import CrossEntropyLoss  # noqa: PLC0415  (pre-training alone needs neither)
        from fastnn.optim import Adam  # noqa: PLC0415

        model = self.to_sequential(head)
        trainer = Trainer(model, CrossEntropyLoss(), Adam(model.parameters(), lr=lr), metrics=["accuracy"])
        trainer.fit(x, y, **fit)
        return trainer
