"""Products with Jacobians and Hessians, the matrices themselves, and the greatest eigenvalue of a Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import enable_grad, no_grad
from fastnn._types import check_at_least, check_callable, check_choice, check_number, check_tensors, shape_of
from fastnn.autograd._gradient import grad

__all__ = ["Eigenpair", "hessian", "hessian_max_eigenvalue", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_Tensors: TypeAlias = "Tensor | tuple[Tensor, ...]"


def _tuple(where: str, what: str, value: Any) -> tuple[bool, tuple[Tensor, ...]]:
    several = isinstance(value, tuple)
    for tensor in value if several else (value,):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{where}: expected {what} to be a Tensor or a tuple of Tensors; got {type(tensor).__name__}"
            )
    return several, value if several else (value,)


def _own(tensors: tuple[Tensor, ...], create_graph: bool, requires_grad: bool) -> tuple[Tensor, ...]:
    """Tensors that are not those which ``func`` may hold besides; on the tape of the given ones if asked for."""
    return tuple(
        x.clone() if create_graph and x.requires_grad else x.detach().requires_grad_(requires_grad) for x in tensors
    )


def _vector(where: str, v: _Tensors | None, like: tuple[Tensor, ...], create_graph: bool) -> list[Tensor | None]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise ValueError(f"{where}: expected v, which may be None for a single element only; got None")
        return [_core.ones_like(like[0])]
    _, given = _tuple(where, "v", v)
    expected = [shape_of(x) for x in like]
    if [shape_of(x) for x in given] != expected:
        raise ValueError(f"{where}: expected v of the shapes {expected}; got {[shape_of(x) for x in given]}")
    return list(_own(given, create_graph, requires_grad=False))


def _gradients(
    outputs: Sequence[Tensor | None],
    inputs: tuple[Tensor, ...],
    seeds: Sequence[Tensor | None],
    create_graph: bool,
    retain_graph: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """As :func:`grad`, but outputs off the tape, or missing, have no influence."""
    pairs = [(y, seed) for y, seed in zip(outputs, seeds, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    return grad([y for y, _ in pairs], inputs, [g for _, g in pairs], retain_graph, create_graph, allow_unused=True)


def _filled(
    where: str, found: Sequence[Tensor | None], like: Sequence[Tensor], strict: bool, create_graph: bool
) -> tuple[Tensor, ...]:
    """With zeros where nothing depends; in strict mode that is an error."""
    if strict and any(g is None or (create_graph and not g.requires_grad) for g in found):
        number = next(i for i, g in enumerate(found) if g is None or (create_graph and not g.requires_grad))
        raise RuntimeError(
            f"{where}: expected a result that depends on every input when strict; number {number} does not"
        )
    return tuple(_core.zeros_like(x) if g is None else g for x, g in zip(like, found, strict=True))


def _cut(tensors: tuple[Tensor, ...], create_graph: bool, several: bool) -> _Tensors:
    done = tensors if create_graph else tuple(x.detach() for x in tensors)
    return done if several else done[0]


def _outputs(
    where: str, func: Callable[..., Any], inputs: tuple[Tensor, ...], strict: bool
) -> tuple[bool, tuple[Tensor, ...]]:
    check_callable(where, "func", func)
    several, outputs = _tuple(where, "the result of func", func(*inputs))
    if strict and not all(y.requires_grad for y in outputs):
        raise RuntimeError(f"{where}: expected outputs that depend on the inputs when strict; one does not")
    return several, outputs


def vjp(
    func: Callable[..., Any],
    inputs: _Tensors,
    v: _Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[_Tensors, _Tensors]:
    """Return ``func(*inputs)`` and the vector-Jacobian product::

        v^T @ J,  J[i, j] = d output[i] / d input[j]

    Args:
        func: Of the inputs; returns a tensor or a tuple of tensors.
        inputs: A tensor or a tuple of tensors, of any shapes.
        v: Of the outputs' shapes; may be ``None`` where there is one element of output.
        create_graph: Whether the results can be differentiated, with respect to ``inputs`` and ``v`` too.
        strict: Whether an output or input on which nothing depends is an error, instead of a product of zeros.

    Returns:
        The outputs, and the product in the shapes of the inputs; tensors where func and inputs are, else tuples.

    Raises:
        TypeError: Inputs, outputs or ``v`` are not tensors.
        ValueError: ``v`` does not fit.
        RuntimeError: ``strict``, and something does not depend on the inputs.
    """
    with enable_grad():
        many_inputs, given = _tuple("vjp", "inputs", inputs)
        own = _own(given, create_graph, requires_grad=True)
        many_outputs, outputs = _outputs("vjp", func, own, strict)
        seeds = _vector("vjp", v, outputs, create_graph)
    found = _filled("vjp", _gradients(outputs, own, seeds, create_graph), own, strict, create_graph)
    return _cut(outputs, create_graph, many_outputs), _cut(found, create_graph, many_inputs)


def jvp(
    func: Callable[..., Any],
    inputs: _Tensors,
    v: _Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[_Tensors, _Tensors]:
    """Return ``func(*inputs)`` and the Jacobian-vector product ``J @ v``.

    ``u^T @ J`` is linear in u, and its derivative with respect to u, applied to v, is ``J @ v``: two backwards.

    Args:
        func: Of the inputs; returns a tensor or a tuple of tensors.
        inputs: A tensor or a tuple of tensors, of any shapes.
        v: Of the inputs' shapes; may be ``None`` where there is one element of input.
        create_graph: As for :func:`vjp`.
        strict: As for :func:`vjp`.

    Returns:
        The outputs, and the product in the shapes of the outputs.

    Raises:
        TypeError: As for :func:`vjp`.
        ValueError: Likewise.
        RuntimeError: Likewise.

    Source:
        Townsend 2017, "A new trick for calculating Jacobian vector products".
    """
    with enable_grad():
        _, given = _tuple("jvp", "inputs", inputs)
        own = _own(given, create_graph, requires_grad=True)
        vector = _vector("jvp", v, own, create_graph)
        many_outputs, outputs = _outputs("jvp", func, own, strict)
        dummies = tuple(_core.zeros_like(y, requires_grad=True) for y in outputs)
        back = _gradients(outputs, own, dummies, create_graph=True)
        _filled("jvp", back, own, strict, create_graph=False)
    found = _filled("jvp", _gradients(back, dummies, vector, create_graph), outputs, strict, create_graph)
    return _cut(outputs, create_graph, many_outputs), _cut(found, create_graph, many_outputs)


def jacobian(func: Callable[..., Any], inputs: _Tensors, create_graph: bool = False, strict: bool = False) -> Any:
    """Return the Jacobian, one backward for each element of the outputs::

        J[i, j] = d output[i] / d input[j],  i and j being multi-indices

    Args:
        func: Of the inputs; returns a tensor or a tuple of tensors.
        inputs: A tensor or a tuple of tensors, of any shapes.
        create_graph: Whether the Jacobian can be differentiated.
        strict: As for :func:`vjp`.

    Returns:
        A tensor of shape ``output.shape + input.shape``; a tuple of such, one for each input or output, where those are
        a tuple; a tuple of tuples, ``[output][input]``, where both are. PyTorch's ``vectorize`` and ``strategy``, which
        choose among implementations, are not there.

    Raises:
        TypeError: Inputs or outputs are not tensors.
        RuntimeError: ``strict``, and something does not depend on the inputs.
    """
    with enable_grad():
        many_inputs, given = _tuple("jacobian", "inputs", inputs)
        own = _own(given, create_graph, requires_grad=True)
        many_outputs, outputs = _outputs("jacobian", func, own, strict)
        rows = []
        for y in outputs:
            flat = y.reshape(-1)
            parts: list[list[Tensor]] = [[] for _ in own]
            for i in range(y.numel()):
                found = _gradients([flat[i]], own, [None], create_graph, retain_graph=True)
                for part, g in zip(parts, _filled("jacobian", found, own, strict, create_graph), strict=True):
                    part.append(g)
            shapes = [(*shape_of(y), *shape_of(x)) for x in own]
            stacked = [
                _core.stack(part).reshape(*shape) if part else _core.zeros(*shape, dtype=x.dtype)
                for part, shape, x in zip(parts, shapes, own, strict=True)
            ]
            rows.append(_cut(tuple(stacked), create_graph, many_inputs))
    return tuple(rows) if many_outputs else rows[0]


def _scalar(where: str, func: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Tensor:
    check_callable(where, "func", func)
    y = func(*inputs)
    if not isinstance(y, Tensor):
        raise TypeError(f"{where}: expected func to return a Tensor; got {type(y).__name__}")
    if y.numel() != 1:
        raise ValueError(f"{where}: expected func to return a single element; got shape {shape_of(y)}")
    return y.reshape(())


def hessian(func: Callable[..., Any], inputs: _Tensors, create_graph: bool = False, strict: bool = False) -> Any:
    """Return the Hessian of a scalar function::

        H[i, j] = d² output / (d input[i] d input[j]),  i and j being multi-indices

    Args:
        func: Of the inputs; returns a tensor of one element.
        inputs: A tensor or a tuple of tensors, of any shapes.
        create_graph: Whether the Hessian can be differentiated.
        strict: As for :func:`vjp`.

    Returns:
        A tensor of shape ``input.shape + input.shape``; a tuple of tuples, ``[i][j]`` for inputs i and j, where the
        inputs are a tuple.

    Raises:
        TypeError: Inputs or output are not tensors.
        ValueError: The output has more than one element.
        RuntimeError: ``strict``, and something does not depend on the inputs; or an op has no second derivative.
    """
    several, given = _tuple("hessian", "inputs", inputs)

    def gradient(*values: Tensor) -> tuple[Tensor, ...]:
        own = tuple(x if x.requires_grad else x.detach().requires_grad_() for x in values)
        y = _scalar("hessian", func, own)
        return _filled("hessian", _gradients([y], own, [None], create_graph=True), own, strict, create_graph=strict)

    full = jacobian(gradient, given, create_graph, strict)
    return full if several else full[0][0]


def vhp(
    func: Callable[..., Any],
    inputs: _Tensors,
    v: _Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, _Tensors]:
    """Return ``func(*inputs)`` and the vector-Hessian product ``v^T @ H``: a gradient, and a backward through it.

    Args:
        func: Of the inputs; returns a tensor of one element.
        inputs: A tensor or a tuple of tensors, of any shapes.
        v: Of the inputs' shapes; may be ``None`` where there is one element of input.
        create_graph: As for :func:`vjp`.
        strict: As for :func:`vjp`.

    Returns:
        The output, and the product in the shapes of the inputs.

    Raises:
        TypeError: As for :func:`vjp`.
        ValueError: Likewise; or the output has more than one element.
        RuntimeError: As for :func:`vjp`; or an op has no second derivative.

    Source:
        Pearlmutter 1994, "Fast exact multiplication by the Hessian", https://doi.org/10.1162/neco.1994.6.1.147.
    """
    return _product("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Callable[..., Any],
    inputs: _Tensors,
    v: _Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, _Tensors]:
    """Return ``func(*inputs)`` and the Hessian-vector product ``H @ v``.

    H being symmetric, it is :func:`vhp`, and computed as that. (PyTorch's takes two more backwards.) Arguments, results
    and errors are those of :func:`vhp`.
    """
    return _product("hvp", func, inputs, v, create_graph, strict)


def _product(
    where: str, func: Callable[..., Any], inputs: _Tensors, v: _Tensors | None, create_graph: bool, strict: bool
) -> tuple[Tensor, _Tensors]:
    with enable_grad():
        check_callable(where, "func", func)
        several, given = _tuple(where, "inputs", inputs)
        own = _own(given, create_graph, requires_grad=True)
        vector = _vector(where, v, own, create_graph)
        y = func(*own)
        scalar = _scalar(where, lambda *_: y, own)
        first = _gradients([scalar], own, [None], create_graph=True)
        _filled(where, first, own, strict, create_graph=strict)
    found = _filled(where, _gradients(first, own, vector, create_graph), own, strict, create_graph)
    return y if create_graph else y.detach(), _cut(found, create_graph, several)


class Eigenpair(NamedTuple):
    """An eigenvalue of a Hessian, with its eigenvector."""

    value: float
    """The eigenvalue."""
    vector: tuple[Tensor, ...]
    """The eigenvector, a part for each parameter; its norm, over all parts, is 1."""
    iterations: int
    """Number of Hessian-vector products."""
    residual: float
    """The norm of ``H @ vector - value * vector``: some eigenvalue lies that close to ``value``."""


def hessian_max_eigenvalue(
    loss_fn: Callable[[], Tensor],
    params: Tensor | Sequence[Tensor],
    iterations: int = 100,
    tol: float = 1e-3,
    which: str = "magnitude",
) -> Eigenpair:
    """Return the greatest eigenvalue of the Hessian of a loss by power iteration: the sharpness of a minimum.

    From a random unit vector v::

        value = v^T @ H @ v
        v     = H @ v / |H @ v|       until |H @ v - value * v| <= tol * |value|

    ``which="magnitude"`` finds the eigenvalue of the greatest absolute value, which may be negative away from a
    minimum. ``which="algebraic"`` finds the greatest: where the first is negative, a second iteration with
    ``H - first * I``, whose eigenvalues are all at least 0, ends there.

    Args:
        loss_fn: Computes the loss, one element, from the parameters; called once. It must be deterministic and need
            not call backward.
        params: The parameters, leaves that require grad.
        iterations: Hessian-vector products at most, at least 1, in each of the iterations.
        tol: Residual at which to stop, as a share of the eigenvalue; at least 0. The eigenvalue's own error is about
            its square.
        which: ``"magnitude"`` or ``"algebraic"``.

    Returns:
        Value, vector, iterations and residual. The start is drawn from the generator, whose state is put back, so that
        a diagnosis changes no training.

    Raises:
        ValueError: A setting out of range, no parameters, or a loss of more than one element.
        TypeError: The loss is not a tensor.
        RuntimeError: An op has no second derivative.

    Source:
        Power iteration: Golub & Van Loan, Matrix Computations, 4th edition, section 8.2.1; with Hessian-vector
        products: LeCun, Simard & Pearlmutter 1993, "Automatic learning rate maximization by on-line estimation of the
        Hessian's eigenvectors".
    """
    where = "hessian_max_eigenvalue"
    check_at_least(where, "iterations", iterations, 1)
    if not check_number(where, "tol", tol) >= 0:
        raise ValueError(f"{where}: expected tol of at least 0; got {tol}")
    check_callable(where, "loss_fn", loss_fn)
    check_choice(where, "which", which, ("magnitude", "algebraic"))
    own = tuple(check_tensors("hessian_max_eigenvalue", "params", params))
    if not own:
        raise ValueError(f"{where}: expected at least one parameter; got none")
    with enable_grad():
        loss = _scalar(where, lambda *_: loss_fn(), own)
        first = _gradients([loss], own, [None], create_graph=True)

    def product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = _gradients(first, own, v, create_graph=False, retain_graph=True)
        return tuple(_core.zeros_like(x) if h is None else h for x, h in zip(own, found, strict=True))

    with Undo() as undo:
        undo.call(_core.set_rng_state, _core.get_rng_state())
        start = tuple(_core.randn_like(x.detach()) for x in own)
    with no_grad():
        found = _power_iteration(product, start, 0.0, iterations, tol)
        if which == "magnitude" or found.value >= 0:
            return found
        second = _power_iteration(product, start, -found.value, iterations, tol)
    return second._replace(iterations=found.iterations + second.iterations)


def _dot(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    return float(sum((x.double() * y.double()).sum().item() for x, y in zip(a, b, strict=True)))


def _power_iteration(
    product: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]],
    start: tuple[Tensor, ...],
    shift: float,
    iterations: int,
    tol: float,
) -> Eigenpair:
    """Of ``H + shift * I``; the value is that of H."""
    scale = 1 / max(_dot(start, start) ** 0.5, 1e-300)
    v = tuple(x * scale for x in start)
    for count in range(1, iterations + 1):
        plain = product(v)
        value = _dot(v, plain)
        rest = tuple(h - value * x for h, x in zip(plain, v, strict=True))
        residual = _dot(rest, rest) ** 0.5
        moved = tuple(h + shift * x for h, x in zip(plain, v, strict=True))
        norm = _dot(moved, moved) ** 0.5
        # A vector that H takes to 0 is an eigenvector too.
        if residual <= tol * abs(value + shift) or norm == 0 or count == iterations:
            break
        v = tuple(h * (1 / norm) for h in moved)
    return Eigenpair(value, v, count, residual)
