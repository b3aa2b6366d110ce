"""Ensembles against their members, in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, ensemble, nn, optim
from fastnn.nn import functional

RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.2).astype(np.int64) + (X[:, 2] > 0.7)
VALUES = (X @ RNG.normal(size=(4, 2)) + 0.1 * RNG.normal(size=(53, 2))).astype(np.float32)
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 8, "verbose": False}


def classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 7), nn.Dropout(0.3), nn.Tanh(), nn.Linear(7, 3))


def regressor() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 2))


def sgd(params: Any) -> optim.SGD:
    return optim.SGD(params, lr=0.05, momentum=0.5)


def states(models: Any) -> list[dict[str, np.ndarray]]:
    return [{name: np.array(value) for name, value in model.state_dict().items()} for model in models]


def assert_same(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in other)


def outputs(models: Any, x: np.ndarray = X) -> np.ndarray:
    """Return the members' outputs, ``(members, n, *)``."""
    found = []
    for model in models:
        modes = [part.training for part in model.modules()]
        model.eval()
        found.append(model(fnn.tensor(x)).detach().numpy().astype(np.float64))
        for part, mode in zip(model.modules(), modes, strict=True):
            part.train(mode)
    return np.stack(found)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=2, keepdims=True))
    return powers / powers.sum(axis=2, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def untrained(loss: Any, n: int = 5, *, squash: bool = False) -> ensemble.Ensemble:
    """Members that disagree a lot."""
    fnn.manual_seed(3)
    members = [classifier() for _ in range(n)]
    for model in members:
        model[3].weight.detach().mul_(5)
    return ensemble.Ensemble([nn.Sequential(model, nn.Sigmoid()) if squash else model for model in members], loss)


class TestPrediction:
    @pytest.mark.parametrize(
        ("loss", "convert"),
        [
            (nn.CrossEntropyLoss(), softmax),
            (functional.cross_entropy, softmax),
            (nn.NLLLoss(), np.exp),
            (functional.nll_loss, np.exp),
            (nn.BCEWithLogitsLoss(), sigmoid),
            (functional.binary_cross_entropy_with_logits, sigmoid),
            (nn.MSELoss(), np.array),
            (None, np.array),
        ],
    )
    def test_mean_and_spread(self, loss: Any, convert: Any) -> None:
        together = untrained(loss)
        expected = convert(outputs(together.members))
        mean, std = together.predict(X, return_std=True, batch_size=10)
        np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(std, expected.std(axis=0), rtol=1e-5, atol=1e-6)
        assert mean.dtype == std.dtype == np.float32
        assert np.array_equal(together.predict(X), mean)

    def test_probabilities_of_bce_are_outputs(self) -> None:
        for loss in (nn.BCELoss(), functional.binary_cross_entropy):
            together = untrained(loss, squash=True)
            np.testing.assert_allclose(together.predict(X), outputs(together.members).mean(axis=0), rtol=1e-6)

    def test_float64_stays(self) -> None:
        together = ensemble.Ensemble([regressor().double() for _ in range(3)])
        mean, std = together.predict(X, return_std=True)
        assert mean.dtype == std.dtype == np.float64

    def test_modes_are_put_back(self) -> None:
        together = untrained(nn.CrossEntropyLoss())
        together.members[1].eval()
        together.predict(X)
        assert [model[1].training for model in together.members] == [True, False, True, True, True]


class TestDisagreement:
    def test_of_classes_is_the_mean_divergence_from_the_mean(self) -> None:
        together = untrained(nn.CrossEntropyLoss())
        p = softmax(outputs(together.members))
        mean = p.mean(axis=0)
        expected = (p * np.log(p / mean)).sum(axis=2).mean(axis=0)
        assert expected.max() > 0.1
        np.testing.assert_allclose(together.disagreement(X, batch_size=10), expected, rtol=1e-5, atol=1e-7)

    def test_of_yes_and_no_is_that_of_two_classes(self) -> None:
        together = untrained(nn.BCEWithLogitsLoss())
        p = sigmoid(outputs(together.members))
        mean = p.mean(axis=0)
        divergence = p * np.log(p / mean) + (1 - p) * np.log((1 - p) / (1 - mean))
        np.testing.assert_allclose(together.disagreement(X), divergence.mean(axis=(0, 2)), rtol=1e-4, atol=1e-7)

    def test_of_numbers_is_the_deviation(self) -> None:
        together = untrained(nn.MSELoss())
        expected = np.sqrt(outputs(together.members).var(axis=0).mean(axis=1))
        np.testing.assert_allclose(together.disagreement(X), expected, rtol=1e-5)

    @pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()])
    def test_members_that_are_the_same_agree(self, loss: Any) -> None:
        model = classifier()
        together = ensemble.Ensemble([model, model, model], loss)
        np.testing.assert_allclose(together.disagreement(X), 0, atol=1e-12)

    def test_certain_members_that_contradict_each_other_disagree_by_ln_2(self) -> None:
        members = []
        for sign in (1.0, -1.0):
            model = nn.Linear(4, 2)
            model.weight.detach().fill_(0)
            model.bias.detach().copy_(fnn.tensor([sign * 1000, 0.0]))
            members.append(model)
        for loss in (nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()):
            found = ensemble.Ensemble(members, loss).disagreement(X[:3])
            # Of the two outputs of yes and no, one is always in doubt.
            expected = math.log(2) if isinstance(loss, nn.CrossEntropyLoss) else math.log(2) / 2
            limit = expected if isinstance(loss, nn.CrossEntropyLoss) else found[0]
            np.testing.assert_allclose(found, limit, rtol=1e-6)
            assert found[0] >= expected * (1 - 1e-6)


class TestDeep:
    def test_members_are_those_of_trainers_one_after_another(self) -> None:
        fnn.manual_seed(5)
        deep = ensemble.DeepEnsemble(classifier, 3, nn.CrossEntropyLoss(), sgd, ["accuracy"])
        histories = deep.fit(X, Y, **OPTIONS)
        fnn.manual_seed(5)
        models = [classifier() for _ in range(3)]
        for model in models:
            fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model.parameters())).fit(X, Y, **OPTIONS)
        assert_same(states(deep.members), states(models))
        assert [list(history.epochs) for history in histories] == [[0, 1, 2]] * 3
        assert all("accuracy" in history for history in histories)
        assert not np.array_equal(states(models)[0]["0.weight"], states(models)[1]["0.weight"])

    def test_disagreement_is_greater_where_there_were_no_data(self) -> None:
        fnn.manual_seed(0)
        deep = ensemble.DeepEnsemble(regressor, 5, nn.MSELoss(), sgd)
        deep.fit(X, VALUES, **{**OPTIONS, "epochs": 40})
        near, far = deep.disagreement(X).mean(), deep.disagreement(10 * X).mean()
        assert far > 3 * near

    def test_ctrl_c_ends_the_fit_of_all(self) -> None:
        def interrupt(epoch: int, logs: Any) -> None:
            raise KeyboardInterrupt

        deep = ensemble.DeepEnsemble(classifier, 3, nn.CrossEntropyLoss(), sgd)
        before = states(deep.members)
        histories = deep.fit(X, Y, callbacks=[callbacks.LambdaCallback(on_epoch_end=interrupt)], **OPTIONS)
        assert [history.interrupted for history in histories] == [True]
        assert_same(states(deep.members)[1:], before[1:])

    def test_averages_of_weights_in_every_member(self) -> None:
        deep = ensemble.DeepEnsemble(classifier, 2, nn.CrossEntropyLoss(), sgd)
        swa = callbacks.SWA(1)
        deep.fit(X, Y, callbacks=[swa], **OPTIONS)
        assert_same(states(deep.members)[1:], states([swa.model]))


class TestBagging:
    def make(self, n: int = 6, loss: Any = None) -> ensemble.BaggingEnsemble:
        fnn.manual_seed(7)
        model = classifier if loss is None else regressor
        return ensemble.BaggingEnsemble(model, n, loss or nn.CrossEntropyLoss(), sgd)

    def test_members_are_those_of_trainers_on_samples(self) -> None:
        bagging = self.make(3)
        bagging.fit(X, Y, **OPTIONS)
        fnn.manual_seed(7)
        models = [classifier() for _ in range(3)]
        samples = [fnn.randint(0, len(X), (len(X),)).numpy() for _ in models]
        for model, sample in zip(models, samples, strict=True):
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model.parameters()))
            trainer.fit(X[sample], Y[sample], **OPTIONS)
        assert_same(states(bagging.members), states(models))
        assert bagging.counts is not None
        for counts, sample in zip(bagging.counts, samples, strict=True):
            assert np.array_equal(counts, np.bincount(sample, minlength=len(X)))

    def test_samples_leave_out_a_share_of_one_over_e(self) -> None:
        bagging = self.make(4)
        x = RNG.normal(size=(5000, 4)).astype(np.float32)
        bagging.fit(x, np.zeros(5000, np.int64), epochs=0, verbose=False)
        assert bagging.counts is not None
        assert (bagging.counts.sum(axis=1) == 5000).all()
        # Four standard deviations: the variance of the share is about (1/e - 2/e**2) / n.
        left_out = (bagging.counts == 0).mean(axis=1)
        np.testing.assert_allclose(left_out, math.exp(-1), atol=4 * math.sqrt(0.097 / 5000))

    def test_out_of_bag_are_the_members_that_have_not_seen_a_row(self) -> None:
        bagging = self.make(6)
        bagging.fit(X, Y, **OPTIONS)
        p = softmax(outputs(bagging.members))
        unseen = bagging.counts == 0
        expected = np.full(p.shape[1:], np.nan)
        for row in range(len(X)):
            if unseen[:, row].any():
                expected[row] = p[unseen[:, row], row].mean(axis=0)
        has = unseen.any(axis=0)
        assert 0 < (~has).sum() < 10
        np.testing.assert_allclose(bagging.oob_prediction, expected, rtol=1e-5, atol=1e-6)
        assert bagging.oob_score == np.mean(expected[has].argmax(axis=1) == Y[has])

    def test_score_of_numbers_is_r2(self) -> None:
        bagging = self.make(9, nn.MSELoss())
        bagging.fit(X, VALUES, **{**OPTIONS, "epochs": 60})
        found, has = bagging.oob_prediction, ~np.isnan(bagging.oob_prediction[:, 0])
        rest = ((VALUES[has] - found[has]) ** 2).sum(axis=0)
        total = ((VALUES[has] - VALUES[has].mean(axis=0)) ** 2).sum(axis=0)
        assert bagging.oob_score == pytest.approx(np.mean(1 - rest / total), rel=1e-5)
        assert bagging.oob_score > 0.7

    def test_weights_go_with_their_rows(self) -> None:
        weights = RNG.uniform(0.5, 2.0, size=len(X))
        bagging = self.make(2)
        bagging.fit(X, Y, sample_weight=list(weights), class_weight={0: 3.0}, **OPTIONS)
        fnn.manual_seed(7)
        models = [classifier() for _ in range(2)]
        samples = [fnn.randint(0, len(X), (len(X),)).numpy() for _ in models]
        for model, sample in zip(models, samples, strict=True):
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model.parameters()))
            trainer.fit(X[sample], Y[sample], sample_weight=weights[sample], class_weight={0: 3.0}, **OPTIONS)
        assert_same(states(bagging.members), states(models))

    def test_a_second_fit_has_the_same_samples(self) -> None:
        bagging = self.make(2)
        bagging.fit(X, Y, **OPTIONS)
        counts = bagging.counts.copy()
        bagging.fit(X, Y, **OPTIONS)
        assert np.array_equal(bagging.counts, counts)

    def test_rows_that_all_have_seen(self) -> None:
        bagging = self.make(1)
        bagging.fit(X[:1], Y[:1], **OPTIONS)
        assert np.isnan(bagging.oob_prediction).all()
        assert bagging.oob_prediction.shape == (1, 3)
        assert math.isnan(bagging.oob_score)


class TestSnapshot:
    def test_members_are_the_snapshots_of_one_fit(self) -> None:
        fnn.manual_seed(2)
        snapshots = ensemble.SnapshotEnsemble(classifier, 3, nn.CrossEntropyLoss(), sgd, ["accuracy"], keep=2)
        assert len(snapshots) == 2
        history = snapshots.fit(X, Y, **{**OPTIONS, "epochs": 6})
        fnn.manual_seed(2)
        model, callback = classifier(), callbacks.SnapshotEnsemble(3)
        trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model.parameters()))
        trainer.fit(X, Y, callbacks=[callback], **{**OPTIONS, "epochs": 6})
        assert_same(states(snapshots.members), states(callback.models[1:]))
        assert len(history["accuracy"]) == 6
        expected = softmax(outputs(callback.models[1:])).mean(axis=0)
        np.testing.assert_allclose(snapshots.predict(X), expected, rtol=1e-5, atol=1e-6)

    def test_members_do_not_change_with_further_training(self) -> None:
        snapshots = ensemble.SnapshotEnsemble(classifier, 2, nn.CrossEntropyLoss(), sgd)
        snapshots.fit(X, Y, **OPTIONS)
        before = states(snapshots.members)
        snapshots.trainer.fit(X, Y, **OPTIONS)
        assert_same(states(snapshots.members), before)


@pytest.mark.parametrize("kind", [ensemble.DeepEnsemble, ensemble.BaggingEnsemble, ensemble.SnapshotEnsemble])
def test_members_are_saved_together(kind: Any, tmp_path: Path) -> None:
    trained = kind(classifier, 3, nn.CrossEntropyLoss(), sgd)
    trained.fit(X, Y, **OPTIONS)
    fnn.save(trained.state_dict(), tmp_path / "members.safetensors")
    loaded = kind(classifier, 3, nn.CrossEntropyLoss(), sgd)
    loaded.load_state_dict(fnn.load(tmp_path / "members.safetensors"))
    assert np.array_equal(loaded.predict(X), trained.predict(X))
    assert list(trained.state_dict())[:2] == ["0.0.weight", "0.0.bias"]
    assert repr(loaded) == f"{kind.__name__}(3 members)"


@pytest.mark.parametrize("kind", [ensemble.DeepEnsemble, ensemble.BaggingEnsemble])
def test_the_same_seed_makes_the_same_ensemble(kind: Any) -> None:
    found = []
    for threads in (1, 2):
        before = fnn.get_num_threads()
        fnn.set_num_threads(threads)
        try:
            fnn.manual_seed(11)
            one = kind(classifier, 2, nn.CrossEntropyLoss(), sgd)
            one.fit(X, Y, **OPTIONS)
        finally:
            fnn.set_num_threads(before)
        found.append(one.predict(X))
    assert np.array_equal(found[0], found[1])


def deep(*given: Any) -> Any:
    make, n, loss, optimizer = (*given, *(classifier, 3, nn.CrossEntropyLoss(), sgd)[len(given) :])
    return ensemble.DeepEnsemble(make, n, loss, optimizer)


def bagged(rows: int = 53, y: Any = Y, **options: Any) -> None:
    one = ensemble.BaggingEnsemble(classifier, 2, nn.CrossEntropyLoss(), sgd)
    one.fit(X, Y, epochs=0, verbose=False)
    one.fit(X[:rows], None if y is None else y[:rows], epochs=0, verbose=False, **options)


ONE = nn.Linear(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ensemble.Ensemble([]), ValueError, "Ensemble: expected at least one member; got none"),
        (lambda: ensemble.Ensemble([3]), TypeError, "Ensemble: expected members to be nn.Modules; got int"),
        (lambda: deep(classifier, 0), ValueError, "DeepEnsemble: expected n of at least 1; got 0"),
        (lambda: deep(classifier, 2.0), TypeError, "DeepEnsemble: expected n to be an int; got 2.0"),
        (lambda: deep(ONE), TypeError, "DeepEnsemble: expected make_model to be a function that returns a model; got Linear"),
        (lambda: deep(lambda: 3), TypeError, "DeepEnsemble: expected make_model to return an nn.Module; got int"),
        (lambda: deep(lambda: ONE), ValueError, "DeepEnsemble: expected make_model to return a new model each time; got the same one twice"),
        (lambda: deep(classifier, 2, 3), TypeError, "Trainer: expected loss to be a function or a module; got int"),
        (lambda: deep(classifier, 2, nn.MSELoss(), sgd(ONE.parameters())), TypeError, "DeepEnsemble: expected optimizer to be a function of parameters, such as optim.Adam; got SGD"),
        (lambda: ensemble.BaggingEnsemble(classifier, 0, nn.MSELoss(), sgd), ValueError, "BaggingEnsemble: expected n of at least 1; got 0"),
        (lambda: bagged(52), ValueError, "BaggingEnsemble.fit: expected the 53 rows of the first fit; got 52"),
        (lambda: bagged(y=None), ValueError, "BaggingEnsemble.fit: expected arrays x and y; got no y"),
        (lambda: bagged(validation_split=0.2), ValueError, "BaggingEnsemble.fit: expected validation_data, or the out-of-bag score; got validation_split, whose rows would be in the samples too"),
        (lambda: bagged(sample_weight=np.ones(3)), ValueError, "BaggingEnsemble.fit: expected sample_weight of shape (53,); got (3,)"),
        (lambda: ensemble.SnapshotEnsemble(classifier, 0, nn.MSELoss(), sgd), ValueError, "SnapshotEnsemble: expected cycles of at least 1; got 0"),
        (lambda: ensemble.SnapshotEnsemble(classifier, 3, nn.MSELoss(), sgd, keep=4), ValueError, "SnapshotEnsemble: expected keep of at most 3, the cycles; got 4"),
        (lambda: ensemble.SnapshotEnsemble(classifier, 3, nn.MSELoss(), 0.1), TypeError, "SnapshotEnsemble: expected optimizer to be a function of parameters, such as optim.Adam; got float"),
        (lambda: ensemble.SnapshotEnsemble(classifier, 4, nn.CrossEntropyLoss(), sgd).fit(X, Y, **OPTIONS), ValueError, "SnapshotEnsemble: expected at least 4 epochs, one a cycle; got 3"),
        (lambda: deep().predict(X[:0]), ValueError, "DeepEnsemble.predict: expected at least one row in x; got shape (0, 4)"),
        (lambda: deep().predict(X, batch_size=0), ValueError, "DeepEnsemble.predict: expected batch_size of at least 1; got 0"),
        (lambda: deep().disagreement(3.0), ValueError, "DeepEnsemble.disagreement: expected x to have rows; got a scalar"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
