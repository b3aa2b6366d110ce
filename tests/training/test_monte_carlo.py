import inspect

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn

X = np.random.default_rng(0).uniform(0.5, 1.5, (45, 6)).astype(np.float32)


def test_mean_and_spread_are_those_of_the_masks():
    # Each output is x[i] / (1 - p) or 0: mean x, variance x² p / (1 - p).
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.2)).eval()
    mean, std = fnn.mc_predict(model, X, 4000)
    assert mean.shape == std.shape == X.shape
    assert mean.dtype == std.dtype == np.float32
    spread = X * np.sqrt(0.2 / 0.8)
    assert np.abs((mean - X) / (spread / np.sqrt(4000))).max() < 5
    np.testing.assert_allclose(std, spread, rtol=0.08)
    assert not any(part.training for part in model.modules())


def test_it_is_the_mean_and_the_spread_of_single_predictions():
    fnn.manual_seed(1)
    model = nn.Sequential(nn.DropConnect(6, 8, 0.3), nn.AlphaDropout(0.2), nn.Linear(8, 2)).double()
    fnn.manual_seed(5)
    mean, std = fnn.mc_predict(model, X, 7)
    fnn.manual_seed(5)
    with fnn.no_grad():
        singles = np.stack([model(X.astype(np.float64)).numpy() for _ in range(7)])
    np.testing.assert_allclose(mean, singles.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, singles.std(0), rtol=1e-10)
    assert all(part.training for part in model.modules())


def test_the_spread_of_large_outputs_is_not_lost():
    class Shift(nn.Module):
        def forward(self, x):
            return x * 1e-4 + 1e6

    fnn.manual_seed(1)
    model = nn.Sequential(nn.Dropout(0.5), Shift(), nn.Linear(6, 6, bias=False)).double()
    nn.init.eye_(model[2].weight)
    mean, std = fnn.mc_predict(model, np.ones((3, 6)), 500)
    np.testing.assert_allclose(mean, 1e6, rtol=1e-6)
    np.testing.assert_allclose(std, 1e-4, rtol=0.2)


def test_only_dropout_is_on():
    fnn.manual_seed(2)
    norm, noise = nn.BatchNorm1d(6), nn.GaussianNoise(5.0)
    model = nn.Sequential(norm, noise, nn.Dropout(0.0))
    mean, std = fnn.mc_predict(model, X, 3, batch_size=7)
    np.testing.assert_allclose(mean, X, rtol=1e-4)  # running statistics 0 and 1
    assert not std.any()
    assert norm.num_batches_tracked.item() == 0
    noisy = fnn.mc_predict(model, X, 50, layers=(nn.GaussianNoise,))
    assert noisy.std.mean() == pytest.approx(5, rel=0.1)
    assert norm.training
    assert noise.training


def test_batches_have_masks_of_their_own_and_the_seed_decides():
    model = nn.Sequential(nn.Dropout(0.5))
    x = np.ones((40, 3), np.float32)

    def means(seed):
        fnn.manual_seed(seed)
        return fnn.mc_predict(model, x, 1, batch_size=10).mean

    once = means(3)
    assert (once == means(3)).all()
    assert (once != means(4)).any()
    assert (once[:10] != once[10:20]).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.mc_predict(nn.Dropout(), X, 0), ValueError, "mc_predict: expected samples of at least 1; got 0"),
        (lambda: fnn.mc_predict(nn.Dropout(), X, batch_size=0), ValueError, "mc_predict: expected batch_size of at least 1; got 0"),
        (lambda: fnn.mc_predict(nn.Linear(6, 1), X), ValueError,
         "mc_predict: expected a model with layers that drop at random, such as Dropout; got none"),
        (lambda: fnn.mc_predict(nn.Dropout(), X[:0]), ValueError, "mc_predict: expected at least one row in x; got shape (0, 6)"),
        (lambda: fnn.mc_predict(abs, X), TypeError, "mc_predict: expected model to be an nn.Module; got builtin_function_or_method"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


LAYERS = {
    "Dropout": (lambda: nn.Dropout(0.5), (45, 6)),
    "Dropout, scaled while evaluating": (lambda: nn.Dropout(0.5, scaling="evaluation"), (45, 6)),
    "Dropout1d": (lambda: nn.Dropout1d(0.5), (45, 3, 2)),
    "Dropout2d": (lambda: nn.Dropout2d(0.5), (9, 5, 3, 2)),
    "Dropout3d": (lambda: nn.Dropout3d(0.5), (9, 5, 3, 1, 2)),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.5), (45, 6)),
    "FeatureAlphaDropout": (lambda: nn.FeatureAlphaDropout(0.5), (45, 6, 2)),
    "DropConnect": (lambda: nn.DropConnect(6, 3, 0.5), (45, 6)),
    "StochasticDepth": (lambda: nn.StochasticDepth(0.5, "row"), (45, 6)),
    "Residual": (lambda: nn.Residual(nn.Identity(), 0.5, mode="row"), (45, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_that_drops_is_on(name):
    make, shape = LAYERS[name]
    model = nn.Sequential(nn.Identity(), make()).eval()
    fnn.manual_seed(0)
    assert fnn.mc_predict(model, np.random.default_rng(1).uniform(1, 2, shape).astype(np.float32), 5).std.any()
    assert not any(part.training for part in model.modules())


def test_no_layer_that_draws_is_forgotten():
    """Every layer whose output differs from call to call while training drops at random, or is said not to."""
    others = {"GaussianNoise", "MaskingNoise", "WeightNoise", "FractionalMaxPool2d"}
    drawing = {
        name
        for name, layer in vars(nn).items()
        if isinstance(layer, type)
        and issubclass(layer, nn.Module)
        and "self.training" in inspect.getsource(layer)
        and not name.startswith(("BatchNorm", "InstanceNorm"))
    }
    dropping = {name for name in drawing if getattr(nn, name)._drops_at_random}
    assert dropping | others == drawing - {"Module", "Sequential"}
    assert not nn.Residual(nn.Identity())._drops_at_random  # one that always survives


@pytest.mark.parametrize("layers", [3, "Dropout", (nn.Dropout, 3), int, (int,), nn.Dropout()])
def test_layers_are_classes_of_modules(layers):
    with pytest.raises(TypeError, match=r"^mc_predict: expected layers to be classes of modules; got "):
        fnn.mc_predict(nn.Dropout(), X, layers=layers)
