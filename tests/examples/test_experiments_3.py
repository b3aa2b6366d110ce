"""Experiments 5 and 9 of the gallery, small: which way each effect goes, over several seeds."""

import numpy as np
import pytest

from fastnn import optim

SEEDS = range(5)


def test_every_optimizer_has_a_path():
    import optimizer_paths

    point = optimizer_paths.fnn.zeros(1, 2, requires_grad=True)
    made = {type(make([point], 0.1)).__name__ for make in optimizer_paths.NAMED.values()}
    assert made == {name for name in optim.__all__ if isinstance(getattr(optim, name), type)} - {"Optimizer"}


@pytest.mark.slow
def test_the_ways_down_a_bowl_past_a_saddle_and_through_a_valley():
    import optimizer_paths

    result = optimizer_paths.run(SEEDS)
    left = {key: paths[:, -1, 2] / paths[:, 0, 2] for key, (_, paths) in result.items()}
    for surface in optimizer_paths.SURFACES:
        assert (left[surface, "Newton"] < 1e-20).all()
    # The bowl is 25 times as steep one way as the other: that costs gradient descent most.
    for name in ("momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "Rprop", "LBFGS"):
        assert (left["bowl", name] < left["bowl", "SGD"] / 10).all(), name
    assert (left["Beale", "momentum"] < left["Beale", "SGD"] / 10).all()
    # Places with a small gradient of a clear sign: a fifth of the way down from the saddle's height to a valley's.
    height = {name: result["saddle", name][1][:, :, 2] for name in optimizer_paths.NAMED}
    away = {name: (heights < 0.2).argmax(axis=1) for name, heights in height.items()}
    for name in ("Adagrad", "RMSprop", "Adam", "Rprop", "Newton"):
        assert ((away[name] > 0) & (away[name] < away["SGD"])).all(), name
    assert (away["LBFGS"] > 5 * away["Newton"]).all()


@pytest.mark.slow
def test_every_optimizer_learns_the_digits_and_momentum_helps():
    import optimizers_on_digits

    result = optimizers_on_digits.run(SEEDS, epochs=6, rows=500)
    for name, loss in result.items():
        assert (loss[:, -1] < loss[:, 0] - 0.05).all(), name
    for name in ("momentum", "Nesterov", "RMSprop", "Adam", "AdamW", "NAdam"):
        assert result[name][:, -1].mean() < result["SGD"][:, -1].mean(), name
    # Whole batches: an epoch is one step.
    assert (result["Rprop"][:, -1] > result["SGD"][:, -1]).all()


@pytest.mark.slow
def test_batch_norm_forgives_small_weights_but_not_small_batches():
    import normalization

    result = normalization.run(SEEDS, epochs=4, scales=normalization.SCALES[[0, 8, 15]])
    none, batch = result["scale"]["none"], result["scale"]["batch"]
    assert (batch[:2] > none[:2] + 0.1).all()
    assert (none[2] > none[0] + 0.3).all()
    norms = result["batch size"]
    for name in ("layer", "group"):
        assert (norms[name][0] > norms["batch"][0] + 0.1).all(), name
        assert np.abs(norms[name][2] - norms["batch"][2]).max() < 0.15, name
    assert (norms["batch"][2] > norms["batch"][0] + 0.1).all()
