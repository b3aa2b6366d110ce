"""Experiments 7, 8, 11 to 14, 16 and 17 of the gallery, small: which way each effect goes, over several seeds."""

import numpy as np

SEEDS = range(5)


def test_dropout_helps_and_its_spread_tells_what_is_wrong():
    import dropout

    result = dropout.run(SEEDS, epochs=30, samples=10, test=500)
    last = {kind: rows[:, -5:].mean(axis=1) for kind, rows in result["accuracies"].items()}
    assert last["inverted"].mean() > last["none"].mean()
    # Neither way of scaling is a better net than the other, only a differently scaled one.
    assert abs(last["inverted"] - last["scaled while testing"]).mean() < 0.05
    for spread in result["spreads"]:
        assert np.median(spread["wrong"]) > 2 * np.median(spread["right"])


def test_l1_makes_zeros_and_l2_shrinks():
    import penalties

    result = penalties.run(SEEDS, epochs=15, train=500)
    zeros = {name: np.array([penalties.zeros(weights) for weights in of["weights"]]) for name, of in result.items()}
    size = {name: np.array([np.linalg.norm(weights) for weights in of["weights"]]) for name, of in result.items()}
    assert (zeros["L1"] > 0.1).all()
    assert (zeros["none"] < 0.02).all()
    assert (zeros["L2"] < 0.02).all()
    assert (size["L2"] < 0.9 * size["none"]).all()


def test_small_batches_find_flatter_minima():
    import batch_size

    numbers = batch_size.run(SEEDS, epochs=250)
    sharpness, accuracy, _ = range(3)
    assert (numbers[16][:, sharpness] < numbers[2048][:, sharpness]).sum() >= 4
    assert numbers[16][:, accuracy].mean() > numbers[2048][:, accuracy].mean()


def test_members_together_are_better_than_one():
    import ensembles

    result = ensembles.run(SEEDS, epochs=10, train=500)
    for key in ("snapshots", "averages"):
        alone, together = result[key].T
        assert together.mean() > alone.mean()
        assert (together >= alone).sum() >= 3


def test_bagged_nets_disagree_where_there_is_no_data():
    import bagging

    for found in bagging.run(SEEDS, epochs=50):
        seen, unseen = bagging.doubt(found)
        assert unseen > 1.2 * seen


def test_pretraining_helps_where_labels_are_few():
    import pretraining

    accuracies = pretraining.run(SEEDS, epochs=8, labels=(50,))["accuracies"]
    gain = accuracies["pre-trained"] - accuracies["from scratch"]
    assert gain.mean() > 0
    assert (gain > 0).sum() >= 4


def test_only_layers_that_multiply_learn_a_product():
    import multiplicative

    errors = multiplicative.run(SEEDS, epochs=25, rows=1000)["errors"]
    for scale in multiplicative.SCALES:
        assert (errors["low-rank bilinear", scale] < 1e-4).all()
        assert (errors["factorization machine", scale] < 1e-4).all()
        assert (errors["MLP", scale] > 0.01).all()
    # The net extrapolates only as far as its data reached.
    assert (errors["MLP", 4.0] > errors["MLP", 1.0]).all()


def test_each_fault_is_found_and_a_sound_net_has_none():
    import broken_net

    result = broken_net.run(SEEDS, rows=256)
    for fault, (_, _, _, check) in broken_net.FAULTS.items():
        for diagnosis in result[fault]:
            assert [found.name for found in diagnosis.problems if not check] == []
            if check:
                assert diagnosis[check].verdict == "problem", fault


def test_mixup_learns_fewer_wrong_labels():
    import label_noise

    result = label_noise.run(SEEDS, epochs=30, train=500, test=500)
    assert (result["MixUp"]["noisy"] < result["plain"]["noisy"]).all()
    last = {kind: of["test"][:, -5:].mean() for kind, of in result.items()}
    assert last["MixUp"] > last["plain"]
    assert last["label smoothing"] > last["plain"]
