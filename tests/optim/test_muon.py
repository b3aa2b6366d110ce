"""Muon, which takes matrices only: its trajectory, resuming, arrays, bad settings; and shapes of Adafactor's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optim
from tests.optim.test_optim import Case, gradients, run
from tests.reference import optim as reference

CASES = [
    Case("Muon", {}),
    Case("Muon", {"lr": 0.3, "weight_decay": 0.4, "momentum": 0.6, "nesterov": False, "adjust_lr_fn": "original"}),
    Case("Muon", {"lr": 0.2, "momentum": 0.7, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "eps": 30.0}),
    Case("Muon", {"lr": 0.2, "adjust_lr_fn": "spectral_unclamped", "ns_coefficients": (2.0, -1.5, 0.5)}),
]
IDS = ["-".join(case.settings) or "defaults" for case in CASES]
# Wide, tall, and one element.
SHAPES = [(5, 7), (9, 4), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_trajectory_is_the_reference(case: Case, shape: tuple[int, ...]) -> None:
    start, grads = np.random.default_rng(1).normal(size=shape), gradients(shape)
    for found, wanted in zip(run(case, start, grads), reference.muon(start, grads, **case.settings), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_trajectory_is_torchs_in_full_precision(
    case: Case, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    start, grads = np.random.default_rng(1).normal(size=shape), gradients(shape)
    param = torch.tensor(start, requires_grad=True)
    theirs = torch.optim.Muon([param], **case.settings)
    # The type that it iterates in; ours is the parameter's.
    monkeypatch.setattr(torch, "bfloat16", torch.float64)
    for grad, found in zip(grads, run(case, start, grads), strict=True):
        param.grad = torch.tensor(grad)
        theirs.step()
        np.testing.assert_allclose(found, param.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_torchs_bfloat16_differs_in_the_third_digit() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    grad = gradients((16, 24), 1)[0]
    param = torch.zeros(16, 24, dtype=torch.float64, requires_grad=True)
    param.grad = torch.tensor(grad)
    torch.optim.Muon([param], lr=1.0).step()
    found = run(Case("Muon", {"lr": 1.0}), np.zeros((16, 24)), [grad])[0]
    difference = np.linalg.norm(found - param.detach().numpy()) / np.linalg.norm(found)
    assert 1e-4 < difference < 0.03


def test_the_step_is_nearly_orthogonal() -> None:
    grad = gradients((12, 30), 1)[0]
    step = run(Case("Muon", {"lr": 1.0, "weight_decay": 0.0}), np.zeros((12, 30)), [grad])[0]
    values = np.linalg.svd(step, compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_resuming_gives_the_same_bits(case: Case) -> None:
    start, grads = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32), gradients((9, 4), 20)
    whole = run(case, start, grads)[-1]
    param = fnn.tensor(start, requires_grad=True)
    first = optim.Muon([param], **case.settings)
    for grad in grads[:9]:
        param.grad = fnn.tensor(grad, dtype=fnn.float32)
        first.step()
    again = fnn.tensor(param.detach(), requires_grad=True)
    second = optim.Muon([again], lr=7.0)
    saved = first.state_dict()
    # As JSON returns them.
    saved["param_groups"][0]["ns_coefficients"] = list(saved["param_groups"][0]["ns_coefficients"])
    second.load_state_dict(saved)
    assert isinstance(second.param_groups[0]["ns_coefficients"], tuple)
    for grad in grads[9:]:
        again.grad = fnn.tensor(grad, dtype=fnn.float32)
        second.step()
    np.testing.assert_array_equal(again.detach().numpy(), whole)


def test_number_of_threads_does_not_change_a_bit() -> None:
    start, grads = np.random.default_rng(1).normal(size=(130, 97)).astype(np.float32), gradients((130, 97), 3)
    before = fnn.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            fnn.set_num_threads(threads)
            results.append(run(CASES[0], start, grads)[-1])
    finally:
        fnn.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_arrays_with_grads_are_updated_in_place() -> None:
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7), 6)
    w, part = start.copy(), np.zeros((5, 2, 7))[:, 0]  # the second is no contiguous one
    optimizer = optim.Muon([w, part], lr=0.1)
    for grad in grads:
        optimizer.step(grads=[grad, grad])
    np.testing.assert_array_equal(w, run(Case("Muon", {"lr": 0.1}), start, grads)[-1])
    np.testing.assert_array_equal(part, run(Case("Muon", {"lr": 0.1}), np.zeros((5, 7)), grads)[-1])
    with pytest.raises(RuntimeError, match=r"^Muon\.step: expected grads, as parameters are arrays; got none$"):
        optimizer.step()


@pytest.mark.parametrize("name", ["Muon", "Adafactor"])
def test_the_parameter_as_its_own_gradient(name: str) -> None:
    start = np.random.default_rng(1).normal(size=(4, 3))
    w = start.copy()
    settings = {"lr": 0.25, "weight_decay": 0.5}
    getattr(optim, name)([w], **settings).step(grads=[w])
    np.testing.assert_array_equal(w, run(Case(name, settings), start, [start])[0])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"lr": -1.0}, "Muon: expected lr of at least 0; got -1"),
    ({"momentum": -0.5}, "Muon: expected momentum of at least 0; got -0.5"),
    ({"weight_decay": float("nan")}, "Muon: expected weight_decay of at least 0; got nan"),
    ({"eps": -1e-3}, "Muon: expected eps of at least 0; got -0.001"),
    ({"ns_steps": 100}, "Muon: expected ns_steps below 100; got 100"),
    ({"ns_steps": -1}, "Muon: expected ns_steps of at least 0; got -1"),
    ({"ns_coefficients": (1.0, 2.0)}, "Muon: expected ns_coefficients to have 3 numbers; got 2"),
    (
        {"adjust_lr_fn": "rms"},
        "Muon: expected adjust_lr_fn to be None, 'original', 'match_rms_adamw' or 'spectral_unclamped'; got 'rms'",
    ),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        optim.Muon([fnn.zeros(2, 3, requires_grad=True)], **settings)
    assert str(error.value) == message


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_no_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        optim.Muon([fnn.zeros(shape, requires_grad=True)])
    assert str(error.value) == f"Muon: expected parameters of two dimensions; got one of shape {shape}"


def test_words_are_no_numbers() -> None:
    w = fnn.zeros(2, 3, requires_grad=True)
    with pytest.raises(TypeError, match=r"^Muon: expected lr to be a number; got 'fast'$"):
        optim.Muon([w], lr="fast")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^Adafactor: expected eps to be a tuple of 2 numbers; got 1e-08$"):
        optim.Adafactor([w], eps=1e-8)  # type: ignore[arg-type]


def test_wrong_parameters_and_gradients_are_named_as_by_the_core() -> None:
    frozen = np.zeros((2, 3))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"^Muon: expected writable float32 or float64 arrays in native byte order$"):
        optim.Muon([frozen])
    w, b = np.ones((2, 3)), np.ones((2, 2))
    optimizer = optim.Muon([w, b])
    with pytest.raises(ValueError, match=r"^Muon\.step: expected gradient 1 of shape \(2, 2\); got \(2, 3\)$"):
        optimizer.step(grads=[np.ones((2, 3)), np.ones((2, 3))])
    with pytest.raises(TypeError, match=r"^Muon\.step: expected gradient 0 of dtype float64; got float32$"):
        optimizer.step(grads=[np.ones((2, 3), np.float32), np.ones((2, 2))])
    assert w.tolist() == [[1.0] * 3] * 2


def test_adafactors_state_is_pytorchs() -> None:
    w, b = fnn.zeros(2, 3, 4, requires_grad=True), fnn.zeros(3, requires_grad=True)
    optimizer = optim.Adafactor([w, b])
    w.grad, b.grad = fnn.ones(2, 3, 4), fnn.ones(3)
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert {name: value.shape for name, value in state[0].items()} == {
        "step": (),
        "row_var": (2, 3, 1),
        "col_var": (2, 1, 4),
    }
    assert {name: value.shape for name, value in state[1].items()} == {"step": (), "variance": (3,)}
    state[0]["row_var"] = fnn.zeros(2, 4, 1)
    message = r"^load_state_dict: expected 'row_var' of parameter 0 of shape \(2, 3, 1\); got \(2, 4, 1\)$"
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    del state[0]["row_var"]
    with pytest.raises(ValueError, match=r"^load_state_dict: expected 'row_var' in the state of parameter 0$"):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def test_adafactors_three_dimensions_are_matrices() -> None:
    start, grads = np.random.default_rng(1).normal(size=(2, 3, 4)), gradients((2, 3, 4), 20)
    found = run(Case("Adafactor", {"lr": 0.1}), start, grads)[-1]
    np.testing.assert_allclose(found, reference.adafactor(start, grads, lr=0.1)[-1], rtol=1e-9)


def test_replaced_data_takes_its_state_along() -> None:
    w = fnn.zeros(2, 3, requires_grad=True)
    optimizer = optim.Muon([w])
    w.grad = fnn.ones(2, 3)
    optimizer.step()
    w.data = fnn.ones(2, 3, dtype=fnn.float64)
    w.grad = fnn.ones(2, 3, dtype=fnn.float64)
    optimizer.step()
    assert optimizer.state[w]["momentum_buffer"].dtype == fnn.float64
    w.data = fnn.ones(3, 3, dtype=fnn.float64)
    w.grad = fnn.ones(3, 3, dtype=fnn.float64)
    with pytest.raises(ValueError, match=r"^Muon\.step: expected parameter 0 of the shape that it had; got \(3, 3\)$"):
        optimizer.step()
