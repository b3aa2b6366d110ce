"""The same script under both names: keys, texts and numbers."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch", reason="compares with PyTorch")
torch.set_num_threads(1)  # small tensors, on a machine that may be busy

BOTH = [torch, fastnn]
X = np.random.default_rng(0).normal(size=(40, 6))
Y = np.arange(40) % 3


def every_layer(lib: ModuleType) -> Any:
    nn = lib.nn
    activations = [
        nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(5), nn.PReLU(), nn.ELU(0.7), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
        nn.Sigmoid(), nn.Tanh(), nn.Softplus(2.0), nn.Softmax(dim=1), nn.LogSoftmax(dim=-1), nn.Hardtanh(-2, 3), nn.ReLU6(),
    ]  # fmt: skip

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(lib.ones(5))
            self.register_buffer("steps", lib.zeros(2))
            self.register_buffer("hidden", lib.zeros(2), persistent=False)
            self.register_parameter("absent", None)
            self.body = nn.Sequential(
                nn.Linear(6, 5), nn.BatchNorm1d(5, affine=False), nn.Dropout(0.0), nn.Linear(5, 5, bias=False)
            )
            self.norms = nn.ModuleList([nn.BatchNorm1d(5), nn.BatchNorm1d(5, track_running_stats=False), nn.Identity()])
            self.by_sample = nn.ModuleList([nn.LayerNorm(5), nn.RMSNorm((5,)), nn.GroupNorm(1, 5)])
            self.series = nn.ModuleList(
                [nn.InstanceNorm1d(5, affine=True, track_running_stats=True), nn.GroupNorm(5, 5)]
            )
            self.acts = nn.ModuleDict({f"act{i}": layer for i, layer in enumerate(activations)})
            self.pair = nn.Bilinear(5, 5, 5)
            self.flat = nn.Flatten()
            self.tied = self.body
            self.head = nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            x = self.body(x)
            for norm in self.norms:
                x = norm(x)
            for norm in self.by_sample:
                x = x + norm(x) * 0.1
            series = lib.stack([x, x * x, 1 - x * 0.5], -1)
            for norm in self.series:
                x = x + norm(series)[:, :, 0] * 0.1
            for act in self.acts.values():
                x = x + act(x) * 0.1
            return self.head(self.flat(self.pair(x, x * self.scale)))

    return Model()


def pair() -> tuple[Any, Any]:
    """PyTorch's model and ours, in float64, with the same numbers."""
    torch.manual_seed(1)
    theirs, ours = every_layer(torch).double(), every_layer(fastnn).double()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return theirs, ours


def test_keys_shapes_and_order() -> None:
    theirs, ours = pair()
    for names in (lambda m: m.state_dict().items(), lambda m: m.named_parameters(), lambda m: m.named_buffers()):
        assert [(k, tuple(v.shape)) for k, v in names(ours)] == [(k, tuple(v.shape)) for k, v in names(theirs)]
    for names in (lambda m: m.named_modules(), lambda m: m.named_children()):
        assert [k for k, _ in names(ours)] == [k for k, _ in names(theirs)]


def test_repr() -> None:
    theirs, ours = map(repr, pair())
    # The batch norm of older PyTorchs has no `bias`.
    assert ours.replace("bias=True, track", "track") == theirs.replace("bias=True, track", "track")


def test_states_go_both_ways() -> None:
    theirs, ours = pair()
    other = every_layer(torch).double()
    other.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in ours.state_dict().items()})
    for name, value in theirs.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def optimizers(lib: ModuleType) -> dict[str, Any]:
    optim = lib.optim
    return {
        "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
        "Nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.1),
        "Adadelta": lambda p: optim.Adadelta(p, rho=0.8),
        "RMSprop": lambda p: optim.RMSprop(p, lr=0.005, centered=True, momentum=0.5),
        "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
        "AdamW": lambda p: optim.AdamW(p, lr=0.01),
        "Adamax": lambda p: optim.Adamax(p, lr=0.01),
        "NAdam": lambda p: optim.NAdam(p, lr=0.01, momentum_decay=0.1),
        "RAdam": lambda p: optim.RAdam(p, lr=0.01, betas=(0.9, 0.93)),
    }


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("name", optimizers(fastnn))
def test_trajectories(name: str, planned: bool) -> None:
    models = pair()
    losses: list[list[float]] = []
    for lib, model in zip(BOTH, models, strict=True):
        optimizer = optimizers(lib)[name](model.parameters())
        loss_function = lib.nn.CrossEntropyLoss(label_smoothing=0.1)
        mine: list[float] = []
        step = fastnn.TrainStep(model, loss_function, optimizer) if planned and lib is fastnn else None
        for i in range(30):
            rows = np.arange(i, i + 16) % len(X)
            if step is not None:
                mine.append(step(X[rows], Y[rows]))
                assert step.reason is None
                continue
            loss = loss_function(model(lib.tensor(X[rows])), lib.tensor(Y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mine.append(loss.item())
        losses.append(mine)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-7)
    ours = models[1].state_dict()
    # A batch norm takes away what these add: their gradients are rounding errors, and Adam steps by their signs.
    lost = ("body.0.bias", "body.1.running_mean", "norms.0.bias")
    for key, value in models[0].state_dict().items():
        if not key.replace("tied", "body").endswith(lost):
            np.testing.assert_allclose(np.asarray(ours[key]), value.numpy(), rtol=1e-6, atol=1e-9, err_msg=key)


def test_evaluating_gives_the_same_outputs() -> None:
    outputs = []
    for lib, model in zip(BOTH, pair(), strict=True):
        model(lib.tensor(X))  # moves the running statistics
        model.eval()
        with lib.no_grad():
            outputs.append(model(lib.tensor(X)).numpy())
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-9)


SCRIPTS = {
    "indexing": lambda t: t.arange(24).reshape(2, 3, 4)[:, [0, 2], 1:].sum(-1),
    "reductions": lambda t: t.stack([t.tensor(X).var(0), t.tensor(X).std(0, correction=0), t.tensor(X).amax(0)]),
    "sorting out": lambda t: t.where(t.tensor(X) > 0, t.tensor(X).clamp(max=0.5), t.tensor(0.25, dtype=t.float64)),
    "broadcast": lambda t: t.tensor(X)[:, None, :].sub(t.tensor(X[:5])).pow(2).sum(-1).sqrt(),
    "gather": lambda t: t.tensor(X).gather(1, t.tensor(Y)[:, None]),
    "promotion": lambda t: t.ones(3, dtype=t.int64) / 2 + t.ones(3, dtype=t.float64) * True,
    "matmul": lambda t: (t.tensor(X).T @ t.tensor(X)).flatten()[::5],
    "floor": lambda t: t.tensor([-7, 7]) // 2 + t.tensor([-7, 7]) % 3,
    "losses": lambda t: t.stack([
        t.nn.functional.smooth_l1_loss(t.tensor(X), t.tensor(X[::-1].copy()), beta=0.3),
        t.nn.functional.binary_cross_entropy_with_logits(t.tensor(X), t.sigmoid(t.tensor(X))),
        t.nn.functional.kl_div(t.log_softmax(t.tensor(X), 1), t.softmax(t.tensor(X) * 2, 1), reduction="batchmean"),
    ]),
    "cross entropies": lambda t: t.cat([
        t.nn.functional.cross_entropy(x, y, t.linspace(0.5, 2, 3, dtype=t.float64), ignore_index=i, reduction=r, label_smoothing=e).flatten()
        for r in ("none", "mean", "sum")
        for e in (0.0, 0.3)
        for x, y, i in (
            (t.tensor(X[0, :3]), t.tensor(2), -1),
            (t.tensor(X[:, :3]), t.tensor(Y), 1),
            (t.tensor(X.reshape(5, 3, 4, 4)), t.tensor(np.arange(80).reshape(5, 4, 4) % 3), 2),
            (t.tensor(X[0, :3]), t.softmax(t.tensor(X[1, :3]), 0), -100),
            (t.tensor(X.reshape(5, 3, 16)), t.softmax(t.tensor(X[::-1].reshape(5, 3, 16)), 1), -100),
            (t.tensor(X.reshape(5, 3, 4, 4)), t.softmax(t.tensor(X[::-1].reshape(5, 3, 4, 4)), 1), -100),
        )
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str) -> None:
    theirs, ours = (SCRIPTS[name](lib) for lib in BOTH)
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=1e-12)
