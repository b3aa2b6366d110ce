"""Scalers: formulas, any order of batches, saving, plans, errors."""

import copy

import numpy as np
import pytest
from tests.planned import has_eager_bits

import fastnn as fnn
from fastnn import nn, optim

# Far from 0, of very different spreads, and one that does not vary.
X = np.random.default_rng(3).normal(size=(101, 4)) * [1, 100, 0.01, 0] + [5, 2000, -3, 0.1]
SCALERS = [nn.StandardScaler, lambda *a, **k: nn.MinMaxScaler(*a, (-1, 3), **k)]


def standard(x):
    std = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(std < 1e-12, 1, std)


def min_max(x):
    spread = np.ptp(x, axis=0)
    return (x - x.min(axis=0)) / np.where(spread == 0, 1, spread) * 4 - 1


PAIRS = list(zip(SCALERS, [standard, min_max], strict=True))


@pytest.mark.parametrize(("make", "reference"), PAIRS)
def test_the_formula_and_its_inverse(make, reference):
    scaler = make(4, dtype=fnn.float64).fit(X)
    np.testing.assert_allclose(scaler(X).numpy(), reference(X), rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(scaler.inverse(scaler(X)).numpy(), X, rtol=1e-14)
    assert scaler.n_samples_seen.item() == len(X)
    np.testing.assert_allclose(scaler(X[7]).numpy(), reference(X)[7], rtol=1e-12, atol=1e-11)  # any leading shape


@pytest.mark.parametrize(("make", "reference"), PAIRS)
def test_float32_and_integers(make, reference):
    scaler = make(4).fit(X)
    for x in (X, X.astype(np.float32)):
        y = scaler(x).numpy()
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, reference(X), atol=2e-4)  # 2000 has an ulp of 1e-4, a thousandth of 100
    whole = np.arange(12).reshape(3, 4) ** 2
    np.testing.assert_allclose(make(4).fit(whole)(whole).numpy(), reference(whole.astype(float)), rtol=1e-6)


@pytest.mark.parametrize("make", SCALERS)
def test_parts_make_the_whole(make, monkeypatch):
    whole = make(4, dtype=fnn.float64).fit(X)
    parts = make(4, dtype=fnn.float64)
    for part in (X[:1], X[1:40], X[40:]):
        parts.partial_fit(part)
    # Large data goes through in chunks, here of 7 rows.
    monkeypatch.setattr("fastnn.nn.scaler._CHUNK", 28)
    chunked = make(4, dtype=fnn.float64).fit(X[:50] * 2).fit(X)
    for name, value in whole.state_dict().items():
        # The constant has a variance that is rounding alone.
        np.testing.assert_allclose(
            parts.state_dict()[name].numpy(), value.numpy(), rtol=1e-12, atol=1e-28, err_msg=name
        )
        np.testing.assert_allclose(chunked.state_dict()[name].numpy(), value.numpy(), rtol=1e-12, atol=1e-28)


def test_scikit_learns_numbers():
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="compares with scikit-learn")
    pairs = [
        (nn.StandardScaler(4, dtype=fnn.float64), preprocessing.StandardScaler()),
        (nn.MinMaxScaler(4, (-2, 0.5), dtype=fnn.float64), preprocessing.MinMaxScaler((-2, 0.5))),
    ]
    for ours, theirs in pairs:
        ours.fit(X), theirs.fit(X)
        np.testing.assert_allclose(ours.scale.numpy(), theirs.scale_, rtol=1e-12)
        np.testing.assert_allclose(ours(X).numpy(), theirs.transform(X), rtol=1e-12, atol=1e-12 * 2000 / 0.01)
        # Values near 0 have no digits to lose: they agree to the last.
        near = X - X.mean(axis=0).round()
        ours.fit(near[:30]).partial_fit(near[30:]), theirs.fit(near)
        np.testing.assert_allclose(ours(near).numpy(), theirs.transform(near), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ours.inverse(near).numpy(), theirs.inverse_transform(near), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", SCALERS)
def test_a_saved_model_takes_raw_inputs(make, tmp_path):
    def model():
        return nn.Sequential(make(4), nn.Linear(4, 3))

    trained = model()
    trained[0].fit(X)
    fnn.save(trained.state_dict(), tmp_path / "net.safetensors")
    loaded = model()
    loaded.load_state_dict(fnn.load(tmp_path / "net.safetensors"))
    expected = trained(X).detach().numpy()
    np.testing.assert_array_equal(loaded(X).detach().numpy(), expected)
    np.testing.assert_array_equal(copy.deepcopy(trained)(X).detach().numpy(), expected)


@pytest.mark.parametrize("make", SCALERS)
def test_planned_steps_are_eager_ones(make):
    x, y = X.astype(np.float32), np.arange(101, dtype=np.float32)[:, None] / 101

    def model():
        fnn.manual_seed(1)
        return nn.Sequential(make(4).fit(X), nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))

    eager, planned = model(), model()

    def before(i):
        if i == 2:  # a plan sees that the scaler has changed
            eager[0].partial_fit(X[:9] * 3), planned[0].partial_fit(X[:9] * 3)

    has_eager_bits(eager, planned, lambda params: optim.SGD(params, lr=0.1), x, y, before=before)
    assert [name for name, _ in eager.named_parameters() if name.startswith("0.")] == []


def nan_in_feature_2():
    x = X.copy()
    x[90, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.StandardScaler(4)(X), ValueError,
         "StandardScaler(4): expected fit or partial_fit before the first use; got no samples yet"),
        (lambda: nn.MinMaxScaler(4)(X), ValueError,
         "MinMaxScaler(4): expected fit or partial_fit before the first use; got no samples yet"),
        (lambda: nn.MinMaxScaler(4).inverse(X), ValueError,
         "MinMaxScaler(4): expected fit or partial_fit before the first use; got no samples yet"),
        (lambda: nn.StandardScaler(0), ValueError, "StandardScaler: expected num_features of at least 1; got 0"),
        (lambda: nn.MinMaxScaler(2.0), TypeError, "MinMaxScaler: expected num_features to be an int; got 2.0"),
        (lambda: nn.MinMaxScaler(4, (1, 1)), ValueError, "MinMaxScaler: expected feature_range with low below high; got (1, 1)"),
        (lambda: nn.MinMaxScaler(4, (0, np.inf)), ValueError, "MinMaxScaler: expected feature_range with low below high; got (0, inf)"),
        (lambda: nn.MinMaxScaler(4, 3), TypeError, "MinMaxScaler: expected feature_range to be a pair (low, high); got 3"),
        (lambda: nn.StandardScaler(4).fit(X[0]), ValueError, "StandardScaler(4): expected input of shape (n, 4); got (4,)"),
        (lambda: nn.StandardScaler(3).partial_fit(X), ValueError, "StandardScaler(3): expected input of shape (n, 3); got (101, 4)"),
        (lambda: nn.StandardScaler(4).fit(X[:0]), ValueError, "StandardScaler(4): expected at least 1 sample to fit; got (0, 4)"),
        (lambda: nn.MinMaxScaler(4).fit(nan_in_feature_2()), ValueError,
         "MinMaxScaler(4): expected finite values; got nan or inf in feature 2"),
        (lambda: nn.StandardScaler(4).fit("x"), TypeError, "StandardScaler(4): expected a tensor or an array; got str"),
        (lambda: nn.StandardScaler(4).fit(X)(X[:, :3]), ValueError, "StandardScaler(4): expected input of shape (*, 4); got (101, 3)"),
        (lambda: nn.StandardScaler(4).fit(X)("x"), TypeError, "StandardScaler(4): expected a tensor or an array; got str"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_refused_data_changes_nothing():
    scaler = nn.StandardScaler(4).fit(X)
    before = {name: value.numpy().copy() for name, value in scaler.state_dict().items()}
    with pytest.raises(ValueError, match="feature 2"):
        scaler.fit(nan_in_feature_2())
    for name, value in scaler.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_texts():
    assert repr(nn.StandardScaler(4)) == "StandardScaler(4)"
    assert repr(nn.MinMaxScaler(4, (-1, 3))) == "MinMaxScaler(4, feature_range=(-1, 3))"
    assert list(nn.StandardScaler(4).state_dict()) == ["mean", "var", "scale", "n_samples_seen"]
    assert list(nn.MinMaxScaler(4).state_dict()) == ["data_min", "data_max", "scale", "n_samples_seen"]
