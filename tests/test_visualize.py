import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, visualize
from fastnn.visualize import arrays

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 3, 5, 4)).astype(np.float32)


def convolutional(dtype=fnn.float32):
    fnn.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(80, 3)).to(
        dtype
    )


def dense(features=20, dtype=fnn.float32):
    fnn.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 3)).to(dtype)


# Arrays


def test_filters_are_the_weights():
    model = convolutional()
    weight = arrays.filters(model[0])
    np.testing.assert_array_equal(weight, model[0].weight.detach().numpy())
    weight[:] = 0
    assert model[0].weight.detach().numpy().any()  # it was a copy
    linear = dense()[1]
    np.testing.assert_array_equal(arrays.filters(linear, (5, 4))[3, 0, 2], linear.weight.detach().numpy()[3, 8:12])
    assert arrays.filters(dense(60)[1], (3, 5, 4)).shape == (7, 3, 5, 4)


@pytest.mark.parametrize("layer", ["0", "3", "", "module"])
def test_feature_maps_are_outputs_of_the_layer(layer):
    model = convolutional()
    model[3].eval()
    modes = [module.training for module in model.modules()]
    maps = arrays.feature_maps(model, X, model[1] if layer == "module" else layer)
    assert [module.training for module in model.modules()] == modes
    convolved = model[0](X).detach().numpy()
    expected = {
        "0": convolved,
        "module": np.tanh(convolved),
        "3": np.tanh(convolved).reshape(6, -1),
        "": model.eval()(X).detach().numpy(),
    }[layer]
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-6)
    assert not model[0]._forward_hooks


def test_feature_maps_of_many_batches():
    x = RNG.normal(size=(600, 20)).astype(np.float32)
    model = dense()
    np.testing.assert_allclose(arrays.feature_maps(model, x, "1"), model[1](x).detach().numpy(), rtol=1e-5, atol=1e-6)


def finite_differences(model, x, target):
    """The greatest slope over the channels, one pixel at a time."""
    model.eval()
    slopes = np.zeros_like(x)
    eps = 1e-6
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += eps
        down[index] -= eps
        i = index[0]
        scores = [model(values).detach().numpy()[i, target[i]] for values in (up, down)]
        slopes[index] = (scores[0] - scores[1]) / (2 * eps)
    model.train()
    return np.abs(slopes)


@pytest.mark.parametrize("make", [convolutional, lambda dtype: dense(60, dtype)])
def test_saliency_is_the_gradient_of_the_score(make):
    model, x = make(dtype=fnn.float64), X[:3].astype(np.float64)
    model[0].requires_grad_(False)
    target = np.array([2, 0, 1])
    found = arrays.saliency(model, x, target)
    assert found.shape == (3, 5, 4)
    np.testing.assert_allclose(found, finite_differences(model, x, target).max(axis=1), atol=1e-8)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    best = model.eval()(x).detach().numpy().argmax(axis=1)
    np.testing.assert_array_equal(arrays.saliency(model, x), arrays.saliency(model, x, best))
    np.testing.assert_array_equal(arrays.saliency(model, x, 1)[2], found[2])


def test_saliency_of_other_shapes():
    model, x = dense(dtype=fnn.float64), X[:, 0].astype(np.float64)
    target = np.zeros(6, int)
    expected = finite_differences(model, x, target)
    np.testing.assert_allclose(arrays.saliency(model, x, 0), expected, atol=1e-8)
    np.testing.assert_allclose(arrays.saliency(model, x.reshape(6, 20), 0), expected.reshape(6, 20), atol=1e-8)
    single = nn.Sequential(nn.Flatten(), nn.Linear(20, 1), nn.Flatten(0))
    weight = single[1].weight.detach().numpy()
    np.testing.assert_allclose(arrays.saliency(single, x), np.abs(np.tile(weight.reshape(1, 5, 4), (6, 1, 1))))


def test_smoothed_saliency_is_the_mean_of_noisy_gradients():
    class Square(nn.Module):
        def forward(self, x):
            return nn.functional.relu(x).sum(1, keepdim=True)

    # The slope of a rectifier at v under noise of deviation s is the normal distribution's Φ(v / s).
    x = np.array([[-1.0, -0.25, 0.0, 0.5, 1.0]])
    fnn.manual_seed(4)
    smoothed = arrays.saliency(Square().double(), x.astype(np.float32), samples=4000, noise=0.25)
    expected = [0.02275, 0.30854, 0.5, 0.84134, 0.97725]  # s = 0.25 * (1 - -1)
    np.testing.assert_allclose(smoothed[0], expected, atol=0.03)
    fnn.manual_seed(4)
    np.testing.assert_array_equal(arrays.saliency(Square(), x, samples=4000, noise=0.25), smoothed)
    np.testing.assert_array_equal(arrays.saliency(Square(), x, samples=3, noise=0), arrays.saliency(Square(), x))


def test_misclassified_are_sorted_by_confidence():
    logits = np.array([[3.0, 0, 0], [0, 9, 0], [0, 1, 0], [0, 0, 2], [5, 5.5, 0]], np.float32)
    found = arrays.misclassified(nn.Identity(), logits, np.array([0, 2, 0, 2, 0]))
    assert found.rows.tolist() == [1, 4, 2]
    assert found.predicted.tolist() == [1, 1, 1]
    assert found.expected.tolist() == [2, 0, 0]
    expected = [np.exp(9) / (np.exp(9) + 2), 1 / (1 + np.exp(-0.5) + np.exp(-5.5)), np.e / (np.e + 2)]
    np.testing.assert_allclose(found.confidence, expected, rtol=1e-6)


def test_ignored_labels_are_no_mistakes_and_nan_outputs_are():
    logits = np.array([[3.0, 0, 0], [0, 9, 0], [np.nan, 1, 0], [0, 0, 2]], np.float32)
    found = arrays.misclassified(nn.Identity(), logits, np.array([0, -100, 0, 1]))
    assert found.rows.tolist() == [3, 2]


def test_grid():
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    canvas = arrays.image_grid(images, columns=2, padding=1, pad_value=0.5)
    assert canvas.shape == (3 * 3 + 1, 2 * 4 + 1)
    np.testing.assert_allclose(canvas[4:6, 5:8], images[3] / 255)
    np.testing.assert_allclose(canvas[7:9, 1:4], images[4] / 255)
    assert (canvas[7:9, 5:8] == 0.5).all()  # nothing there
    assert (canvas[::3] == 0.5).all()
    color = arrays.image_grid(X * 3 - 1, columns=9, padding=0)
    assert color.shape == (5, 24, 3)
    np.testing.assert_allclose(color[:, 4:8], np.clip(X[1] * 3 - 1, 0, 1).transpose(1, 2, 0))
    scaled = arrays.image_grid(X * 3 - 1, columns=1, padding=0, normalize=True)
    assert scaled[:5].min() == scaled[5:10].min() == 0
    assert scaled[:5].max() == scaled[5:10].max() == 1
    assert (arrays.image_grid(np.full((1, 2, 2), 7.0), padding=0, normalize=True) == 0).all()


# Figures


def images_of(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_pictures_of_filters(tmp_path):
    pytest.importorskip("matplotlib")
    model = convolutional()
    figure = visualize.filters(model[0], path=tmp_path / "filters.png")
    (canvas,) = images_of(figure)
    np.testing.assert_allclose(canvas, arrays.image_grid(arrays.filters(model[0]), normalize=True, pad_value=1.0))
    assert (tmp_path / "filters.png").stat().st_size > 1000
    drawn = images_of(visualize.filters(dense(40)[1], (2, 5, 4), limit=3, columns=2))
    np.testing.assert_allclose(drawn, arrays.filters(dense(40)[1], (2, 5, 4))[:3].mean(axis=1))


def test_pictures_of_feature_maps():
    pytest.importorskip("matplotlib")
    model = convolutional()
    drawn = images_of(visualize.feature_maps(model, X[:1], "0", limit=3))
    np.testing.assert_allclose(drawn, arrays.feature_maps(model, X[:1], "0")[0, :3])


def test_pictures_of_saliency():
    pytest.importorskip("matplotlib")
    model = convolutional()
    drawn = images_of(visualize.saliency(model, X, [0, 1, 2, 0, 1, 2], limit=2))
    np.testing.assert_allclose(drawn[0], X[0].transpose(1, 2, 0), rtol=1e-6)
    np.testing.assert_allclose(drawn[2:], arrays.saliency(model, X[:2], [0, 1]))


def test_pictures_of_images():
    pytest.importorskip("matplotlib")
    (canvas,) = images_of(visualize.image_grid(X, columns=4, padding=1))
    np.testing.assert_allclose(canvas, arrays.image_grid(X, 4, 1, pad_value=1.0))
    figure = visualize.image_grid(X[:, 0], columns=4, labels="abcdef")
    assert [axes.get_title() for axes in figure.axes][:6] == list("abcdef")
    np.testing.assert_allclose(images_of(figure)[5], X[5, 0], rtol=1e-6)


def test_pictures_of_mistakes():
    pytest.importorskip("matplotlib")
    model = convolutional()
    predicted = model.eval()(X).detach().numpy().argmax(axis=1)
    y = (predicted + np.array([0, 1, 0, 2, 0, 1])) % 3
    found = arrays.misclassified(model, X, y)
    figure = visualize.misclassified(model, X, y, classes=["ant", "bee", "cow"], limit=2)
    names = np.array(["ant", "bee", "cow"])
    titles = [f"{names[p]} ({names[e]})" for p, e in zip(found.predicted, found.expected, strict=True)]
    assert [axes.get_title() for axes in figure.axes] == titles[:2]
    np.testing.assert_allclose(images_of(figure)[1], X[found.rows[1]].transpose(1, 2, 0), rtol=1e-6)
    shifted = images_of(visualize.misclassified(model, X * 9 - 4, (model(X * 9 - 4).argmax(1).numpy() + 1) % 3))
    assert all(image.min() == 0 and image.max() == 1 for image in shifted)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError) as caught:
        visualize.image_grid(X)
    assert str(caught.value) == "image_grid needs matplotlib: pip install fastnn-cpu[plot]"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: arrays.filters(3), TypeError, "filters: expected layer to be an nn.Module; got int"),
        (lambda: arrays.filters(nn.ReLU()), TypeError, "filters: expected a layer with a weight; got ReLU"),
        (lambda: arrays.filters(nn.Linear(4, 2)), ValueError, "filters: expected a weight of shape (out, in, h, w), or shape=; got (2, 4)"),
        (lambda: arrays.filters(nn.Linear(4, 2), (3, 2)), ValueError, "filters: expected shape of 4 features; got (3, 2)"),
        (lambda: arrays.feature_maps(convolutional(), X, "9"), ValueError, "feature_maps: expected the name of a layer of the model; got '9'"),
        (lambda: arrays.feature_maps(convolutional(), X, nn.ReLU()), ValueError, "feature_maps: expected a layer of the model; got ReLU"),
        (lambda: arrays.feature_maps(convolutional(), X[:0], "0"), ValueError, "feature_maps: expected at least one row in x; got shape (0, 3, 5, 4)"),
        (lambda: arrays.saliency(convolutional(), X, 3), ValueError, "saliency: expected target in [0, 3); got 3 to 3"),
        (lambda: arrays.saliency(convolutional(), X, 0.5), TypeError, "saliency: expected target to be class numbers; got dtype float64"),
        (lambda: arrays.saliency(convolutional(), X, [0, 1]), ValueError, "saliency: expected target of shape (6,), or one number; got (2,)"),
        (lambda: arrays.saliency(convolutional(), X, samples=-1), ValueError, "saliency: expected samples of at least 0; got -1"),
        (lambda: arrays.saliency(convolutional(), X, noise=-1), ValueError, "saliency: expected noise of at least 0; got -1"),
        (lambda: arrays.saliency(nn.Identity(), X), ValueError, "saliency: expected outputs of shape (n, classes); got (6, 3, 5, 4)"),
        (lambda: arrays.misclassified(dense(60), X, np.zeros(5, int)), ValueError, "misclassified: expected y of shape (6,), integers; got int64 of (5,)"),
        (lambda: arrays.misclassified(nn.Identity(), np.eye(3), np.array([0, 1, 3])), ValueError, "misclassified: expected labels in [0, 3) or -100; got 3 at position 2"),
        (lambda: arrays.misclassified(nn.Identity(), np.eye(3), np.array([0, -1, 2])), ValueError, "misclassified: expected labels in [0, 3) or -100; got -1 at position 1"),
        (lambda: visualize.misclassified(nn.Flatten(), np.eye(3)[:, None, None], np.array([0, 1, 0]), classes=["a", "b"]), ValueError, "misclassified: expected names for classes up to 2; got 2 classes"),
        (lambda: visualize.misclassified(nn.Identity(), np.eye(3), np.arange(3)), ValueError, "misclassified: expected a misclassified image; got none"),
        (lambda: arrays.image_grid(X[0, 0]), ValueError, "image_grid: expected images of shape (n, h, w), or (n, c, h, w) with c 1 or 3; got (5, 4)"),
        (lambda: arrays.image_grid(X[:, :2]), ValueError, "image_grid: expected images of shape (n, h, w), or (n, c, h, w) with c 1 or 3; got (6, 2, 5, 4)"),
        (lambda: arrays.image_grid(X, pad_value=1.5), ValueError, "image_grid: expected pad_value in [0, 1]; got 1.5"),
        (lambda: arrays.image_grid(X, pad_value="mean"), TypeError, "image_grid: expected pad_value to be a number; got 'mean'"),
        (lambda: arrays.image_grid(X, columns=0), ValueError, "image_grid: expected columns of at least 1; got 0"),
        (lambda: visualize.image_grid(X, labels="abc"), ValueError, "image_grid: expected 6 labels; got 3"),
        (lambda: visualize.feature_maps(convolutional(), X[:2], "0"), ValueError, "feature_maps: expected an output of shape (1, c, h, w); got (2, 4, 5, 4)"),
        (lambda: visualize.filters(convolutional()[0], limit=0), ValueError, "filters: expected limit of at least 1; got 0"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_layer_that_is_not_called_is_named():
    model = nn.Sequential(nn.Linear(4, 2))
    model.add_module("spare", nn.Identity())
    model.forward = lambda x: x
    with pytest.raises(ValueError, match=r"^feature_maps: expected a layer that the model calls; got Identity$"):
        arrays.feature_maps(model, np.zeros((2, 4)), "spare")
