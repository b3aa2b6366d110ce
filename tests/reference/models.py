"""The nets of fastnn.models once more, evaluating, in float64: functions of a state and images."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

EPS = 1e-5


def conv(x, weight, bias=None, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    y = np.einsum("nchwij,ocij->nohw", windows, weight)
    return y if bias is None else y + bias[:, None, None]


def norm(x, state, name):
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + EPS)
    return (x - state[f"{name}.running_mean"][:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][
        :, None, None
    ]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def relu(x):
    return np.maximum(x, 0)


def pool(x, reduce):
    n, c, h, w = x.shape
    return reduce(x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2), axis=(3, 5))


def lenet5(state, x, activation=relu, reduce=np.max):
    padding = 2 if x.shape[2] == 28 else 0
    for name, pad in (("conv1", padding), ("conv2", 0)):
        x = pool(activation(conv(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=pad)), reduce)
    x = x.reshape(len(x), -1)
    for name in ("fc1", "fc2"):
        x = activation(linear(x, state, name))
    return linear(x, state, "fc3")


def resnet(state, x, blocks, shortcut):
    x = relu(norm(conv(x, state["conv1.weight"], padding=1), state, "bn1"))
    for stage in (1, 2, 3):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            base = x
            if stride == 2 and shortcut == "A":
                half = x.shape[1] // 2
                base = np.pad(x[:, :, ::2, ::2], ((0, 0), (half, half), (0, 0), (0, 0)))
            elif stride == 2:
                down = f"{name}.downsample"
                base = norm(conv(x, state[f"{down}.0.weight"], stride=2), state, f"{down}.1")
            x = relu(norm(conv(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), state, f"{name}.bn1"))
            x = relu(norm(conv(x, state[f"{name}.conv2.weight"], padding=1), state, f"{name}.bn2") + base)
    return linear(x.mean(axis=(2, 3)), state, "fc")


def vgg(state, x, batch_norm):
    place = 0
    for _ in range(3):
        for _ in range(2):
            x = conv(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)
            if batch_norm:
                x = norm(x, state, f"features.{place + 1}")
            x = relu(x)
            place += 2 + batch_norm
        x = pool(x, np.max)
        place += 1
    x = relu(linear(x.reshape(len(x), -1), state, "classifier.0"))
    return linear(x, state, "classifier.3")
