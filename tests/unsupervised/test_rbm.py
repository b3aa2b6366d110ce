"""RBMs against the reference that draws the same numbers, and against all states of tiny machines."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn.unsupervised import DBN, RBM
from tests.reference import rbm as reference

SEED = (7 << 32) + 11


def data(n: int, width: int, kind: str = "bernoulli") -> np.ndarray:
    rng = np.random.default_rng(n + width)
    # Fractions, which count as probabilities.
    return rng.uniform(size=(n, width)) if kind == "bernoulli" else rng.normal(size=(n, width))


def machine(visible: int, hidden: int, kind: Any = "bernoulli", dtype: Any = fnn.float64, **settings: Any) -> RBM:
    """Parameters far from their first values, so that every term of a formula shows."""
    rbm = RBM(visible, hidden, kind, dtype=dtype, **settings)
    rng = np.random.default_rng(visible * hidden)
    state = dict(rbm.state_dict())
    state["weight"] = rng.normal(size=(hidden, visible)) * 0.7
    state["visible_bias"] = rng.normal(size=visible) * 0.5
    state["hidden_bias"] = rng.normal(size=hidden) * 0.5
    state["num_batches_tracked"] = np.array(1)
    if "chains" in state:
        state["chains"] = (rng.uniform(size=state["chains"].shape) < 0.5).astype(float)
    rbm.load_state_dict(state)
    return rbm


def twin(rbm: RBM) -> reference.Machine:
    """The reference with the same parameters and settings."""
    names = "k", "lr", "momentum", "weight_decay", "sparsity_target", "sparsity_cost", "sparsity_decay"
    return reference.Machine(
        rbm.weight.detach().numpy().astype(np.float64),
        rbm.visible_bias.detach().numpy().astype(np.float64),
        rbm.hidden_bias.detach().numpy().astype(np.float64),
        gaussian=rbm.visible == "gaussian",
        chains=rbm.chains.numpy().T.astype(np.float64) if rbm.chains is not None else None,
        sample_visible=rbm.sample_visible,
        **{name: getattr(rbm, name) for name in names},
    )


# Normal numbers are made in single precision.
TOLERANCES = {"bernoulli": {"rtol": 1e-9, "atol": 1e-11}, "gaussian": {"rtol": 1e-6, "atol": 1e-6}}

# Widths that are no multiples of 4, 8 or 16; a last batch that is smaller; more chains than rows, and fewer.
CASES: dict[str, dict[str, Any]] = {
    "cd-1": {},
    "cd-3": {"k": 3},
    "means": {"k": 2, "sample_visible": False},
    "momentum": {"momentum": 0.7, "weight_decay": 0.3, "lr": 0.4},
    "decay": {"weight_decay": 0.3, "lr": 0.4},
    "sparsity": {"sparsity_cost": 0.8, "sparsity_target": 0.3, "sparsity_decay": 0.6},
    "pcd": {"persistent": True, "n_chains": 3},
    "pcd-2": {"persistent": True, "n_chains": 17, "k": 2, "momentum": 0.5},
    "gaussian": {"kind": "gaussian", "lr": 0.03, "k": 2},
    "gaussian means": {"kind": "gaussian", "lr": 0.03, "sample_visible": False},
    "gaussian pcd": {"kind": "gaussian", "lr": 0.03, "persistent": True, "n_chains": 6, "weight_decay": 0.2},
}


@pytest.mark.parametrize("size", [(1, 1, 1), (6, 3, 5), (21, 10, 9), (70, 37, 66)])
@pytest.mark.parametrize("name", CASES)
def test_batches_follow_the_reference(name: str, size: tuple[int, int, int]) -> None:
    settings = dict(CASES[name])
    visible, hidden, batch = size
    rbm = machine(visible, hidden, settings.pop("kind", "bernoulli"), **settings)
    expected = twin(rbm)
    x = data(2 * batch + (batch + 1) // 2, visible, rbm.visible)
    fnn.manual_seed(SEED)
    history = rbm.fit(x, epochs=1, batch_size=batch, shuffle=False, verbose=False)
    batches = [x[i : i + batch] for i in range(0, len(x), batch)]
    errors = [expected.batch(rows, SEED, call) * len(rows) for call, rows in enumerate(batches)]
    for what in ("weight", "visible_bias", "hidden_bias"):
        got = getattr(rbm, what).detach().numpy()
        np.testing.assert_allclose(got, getattr(expected, what), **TOLERANCES[rbm.visible], err_msg=what)
    if rbm.chains is None:
        np.testing.assert_allclose(history["reconstruction_error"], sum(errors) / len(x), **TOLERANCES[rbm.visible])
    else:
        np.testing.assert_array_equal(rbm.chains.numpy().T, expected.chains)
        means = expected.visible(expected.hidden(x))
        np.testing.assert_allclose(
            history["reconstruction_error"], np.mean((x - means) ** 2), **TOLERANCES[rbm.visible]
        )
    assert rbm.num_batches_tracked.item() == 1 + len(batches)


def test_float32_is_the_same_machine() -> None:
    rbm, x = machine(21, 10, dtype=fnn.float32, momentum=0.5), data(40, 21)
    expected = twin(rbm)
    fnn.manual_seed(SEED)
    rbm.fit(x, batch_size=10, shuffle=False, verbose=False)
    for call in range(4):
        expected.batch(x[10 * call : 10 * call + 10], SEED, call)
    np.testing.assert_allclose(rbm.weight.detach().numpy(), expected.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_gibbs_sampling_follows_the_reference(kind: str) -> None:
    rbm, start = machine(21, 10, kind), data(7, 21, kind)
    expected = twin(rbm)
    fnn.manual_seed(SEED)
    got = rbm.sample(7, 3, start=start)
    fnn.manual_seed(SEED)
    means = rbm.sample(7, 3, start=start, mean=True)
    v = start
    for step in range(3):
        h = expected.draw_hidden(expected.hidden(v), SEED, 0, 2 * step)
        mean = expected.visible(h)
        v = expected.draw_visible(mean, SEED, 0, 2 * step + 1)
    np.testing.assert_allclose(got, v, **TOLERANCES[kind])
    np.testing.assert_allclose(means, mean, **TOLERANCES[kind])
    np.testing.assert_array_equal(rbm.sample(7, 0, start=start), start)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_free_energy_sums_over_all_hidden_states(kind: str) -> None:
    rbm = machine(4, 3, kind)
    x = reference.states(4) if kind == "bernoulli" else data(9, 4, kind)
    expected = [reference.free_energy(twin(rbm), v) for v in x]
    np.testing.assert_allclose(rbm.free_energy(x), expected, rtol=1e-12)


def test_free_energy_of_large_inputs() -> None:
    """PyTorch's softplus is off by 2e-9 from its threshold on, and exp overflows at 710."""
    rbm = machine(2, 1)
    rbm.load_state_dict({**rbm.state_dict(), "weight": np.array([[21.0, 800.0]])})
    bias, b = rbm.visible_bias.detach().numpy(), rbm.hidden_bias.item()
    expected = [-bias[0] - np.logaddexp(0, 21 + b), -bias[1] - (800 + b)]
    np.testing.assert_allclose(rbm.free_energy(np.eye(2)), expected, rtol=1e-13)


def test_pseudo_likelihood_is_that_of_all_conditionals() -> None:
    rbm, x = machine(4, 3), reference.states(4)
    expected = [reference.pseudo_likelihood(twin(rbm), v) for v in x]
    np.testing.assert_allclose(rbm.pseudo_likelihood(x), expected, rtol=1e-12)
    fnn.manual_seed(3)
    some = np.mean([rbm.pseudo_likelihood(x, units=1) for _ in range(400)], axis=0)
    np.testing.assert_allclose(some, expected, rtol=0.25)
    assert not np.allclose(rbm.pseudo_likelihood(x, units=1), expected)


def test_pseudo_likelihood_of_more_rows_than_a_block() -> None:
    rbm = machine(4, 3)
    x = np.tile(reference.states(4), (40, 1))
    np.testing.assert_array_equal(rbm.pseudo_likelihood(x), np.tile(rbm.pseudo_likelihood(x[:16]), 40))


@pytest.mark.parametrize("settings", [{}, {"k": 5}, {"persistent": True, "lr": 0.05}])
def test_learning_raises_the_likelihood(settings: dict[str, Any]) -> None:
    """Exact, of a machine with 16 visible states, on data with two of them; over five seeds."""
    x = np.array([[1, 1, 0, 0]] * 20 + [[0, 0, 1, 1]] * 20, np.float64)
    for seed in range(5):
        fnn.manual_seed(seed)
        rbm = RBM(4, 3, dtype=fnn.float64, **{"lr": 0.2, **settings})
        before = reference.log_likelihood(twin(rbm), x)
        rbm.fit(x, epochs=300, batch_size=10, verbose=False)
        after = reference.log_likelihood(twin(rbm), x)
        # 16 states to begin with, and hardly more than the two at the end: ln 16 = 2.77, ln 2 = 0.69.
        assert before == pytest.approx(-np.log(16), abs=0.01)
        assert after > -1.3


def test_samples_have_the_exact_distribution() -> None:
    """Frequencies of 8 states over 20000 chains, within five standard errors."""
    rbm = machine(3, 2)
    fnn.manual_seed(0)
    samples = rbm.sample(20_000, 50)
    counts = np.bincount((samples @ [4, 2, 1]).astype(int), minlength=8) / len(samples)
    p = np.exp([-reference.free_energy(twin(rbm), v) for v in reference.states(3)])
    p /= p.sum()
    assert np.all(np.abs(counts - p) < 5 * np.sqrt(p * (1 - p) / len(samples)))


def test_gaussian_samples_have_the_exact_moments() -> None:
    """A mixture of 4 Gaussians, one a hidden state, weighted by exp(-F) integrated over v."""
    rbm = machine(3, 2, "gaussian")
    fnn.manual_seed(0)
    samples = rbm.sample(20_000, 50)
    exact = twin(rbm)
    h = reference.states(2)
    means = exact.visible(h)
    log_p = h @ exact.hidden_bias + (np.sum(means**2, 1) - np.sum(exact.visible_bias**2)) / 2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ means
    covariance = (means - mean).T @ (p[:, None] * (means - mean)) + np.eye(3)
    error = np.sqrt(np.diag(covariance) / len(samples))
    assert np.all(np.abs(samples.mean(0) - mean) < 5 * error)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 2 / len(samples))
    assert np.all(np.abs(np.cov(samples.T) - covariance) < 5 * scale)


def test_gaussian_units_learn_mean_and_structure() -> None:
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 2000)[:, None] * 4 - 2
    x = (side * np.array([1.0, -1.0, 0.5, 0.0]) + rng.normal(size=(2000, 4)) + 1).astype(np.float32)
    fnn.manual_seed(0)
    rbm = RBM(4, 6, "gaussian", lr=0.02)
    first = rbm.fit(x, epochs=1, verbose=False)["reconstruction_error"][0]
    last = rbm.fit(x, epochs=40, initial_epoch=1, verbose=False)["reconstruction_error"][-1]
    assert last < 0.6 * first
    samples = rbm.sample(4000, 200)
    np.testing.assert_allclose(samples.mean(0), x.mean(0), atol=0.4)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(x.T), atol=1.2)


def test_means_and_reconstructions() -> None:
    for kind in ("bernoulli", "gaussian"):
        rbm, x = machine(9, 5, kind), data(6, 9, kind)
        expected = twin(rbm)
        np.testing.assert_allclose(rbm.transform(x), expected.hidden(x), rtol=1e-12)
        np.testing.assert_allclose(rbm.reconstruct(x), expected.visible(expected.hidden(x)), rtol=1e-12)
        np.testing.assert_array_equal(rbm(x).detach().numpy(), rbm.transform(x))
        assert rbm(x).requires_grad


def test_the_error_falls_and_sparsity_acts() -> None:
    rng = np.random.default_rng(0)
    x = (rng.uniform(size=(400, 1)) < np.linspace(0.1, 0.9, 20)).astype(np.float32)
    fnn.manual_seed(0)
    plain, sparse = RBM(20, 12), RBM(20, 12, sparsity_cost=2.0, sparsity_target=0.05)
    errors = plain.fit(x, epochs=20, verbose=False)["reconstruction_error"]
    assert errors[-1] < 0.6 * errors[0]
    sparse.fit(x, epochs=20, verbose=False)
    assert plain.transform(x).mean() > 0.2
    assert sparse.transform(x).mean() < 0.1


# Bits


def bits(rbm: RBM) -> list[bytes]:
    return [value.numpy().tobytes() for value in rbm.state_dict().values()]


@pytest.mark.parametrize("settings", [{"k": 2, "momentum": 0.5}, {"persistent": True}, {"visible": "gaussian"}])
def test_the_same_bits_for_any_number_of_threads(settings: dict[str, Any]) -> None:
    x = data(330, 131).astype(np.float32)
    found = []
    threads = fnn.get_num_threads()
    try:
        for count in (1, 2, 3, 7):
            fnn.set_num_threads(count)
            fnn.manual_seed(1)
            rbm = RBM(131, 67, weight_decay=1e-3, sparsity_cost=0.1, **settings)
            rbm.fit(x, epochs=2, batch_size=100, verbose=False)
            found.append([*bits(rbm), rbm.sample(200, 5).tobytes(), rbm.transform(x).tobytes()])
    finally:
        fnn.set_num_threads(threads)
    assert all(one == found[0] for one in found[1:])


@pytest.mark.parametrize("settings", [{"momentum": 0.5, "sparsity_cost": 0.1}, {"persistent": True, "n_chains": 7}])
def test_a_fit_that_resumes_goes_on_exactly(settings: dict[str, Any]) -> None:
    x = data(50, 9)
    fnn.manual_seed(4)
    whole = RBM(9, 5, **settings)
    first = copy.deepcopy(whole)
    state = fnn.get_rng_state()
    whole.fit(x, epochs=4, batch_size=8, verbose=False)
    fnn.set_rng_state(state)
    first.fit(x, epochs=2, batch_size=8, verbose=False)
    state = fnn.get_rng_state()
    second = RBM(9, 5, **settings)
    second.load_state_dict({name: value.numpy().copy() for name, value in first.state_dict().items()})
    fnn.set_rng_state(state)
    history = second.fit(x, epochs=4, batch_size=8, initial_epoch=2, verbose=False)
    assert history.epochs == [2, 3]
    assert bits(second) == bits(whole)


def test_without_momentum_no_step_is_left_over() -> None:
    x = data(30, 9)
    rbm = machine(9, 5, momentum=0.9)
    rbm.fit(x, verbose=False)
    rbm.momentum = 0.0
    rbm.fit(x, verbose=False)
    assert not rbm.weight_step.numpy().any()
    assert not rbm.hidden_step.numpy().any()


def test_files_and_types() -> None:
    assert set(RBM(3, 2).state_dict()) | {"chains"} == set(RBM(3, 2, persistent=True).state_dict())
    rbm = machine(9, 5, dtype=fnn.float32).double()
    assert rbm.transform(data(3, 9)).dtype == np.float64
    rbm.fit(data(30, 9), verbose=False)
    assert repr(rbm) == "RBM(9, 5, visible='bernoulli', CD-1, lr=0.1)"
    assert RBM(3, 2, "gaussian").lr == 0.01


# Bad input

BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: RBM(0, 3), ValueError, "RBM: expected n_visible of at least 1; got 0"),
    (lambda: RBM(3, 2.0), TypeError, "RBM: expected n_hidden to be an int; got 2.0"),
    (lambda: RBM(3, 2, "softmax"), ValueError, "RBM: expected visible to be 'bernoulli' or 'gaussian'; got 'softmax'"),
    (lambda: RBM(3, 2, k=0), ValueError, "RBM: expected k of at least 1; got 0"),
    (lambda: RBM(3, 2, lr=-0.1), ValueError, "RBM: expected lr of at least 0; got -0.1"),
    (lambda: RBM(3, 2, lr=float("nan")), ValueError, "RBM: expected lr of at least 0; got nan"),
    (lambda: RBM(3, 2, lr="a"), TypeError, "RBM: expected lr to be a number; got 'a'"),
    (lambda: RBM(3, 2, momentum=1), ValueError, "RBM: expected momentum in [0, 1); got 1"),
    (lambda: RBM(3, 2, weight_decay=-1), ValueError, "RBM: expected weight_decay of at least 0; got -1"),
    (lambda: RBM(3, 2, sparsity_target=0), ValueError, "RBM: expected sparsity_target in (0, 1); got 0"),
    (lambda: RBM(3, 2, sparsity_cost=-1), ValueError, "RBM: expected sparsity_cost of at least 0; got -1"),
    (lambda: RBM(3, 2, sparsity_decay=1), ValueError, "RBM: expected sparsity_decay in [0, 1); got 1"),
    (lambda: RBM(3, 2, n_chains=0), ValueError, "RBM: expected n_chains of at least 1; got 0"),
    (lambda: RBM(3, 2, dtype=fnn.int64), TypeError, "RBM: expected dtype float32 or float64; got fastnn.int64"),
    (lambda: RBM(3, 2).transform(np.ones((4, 3))), ValueError, "RBM(3, 2).transform: expected a fitted machine; call fit or load_state_dict first"),
    (lambda: RBM(3, 2).sample(4), ValueError, "RBM(3, 2).sample: expected a fitted machine; call fit or load_state_dict first"),
    (lambda: RBM(3, 2).fit(np.ones((4, 2))), ValueError, "RBM(3, 2).fit: expected x of shape (n, 3); got (4, 2)"),
    (lambda: RBM(3, 2).fit(np.ones(3)), ValueError, "RBM(3, 2).fit: expected x of shape (n, 3); got (3,)"),
    (lambda: RBM(3, 2).fit(np.ones((0, 3))), ValueError, "RBM(3, 2).fit: expected at least one row in x; got shape (0, 3)"),
    (lambda: RBM(3, 2).fit(np.full((4, 3), 255)), ValueError, "RBM(3, 2).fit: expected x in [0, 1], as the visible units are Bernoulli; got 255"),
    (lambda: RBM(3, 2).fit(np.full((4, 3), -0.5)), ValueError, "RBM(3, 2).fit: expected x in [0, 1], as the visible units are Bernoulli; got -0.5"),
    (lambda: RBM(3, 2).fit(np.full((4, 3), np.nan)), ValueError, "RBM(3, 2).fit: expected x in [0, 1], as the visible units are Bernoulli; got nan"),
    (lambda: RBM(3, 2, "gaussian").fit(np.array([[0, 1, np.inf]])), ValueError, "RBM(3, 2).fit: expected finite numbers in x; got inf"),
    (lambda: RBM(3, 2).fit([["a", "b", "c"]]), TypeError, "RBM(3, 2).fit: expected x to hold real numbers; got dtype <U1"),
    (lambda: RBM(3, 2).fit(np.ones((4, 3)), batch_size=0), ValueError, "RBM.fit: expected batch_size of at least 1; got 0"),
    (lambda: RBM(3, 2).fit(np.ones((4, 3)), epochs=-1), ValueError, "RBM.fit: expected epochs of at least 0; got -1"),
    (lambda: machine(3, 2).sample(0), ValueError, "RBM.sample: expected n of at least 1; got 0"),
    (lambda: machine(3, 2).sample(2, -1), ValueError, "RBM.sample: expected steps of at least 0; got -1"),
    (lambda: machine(3, 2).sample(2, start=np.ones((3, 3))), ValueError, "RBM(3, 2).sample: expected start of 2 rows; got 3"),
    (lambda: machine(3, 2).pseudo_likelihood(np.full((1, 3), 0.5)), ValueError, "RBM(3, 2).pseudo_likelihood: expected x of zeros and ones; got 0.5"),
    (lambda: machine(3, 2).pseudo_likelihood(np.ones((1, 3)), units=4), ValueError, "RBM(3, 2).pseudo_likelihood: expected units of at most 3; got 4"),
    (lambda: machine(3, 2, "gaussian").pseudo_likelihood(np.ones((1, 3))), ValueError, "RBM(3, 2).pseudo_likelihood: expected Bernoulli visible units; got 'gaussian'"),
    (lambda: DBN([3]), ValueError, "DBN: expected at least two widths; got [3]"),
    (lambda: DBN(3), TypeError, "DBN: expected widths to be a sequence of ints; got int"),
    (lambda: DBN([3, 0]), ValueError, "DBN: expected widths of at least 1; got 0"),
    (lambda: DBN([3, 2, 2]).to_sequential(2), ValueError, "DBN([3, 2, 2]).to_sequential: expected a pre-trained net, but rbms[0] was never fitted; call pretrain or load_state_dict first"),
    (lambda: DBN([3, 2]).transform(np.ones((1, 3))), ValueError, "DBN([3, 2]).transform: expected a pre-trained net, but rbms[0] was never fitted; call pretrain or load_state_dict first"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=range(len(BAD)))
def test_messages(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_setting_assigned_later_is_checked() -> None:
    rbm = RBM(3, 2)
    rbm.momentum = 2.0
    with pytest.raises(ValueError, match=r"^RBM: expected momentum in \[0, 1\); got 2.0$"):
        rbm.fit(np.ones((4, 3)), verbose=False)
    rbm.momentum, rbm.persistent = 0.5, True
    with pytest.raises(ValueError, match=r"^RBM\(3, 2\): expected persistent=True from the start; got it afterwards$"):
        rbm.fit(np.ones((4, 3)), verbose=False)


def test_a_machine_that_goes_astray_says_so() -> None:
    rbm = RBM(3, 2, "gaussian", lr=1e30)
    message = r"^RBM\(3, 2\).fit: the reconstruction error is (inf|nan) in epoch \d+: try an lr below 1e\+30, and standardize the data$"
    with pytest.raises(ValueError, match=message):
        rbm.fit(data(64, 3, "gaussian"), epochs=9, verbose=False)


def test_a_state_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="size mismatch for weight"):
        RBM(3, 2).load_state_dict(RBM(4, 2).state_dict())
