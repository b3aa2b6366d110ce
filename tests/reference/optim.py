"""The optimizers once more: the formulas of the papers as PyTorch states them, in float64 NumPy.

Every function takes the first parameter, one gradient a step and PyTorch's settings, and returns the parameter after
each step. Nothing here is fast or shared with the library: it is to be read beside the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _signed(grad: ArrayLike, param: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient of what is descended: turned round to maximize, and with the L2 penalty's share."""
    grad = np.asarray(grad, np.float64)
    return (-grad if maximize else grad) + (weight_decay * param if weight_decay else 0.0)


def sgd(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> list[Array]:
    """SGD: Sutskever et al. 2013, with ``lr`` outside the velocity. The first velocity is the first gradient."""
    theta = np.array(param, np.float64)
    velocity: Array | None = None
    path = []
    for grad in grads:
        g = _signed(grad, theta, weight_decay, maximize)
        if momentum:
            velocity = g if velocity is None else momentum * velocity + (1 - dampening) * g
            g = g + momentum * velocity if nesterov else velocity
        theta = theta - lr * g
        path.append(theta)
    return path


def adagrad(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> list[Array]:
    """Adagrad: Duchi, Hazan & Singer 2011, diagonal."""
    theta = np.array(param, np.float64)
    total = np.full_like(theta, initial_accumulator_value)
    path = []
    for steps_before, grad in enumerate(grads):
        g = _signed(grad, theta, weight_decay, maximize)
        total = total + g**2
        theta = theta - lr / (1 + steps_before * lr_decay) * g / (np.sqrt(total) + eps)
        path.append(theta)
    return path


def adadelta(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> list[Array]:
    """Adadelta: Zeiler 2012, Algorithm 1, with ``lr`` in front of the step."""
    theta = np.array(param, np.float64)
    square_of_grad = np.zeros_like(theta)
    square_of_delta = np.zeros_like(theta)
    path = []
    for grad in grads:
        g = _signed(grad, theta, weight_decay, maximize)
        square_of_grad = rho * square_of_grad + (1 - rho) * g**2
        delta = np.sqrt(square_of_delta + eps) / np.sqrt(square_of_grad + eps) * g
        square_of_delta = rho * square_of_delta + (1 - rho) * delta**2
        theta = theta - lr * delta
        path.append(theta)
    return path


def rmsprop(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> list[Array]:
    """RMSprop: Hinton 2012, lecture 6e; centered as Graves 2013, but with ``eps`` outside the root."""
    theta = np.array(param, np.float64)
    square = np.zeros_like(theta)
    mean = np.zeros_like(theta)
    velocity = np.zeros_like(theta)
    path = []
    for grad in grads:
        g = _signed(grad, theta, weight_decay, maximize)
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        spread = np.sqrt(square - mean**2 if centered else square)
        velocity = momentum * velocity + g / (spread + eps)
        theta = theta - lr * velocity
        path.append(theta)
    return path


def adam(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> list[Array]:
    """Adam: Kingma & Ba 2015, Algorithm 1, its L2 penalty in the gradient; ``amsgrad`` is Reddi, Kale & Kumar 2018.

    With decoupled weight decay it is AdamW.
    """
    if decoupled_weight_decay:
        return adamw(
            param,
            grads,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
        )
    beta1, beta2 = betas
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    largest = np.zeros_like(theta)
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, weight_decay, maximize)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        m_hat = m / (1 - beta1**t)
        v_hat = (largest if amsgrad else v) / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
        path.append(theta)
    return path


def adamw(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> list[Array]:
    """AdamW: Loshchilov & Hutter 2019, Algorithm 2, with ``lr`` in front of the decay too."""
    beta1, beta2 = betas
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    largest = np.zeros_like(theta)
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, 0.0, maximize)
        theta = theta - lr * weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v)
        m_hat = m / (1 - beta1**t)
        v_hat = (largest if amsgrad else v) / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
        path.append(theta)
    return path


def adamax(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> list[Array]:
    """Adamax: Kingma & Ba 2015, Algorithm 2, with ``eps`` added to the size of the gradient."""
    beta1, beta2 = betas
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    u = np.zeros_like(theta)
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, weight_decay, maximize)
        m = beta1 * m + (1 - beta1) * g
        u = np.maximum(beta2 * u, np.abs(g) + eps)
        theta = theta - lr / (1 - beta1**t) * m / u
        path.append(theta)
    return path


def nadam(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> list[Array]:
    """NAdam: Dozat 2016, Algorithm 2, with its section 3's warm-up of the momentum."""
    beta1, beta2 = betas
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    momenta: list[float] = []
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, 0.0 if decoupled_weight_decay else weight_decay, maximize)
        if decoupled_weight_decay:
            theta = theta - lr * weight_decay * theta
        mu, mu_next = (beta1 * (1 - 0.96 ** (i * momentum_decay) / 2) for i in (t, t + 1))
        momenta.append(mu)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = mu_next * m / (1 - np.prod(momenta) * mu_next) + (1 - mu) * g / (1 - np.prod(momenta))
        theta = theta - lr * m_hat / (np.sqrt(v / (1 - beta2**t)) + eps)
        path.append(theta)
    return path


def radam(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> list[Array]:
    """RAdam: Liu et al. 2020, Algorithm 2, rectified above 5, with ``eps`` beside the uncorrected root."""
    beta1, beta2 = betas
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    rho_inf = 2 / (1 - beta2) - 1
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, 0.0 if decoupled_weight_decay else weight_decay, maximize)
        if decoupled_weight_decay:
            theta = theta - lr * weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        step = lr * m / (1 - beta1**t)
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            step = step * r * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
        theta = theta - step
        path.append(theta)
    return path


def rprop(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> list[Array]:
    """Rprop: Riedmiller & Braun 1993 as iRprop- of Igel & Hüsken 2000, which takes no step back."""
    theta = np.array(param, np.float64)
    size = np.full_like(theta, lr)
    previous = np.zeros_like(theta)
    path = []
    for grad in grads:
        g = _signed(grad, theta, 0.0, maximize)
        agreement = g * previous
        size = np.clip(size * np.where(agreement > 0, etas[1], np.where(agreement < 0, etas[0], 1.0)), *step_sizes)
        previous = np.where(agreement < 0, 0.0, g)
        theta = theta - size * np.sign(previous)
        path.append(theta)
    return path


def asgd(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> list[Array]:
    """ASGD's walk, whose rate is that of Xu 2011; for its average see :func:`averages`."""
    theta = np.array(param, np.float64)
    path = []
    for steps_before, grad in enumerate(grads):
        g = _signed(grad, theta, weight_decay, maximize)
        eta = lr / (1 + lambd * lr * steps_before) ** alpha
        theta = theta - eta * (lambd * theta + g)
        path.append(theta)
    return path


def averages(path: Iterable[Array], t0: int) -> list[Array]:
    """Polyak & Juditsky 1992: after each step the mean of the points from step ``t0 + 2`` on; before, the point."""
    points = list(path)
    return [point if t < t0 + 2 else np.mean(points[t0 + 1 : t], axis=0) for t, point in enumerate(points, start=1)]


def lion(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> list[Array]:
    """Lion: Chen et al. 2023, Algorithm 2."""
    theta = np.array(param, np.float64)
    m = np.zeros_like(theta)
    path = []
    for grad in grads:
        g = _signed(grad, theta, 0.0, maximize)
        theta = theta - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * theta)
        m = betas[1] * m + (1 - betas[1]) * g
        path.append(theta)
    return path


def adafactor(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> list[Array]:
    """Adafactor: Shazeer & Stern 2018, Algorithms 4 and 5, with means, and eps in the quotient, as in PyTorch."""
    theta = np.array(param, np.float64)
    eps1 = np.finfo(np.float64).eps if eps[0] is None else eps[0]
    square = np.zeros_like(theta)
    path = []
    for t, grad in enumerate(grads, start=1):
        g = _signed(grad, theta, 0.0, maximize)
        alpha = max(eps[1], np.sqrt(np.mean(theta**2))) * min(lr, 1 / np.sqrt(t))
        beta = 1 - t**beta2_decay
        # Averages of means are means of averages, so the factors need no state of their own.
        square = beta * square + (1 - beta) * g**2
        v = square
        if theta.ndim > 1:
            r, c = square.mean(-1, keepdims=True), square.mean(-2, keepdims=True)
            v = r * c / np.maximum(r.mean(-2, keepdims=True), eps1)
        u = g / np.sqrt(np.maximum(v, eps1**2))
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / d)
        theta = theta - lr * weight_decay * theta - alpha * u
        path.append(theta)
    return path


def muon(
    param: ArrayLike,
    grads: Iterable[ArrayLike],
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> list[Array]:
    """Muon: Jordan et al. 2024. The polynomial is applied to the singular values themselves."""
    a, b, c = ns_coefficients
    theta = np.array(param, np.float64)
    rows, columns = theta.shape
    scale = {
        None: max(1.0, rows / columns) ** 0.5,
        "original": max(1.0, rows / columns) ** 0.5,
        "match_rms_adamw": 0.2 * max(rows, columns) ** 0.5,
        "spectral_unclamped": (rows / columns) ** 0.5,
    }[adjust_lr_fn]
    average = np.zeros_like(theta)
    path = []
    for grad in grads:
        g = np.asarray(grad, np.float64)
        average = momentum * average + (1 - momentum) * g
        ahead = momentum * average + (1 - momentum) * g if nesterov else average
        left, values, right = np.linalg.svd(ahead, full_matrices=False)
        values = values / max(np.linalg.norm(values), eps)
        for _ in range(ns_steps):
            values = a * values + b * values**3 + c * values**5
        theta = theta - lr * weight_decay * theta - lr * scale * (left * values) @ right
        path.append(theta)
    return path


#: By the name of the optimizer.
REFERENCE: dict[str, Callable[..., list[Array]]] = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adamw,
    "Adamax": adamax,
    "NAdam": nadam,
    "RAdam": radam,
    "Rprop": rprop,
    "ASGD": asgd,
    "Lion": lion,
    "Adafactor": adafactor,
    "Muon": muon,
}
