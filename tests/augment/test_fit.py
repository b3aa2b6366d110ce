"""Augmentation inside a fit: the bits of a loop that calls the transform before every step."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, augment as A, nn, optim

RNG = np.random.default_rng(3)
N, BATCH = 45, 8  # the last batch has 5 rows
X = RNG.random((N, 2, 9, 7)).astype(np.float32)
Y = RNG.integers(0, 4, N)
WEIGHT = (0.5 + RNG.random(N)).astype(np.float32)

MOVES = [A.RandomHorizontalFlip(), A.RandomShift(2), A.RandomRotation(20, "bilinear"), A.CutOut(3, p=0.5)]
PIPELINES = {
    "moves": A.Compose(MOVES),
    "noise": A.OneOf([A.GaussianNoise(), A.SaltAndPepper(0.3), A.ElasticTransform(8, 2)], p=0.9),
    "another size": A.Compose([A.RandomResizedCrop((5, 6)), A.RandomErasing()]),
    "fixed": A.Normalize(0.5, 0.25),
    "mixup": A.Compose([*MOVES, A.MixUp(0.8, 4)]),
    "mixup or cutmix": A.Compose([A.RandomCrop((9, 7), 2), A.OneOf([A.MixUp(0.8, 4), A.CutMix(1.0, 4)], p=0.7)]),
}


def prepared(name, dtype=np.float32, smoothing=0.0):
    size = 2 * 5 * 6 if name == "another size" else 2 * 9 * 7
    fnn.manual_seed(0)
    # Dropout and gradient noise draw, too: one call too many or too few of any would show.
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 12), nn.ReLU(), nn.Dropout(0.25), nn.Linear(12, 4))
    if dtype == np.float64:
        model.double()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    return model, nn.CrossEntropyLoss(label_smoothing=smoothing), optimizer


def parameters(model):
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def fitted(name, dtype=np.float32, weight=None, threads=None, epochs=3, smoothing=0.0):
    model, loss, optimizer = prepared(name, dtype, smoothing)
    trainer = fnn.Trainer(model, loss, optimizer, grad_noise=0.01)
    fnn.manual_seed(5)
    before = fnn.get_num_threads()
    fnn.set_num_threads(threads or before)
    try:
        x = X.astype(dtype)
        history = trainer.fit(
            x, Y, epochs=epochs, batch_size=BATCH, augment=PIPELINES[name], sample_weight=weight,
            train_metrics=False, validation_data=None, verbose=False,
        )  # fmt: skip
    finally:
        fnn.set_num_threads(before)
    assert trainer.step.reason is None
    return parameters(model), history["loss"]


def looped(name, dtype=np.float32, weight=None, epochs=3, smoothing=0.0):
    model, loss, optimizer = prepared(name, dtype, smoothing)
    step = fnn.TrainStep(model, loss, optimizer, grad_noise=0.01)
    transform = PIPELINES[name]
    fnn.manual_seed(5)
    x = X.astype(dtype)
    for _ in range(epochs):
        order = _core.permutation(N)
        for first in range(0, N, BATCH):
            rows = order[first : first + BATCH]
            if weight is None:
                step(*transform(x[rows], Y[rows]))
            else:
                step(*transform._apply(x[rows], Y[rows], weight[rows].astype(dtype)))
    return parameters(model)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PIPELINES)
def test_a_fit_has_the_bits_of_a_loop(name, dtype):
    np.testing.assert_array_equal(fitted(name, dtype)[0], looped(name, dtype))


@pytest.mark.parametrize("name", ["moves", "mixup", "mixup or cutmix"])
def test_weights_go_with_the_images(name):
    got = fitted(name, weight=WEIGHT, smoothing=0.1)[0]
    np.testing.assert_array_equal(got, looped(name, weight=WEIGHT, smoothing=0.1))
    assert (got != fitted(name, smoothing=0.1)[0]).any()


@pytest.mark.parametrize("name", PIPELINES)
def test_same_bits_for_any_number_of_threads(name):
    want, losses = fitted(name, threads=1)
    for threads in (2, 3, 7):
        got, other = fitted(name, threads=threads)
        np.testing.assert_array_equal(got, want)
        assert other == losses


def test_a_fit_goes_on_from_the_generators_state():
    whole = fitted("mixup")[0]
    model, loss, optimizer = prepared("mixup")
    trainer = fnn.Trainer(model, loss, optimizer, grad_noise=0.01)
    fnn.manual_seed(5)
    settings = {"batch_size": BATCH, "augment": PIPELINES["mixup"], "train_metrics": False, "verbose": False}
    trainer.fit(X, Y, epochs=1, **settings)
    state = fnn.get_rng_state()
    fnn.rand(5)
    fnn.set_rng_state(state)
    trainer.fit(X, Y, epochs=3, initial_epoch=1, **settings)
    np.testing.assert_array_equal(parameters(model), whole)


def test_class_weights_are_those_of_both_classes_of_a_mixture():
    by_class = np.array([1.0, 4.0, 0.5, 2.0])
    model, loss, optimizer = prepared("mixup")
    trainer = fnn.Trainer(model, loss, optimizer, grad_noise=0.01)
    fnn.manual_seed(5)
    trainer.fit(X, Y, epochs=3, batch_size=BATCH, augment=PIPELINES["mixup"], class_weight=by_class, verbose=False)
    np.testing.assert_array_equal(parameters(model), looped("mixup", weight=by_class[Y].astype(np.float32)))


def test_batches_of_an_iterable_are_augmented_alike():
    model, loss, optimizer = prepared("moves")
    trainer = fnn.Trainer(model, loss, optimizer)
    batches = [(X[:16], Y[:16]), (X[16:], Y[16:])]
    fnn.manual_seed(5)
    trainer.fit(batches, epochs=2, augment=PIPELINES["moves"], verbose=False)
    other, loss, optimizer = prepared("moves")
    step = fnn.TrainStep(other, loss, optimizer)
    fnn.manual_seed(5)
    for _ in range(2):
        for x, y in batches:
            step(*PIPELINES["moves"](x, y))
    np.testing.assert_array_equal(parameters(model), parameters(other))


def test_regressions_are_mixed():
    fnn.manual_seed(0)
    x, y = RNG.normal(size=(40, 5)).astype(np.float32), RNG.normal(size=(40, 2)).astype(np.float32)
    transform = A.Compose([A.GaussianNoise(0, 0.1, clip=False), A.MixUp(1.0)])
    ends = []
    for loop in (False, True):
        fnn.manual_seed(1)
        model = nn.Linear(5, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        if not loop:
            fnn.Trainer(model, nn.MSELoss(), optimizer).fit(
                x, y, epochs=2, augment=transform, batch_size=10, verbose=False
            )
        else:
            step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
            for _ in range(2):
                order = _core.permutation(40)
                for rows in order.reshape(-1, 10):
                    step(*transform(x[rows], y[rows]))
        ends.append(parameters(model))
    np.testing.assert_array_equal(*ends)


def test_ends_that_are_not_finite_are_named():
    model, loss, optimizer = prepared("moves")
    with fnn.no_grad():
        model[1].weight.fill_(np.inf)
    trainer = fnn.Trainer(model, loss, optimizer)
    with pytest.raises(ValueError, match=r"^Trainer\.fit: the loss is nan in epoch 0, batch 0: "):
        trainer.fit(X, Y, augment=PIPELINES["mixup"], verbose=False)


# Another size

CROP = A.Compose([A.RandomCrop((5, 6)), A.RandomHorizontalFlip(), A.MixUp(0.8, 4)])


def trainer_of_crops(name="another size"):
    model, loss, optimizer = prepared(name)
    fnn.manual_seed(5)
    return fnn.Trainer(model, loss, optimizer, metrics=["accuracy"])


@pytest.mark.parametrize("listed", [False, True], ids=["arrays", "batches"])
def test_metrics_of_crops_are_those_of_new_crops(listed):
    trainer = trainer_of_crops()
    data = ([(X, Y)],) if listed else (X, Y)
    history = trainer.fit(*data, epochs=2, augment=CROP, verbose=False)
    # The generator stands where it stood before it was measured.
    crops = A.Compose(CROP.transforms[:-1])(X)
    assert history["accuracy"][-1] == (trainer.predict(crops).argmax(1) == Y).mean()
    assert len(set(history["accuracy"])) == 2


def test_to_measure_crops_does_not_change_the_training():
    ends = []
    for train_metrics in (True, False):
        trainer = trainer_of_crops()
        history = trainer.fit(X, Y, epochs=3, augment=CROP, train_metrics=train_metrics, verbose=False)
        ends.append((parameters(trainer.model).tolist(), history["loss"]))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("listed", [False, True], ids=["arrays", "batches"])
def test_a_function_may_change_the_size(listed):
    trainer = trainer_of_crops()
    data = ([(X, Y)],) if listed else (X, Y)
    history = trainer.fit(*data, augment=lambda x, y: (x[:, :, 2:7, 1:], y), verbose=False)
    assert history["accuracy"] == [(trainer.predict(X[:, :, 2:7, 1:]).argmax(1) == Y).mean()]


def test_a_function_that_keeps_the_size_is_not_called_to_measure():
    calls = []
    trainer = trainer_of_crops("moves")
    trainer.fit(X, Y, augment=lambda x, y: (calls.append(len(x)), (x, y))[1], batch_size=20, verbose=False)
    assert calls == [20, 20, 5]


def test_batch_norm_of_an_average_sees_crops():
    seen = []

    class Look(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.extend(np.asarray(x).shape for x in self.trainer.running.inputs())

    trainer_of_crops().fit(X, Y, augment=CROP, callbacks=[Look()], verbose=False)
    assert seen == [(N, 2, 5, 6)]


# White


@pytest.mark.parametrize("way", ["arrays", "pieces", "batches", "a function"])
@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255.0), (np.float32, 1.0)])
def test_white_is_that_of_the_data(way, dtype, white, monkeypatch):
    if way == "pieces":
        monkeypatch.setattr("fastnn.training.data._SMALL", 0)
    x, y = (X * 255).astype(dtype), np.zeros((N, 1), np.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 7, 1, bias=False))
    nn.init.constant_(model[1].weight, 1 / (2 * 9 * 7))
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.0))
    batches = [(x, y), (x[:9], y[:9])]
    data = {"batches": (batches,), "a function": (lambda: iter(batches),)}.get(way, (x, y))
    history = trainer.fit(*data, epochs=2, batch_size=BATCH, augment=A.SaltAndPepper(1.0, 1.0), verbose=False)
    # All pixels are white.
    np.testing.assert_allclose(history["loss"], white**2, rtol=1e-5)
