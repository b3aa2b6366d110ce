import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim, tta

RNG = np.random.default_rng(0)
X = RNG.normal(size=(11, 2, 5, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 11)


def trainer(h=5, w=6, dtype=None):
    fnn.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * h * w, 3), nn.Dropout(0.5))
    if dtype is not None:
        model.to(dtype)
    return fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), ["accuracy"])


def outputs(fitted, x):
    weight, bias = (p.detach().numpy().astype(np.float64) for p in fitted.model[1].parameters())
    return x.reshape(len(x), -1).astype(np.float64) @ weight.T + bias


def crops(x, h, w):
    """Five crops, with numbers instead of names."""
    down, right = x.shape[2] - h, x.shape[3] - w
    places = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    return [x[:, :, top : top + h, left : left + w] for top, left in places]


def moved(x, down, right, fill=0.0):
    padded = np.pad(x, ((0, 0), (0, 0), (9, 9), (9, 9)), constant_values=fill)
    return padded[:, :, 9 - down : 9 - down + x.shape[2], 9 - right : 9 - right + x.shape[3]]


VIEWS = {
    "flip": ("flip", [X, X[..., ::-1]]),
    "flips": ("flips", [X, X[..., ::-1], X[..., ::-1, :], X[..., ::-1, ::-1]]),
    "five_crop": (tta.five_crop(3), crops(X, 3, 3)),
    "five_crop, odd": (tta.five_crop((4, 3)), crops(X, 4, 3)),
    "ten_crop": (tta.ten_crop((4, 5)), crops(X, 4, 5) + crops(X[..., ::-1], 4, 5)),
    "ten_crop, vertical": (tta.ten_crop([2, 4], vertical_flip=True), crops(X, 2, 4) + crops(X[..., ::-1, :], 2, 4)),
    "shifts": (tta.shifts(2, fill=0.5), [moved(X, d, r, 0.5) for d in (0, -2, 2) for r in (0, -2, 2)]),
    "shifts, all out": (tta.shifts(7), [moved(X, d, r) for d in (0, -7, 7) for r in (0, -7, 7)]),
    "function": (lambda x: x * 2, [X * 2]),
    "functions": ([*tta.flip(), lambda x: x + 1], [X, X[..., ::-1], X + 1]),
}


@pytest.mark.parametrize("dtype", [fnn.float32, fnn.float64])
@pytest.mark.parametrize("name", VIEWS)
def test_outputs_are_averaged(name, dtype):
    views, seen = VIEWS[name]
    fitted = trainer(*seen[0].shape[2:], dtype)
    predicted = fitted.predict(X, batch_size=4, tta=views)
    assert predicted.dtype == (np.float32 if dtype == fnn.float32 else np.float64)
    expected = np.mean([outputs(fitted, x) for x in seen], axis=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
    assert fitted.model.training


def test_probabilities_are_averaged_on_demand():
    fitted = trainer()
    softmax = [
        np.exp(o) / np.exp(o).sum(axis=1, keepdims=True) for o in (outputs(fitted, x) for x in VIEWS["flips"][1])
    ]
    predicted = fitted.predict(X, tta="flips", activation=nn.Softmax(1))
    np.testing.assert_allclose(predicted, np.mean(softmax, axis=0), rtol=1e-4)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    logits = fitted.predict(X, tta="flips")
    assert np.abs(np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - predicted).max() > 1e-3  # another mean
    np.testing.assert_allclose(fitted.predict(X, activation=nn.Softmax(1)), softmax[0], rtol=1e-4)


def test_evaluate_measures_the_mean_output():
    fitted = trainer()
    mean = np.mean([outputs(fitted, x) for x in VIEWS["flips"][1]], axis=0)
    losses = np.log(np.exp(mean).sum(axis=1)) - mean[np.arange(11), Y]
    expected = {"loss": pytest.approx(losses.mean(), rel=1e-5), "accuracy": np.mean(mean.argmax(axis=1) == Y)}
    assert fitted.evaluate(X, Y, batch_size=3, tta="flips") == expected
    assert fitted.evaluate([(X, Y)], tta=tta.flips()) == expected
    assert fitted.evaluate(X, Y) != expected


def test_one_view_that_changes_nothing_changes_nothing():
    fitted = trainer()
    np.testing.assert_array_equal(fitted.predict(X, tta=[tta.Identity()]), fitted.predict(X))


def test_order_of_the_rows_is_kept_for_gray_images():
    model = nn.Flatten()
    fitted = fnn.Trainer(model, nn.MSELoss(), optim.SGD([fnn.zeros(1)], lr=0.1))
    images = X[:, 0]
    np.testing.assert_allclose(
        fitted.predict(images, tta="flip").reshape(images.shape), (images + images[..., ::-1]) / 2, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.predict(X, tta="crop"), ValueError, "Trainer.predict: expected tta to be 'flip', 'flips', a function or a list of functions; got 'crop'"),
        (lambda t: t.predict(X, tta=3), TypeError, "Trainer.predict: expected tta to be 'flip', 'flips', a function or a list of functions; got 3"),
        (lambda t: t.evaluate(X, Y, tta=[3]), TypeError, "Trainer.evaluate: expected tta to be 'flip', 'flips', a function or a list of functions; got [3]"),
        (lambda t: t.predict(X, tta=[]), ValueError, "Trainer.predict: expected at least one view in tta; got none"),
        (lambda t: t.predict(X, tta=tta.five_crop(7)), ValueError, "Crop: expected images of at least (7, 7); got (5, 6)"),
        (lambda t: t.predict(X[:, :, 0, 0], tta=tta.Flip()), ValueError, "Flip: expected images of shape (n, *, h, w); got (11, 2)"),
        (lambda t: t.predict(X, tta=[tta.Identity(), len]), ValueError, "Trainer.predict: expected 11 rows from every view; got shape () from <built-in function len>"),
        (lambda t: t.predict(X, activation=3), TypeError, "Trainer.predict: expected activation to be a function; got 3"),
        (lambda t: tta.five_crop(0), ValueError, "five_crop: expected size of at least 1; got 0"),
        (lambda t: tta.ten_crop(2.5), TypeError, "ten_crop: expected size to be an int; got 2.5"),
        (lambda t: tta.shifts(0), ValueError, "shifts: expected pixels of at least 1; got 0"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    fitted = trainer()
    with pytest.raises(error) as caught:
        call(fitted)
    assert str(caught.value) == message


def test_views_of_another_length_are_named():
    view = tta.Crop((3, 3))
    halved = tta.Chain(view, lambda x: x[::2])
    with pytest.raises(
        ValueError,
        match=r"^Trainer.predict: expected 11 rows from every view; got shape \(6, 2, 3, 3\) from Chain\(first=Crop\(",
    ):
        trainer().predict(X, tta=halved)
    with pytest.raises(
        ValueError, match=r"^Trainer.predict: expected outputs of one shape for all views; got \(11, 60\), \(11, 18\)$"
    ):
        fnn.Trainer(nn.Flatten(), nn.MSELoss(), None).predict(X, tta=[tta.Identity(), view])
