"""Experiments 1 to 4 of the gallery, small: which way each effect goes, over several seeds."""

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
