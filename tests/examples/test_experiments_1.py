"""Experiments of the gallery, small: which way each effect goes, over several seeds."""

import numpy as np

SEEDS = range(5)


def test_sigmoid_learns_more_slowly_than_relu():
    import iris_activations

    numbers = iris_activations.run(SEEDS, epochs=300)["numbers"]
    train_loss, _, test_loss, _ = range(4)
    assert (numbers["sigmoid"][:, train_loss] > numbers["ReLU"][:, train_loss]).sum() >= 4
    assert numbers["sigmoid"][:, test_loss].mean() > numbers["ReLU"][:, test_loss].mean()


def test_degree_15_fits_the_points_best_and_the_truth_worst():
    import polynomials

    result = polynomials.run(SEEDS)
    stiff, right, supple = np.median(result["train"], axis=0)
    assert stiff > right > supple
    stiff, right, supple = np.median(result["test"], axis=0)
    assert right < stiff < supple


def test_only_the_matching_initialization_keeps_the_signal():
    import initialization

    result = initialization.run(SEEDS)
    spread = {key: np.array([initialization.spread(layers) for layers in seeds]) for key, seeds in result.items()}
    for kind in initialization.ACTIVATIONS:
        assert (spread[kind, "zeros"] == 0).all()
        assert (spread[kind, "N(0, 0.01²)"] < 1e-5).all()
    assert (spread["tanh", "Xavier"] > 0.2).all()
    assert (spread["relu", "He"] > 0.5).all()
    assert (spread["relu", "Xavier"] < 0.1).all()


def test_gradients_vanish_through_sigmoids_and_batch_norm_brings_them_back():
    import vanishing_gradients

    ratio = {key: norms[:, 0] / norms[:, -1] for key, norms in vanishing_gradients.run(SEEDS).items()}
    assert (ratio["sigmoid", False] < 1e-6).all()
    assert (ratio["sigmoid", True] > 0.1).all()
    for name in ("tanh", "ReLU"):
        assert (ratio[name, False] > 0.02).all()


def test_a_rate_can_be_too_low_and_too_high_and_should_fall():
    import learning_rates

    result = learning_rates.run(SEEDS, epochs=6, rows=1000)
    accuracy = {name: kept["accuracy"] for name, kept in result.items()}
    assert (accuracy["good"] > accuracy["too low"] + 0.05).all()
    assert (accuracy["good"] > accuracy["too high"] + 0.05).all()
    loss = {name: kept["loss"][:, -1] for name, kept in result.items()}
    assert loss["steps"].mean() < loss["good"].mean()


def test_early_stopping_saves_epochs_and_test_loss():
    import early_stopping

    result = early_stopping.run(SEEDS, epochs=60)
    loss, _, epochs = range(3)
    assert (result["early"][:, loss] < result["to the end"][:, loss]).all()
    assert (result["early"][:, epochs] < 60).all()


def test_standardized_features_need_fewer_steps():
    import feature_scaling

    result = feature_scaling.run(SEEDS)
    steps = {name: [feature_scaling.steps_to(run[3]) for run in runs] for name, runs in result.items()}
    assert all(after < before / 3 for after, before in zip(steps["standardized"], steps["as they are"], strict=True))


def test_the_fine_search_begins_where_the_coarse_one_ended():
    import random_search

    result = random_search.run(SEEDS, trials=8, epochs=3)
    medians = {s: np.array([np.median([t[2] for t in r[s]]) for r in result]) for s in ("coarse", "fine")}
    assert (medians["fine"] > medians["coarse"]).sum() >= 4
