"""Experiments with convolutional nets, small: which way each effect goes, over several seeds."""

import sys

import numpy as np
import pytest

from fastnn import models, nn

SEEDS = range(5)


@pytest.mark.slow
def test_flipped_and_shifted_images_are_learnt_more_slowly_and_better():
    import color_images

    def build():
        # A quarter of the pixels a side: sixteen times as fast.
        return nn.Sequential(nn.AvgPool2d(4), models.resnet8())

    result = color_images.run(SEEDS, epochs=16, train=300, test=400, batch=30, build=build)
    none, moved, cut = (of["last"] for of in result.values())
    train_loss, _, test_loss, test_accuracy, _ = range(5)
    for augmented in (moved, cut):
        assert (augmented[:, train_loss] > 10 * none[:, train_loss]).all()
        assert (augmented[:, test_loss] < none[:, test_loss] - 0.5).all()
        assert (augmented[:, test_accuracy] > none[:, test_accuracy]).sum() >= 4
        assert augmented[:, test_accuracy].mean() > none[:, test_accuracy].mean() + 0.02
    assert cut[:, train_loss].mean() > moved[:, train_loss].mean()


@pytest.mark.slow
def test_lenet_reads_more_digits_if_it_has_seen_them_turned_and_shifted():
    import lenet_digits

    none, moved = lenet_digits.run(SEEDS, epochs=12, train=500, test=500, batch=25).values()
    assert (moved["train loss"] > none["train loss"]).all()
    assert (moved["accuracy"][:, -1] > none["accuracy"][:, -1]).all()
    assert moved["accuracy"][:, -1].mean() > none["accuracy"][:, -1].mean() + 0.01


@pytest.mark.slow
def test_stochastic_depth_leaves_more_to_learn_and_a_smaller_gap():
    import stochastic_depth

    none, some = (of["last"] for of in stochastic_depth.run(SEEDS, epochs=10, train=200, test=200, shrink=4).values())
    train_loss, _, test_loss, _ = range(4)
    assert (some[:, train_loss] > none[:, train_loss]).all()
    assert (some[:, test_loss] < none[:, test_loss]).sum() >= 4
    assert (some[:, test_loss] - some[:, train_loss] < none[:, test_loss] - none[:, train_loss]).sum() >= 4


@pytest.mark.slow
def test_fractional_pooling_is_better_if_it_is_averaged():
    import fractional_pooling

    result = fractional_pooling.run(SEEDS, epochs=10, images=300, test=500)
    loss = {kind: of[:, 0] for kind, of in result.items()}
    averaged = loss["fractional, mean of 8 draws"]
    assert (averaged < loss["fractional, drawn once"]).all()
    assert (averaged < loss["max"]).sum() >= 4
    assert (loss["fractional, fixed"] < 1.25 * loss["fractional, drawn once"]).all()


def test_whole_numbers_and_seeds_are_options_of_the_command_line(monkeypatch, tmp_path, capsys):
    import common

    def run(seeds: range = range(3), epochs: int = 7, images: tuple[int, ...] = (1, 2)) -> list[list[object]]:
        return [[list(seeds), epochs, images]]

    def draw(result):
        figure, (axis,) = common.figure()
        axis.plot([0, 1], [1, 0])
        return figure

    pytest.importorskip("matplotlib")
    for arguments, row in (([], "[0, 1, 2] 7 (1, 2)"), (["--seeds", "1", "--epochs", "4"], "[0] 4 (1, 2)")):
        monkeypatch.setattr(sys, "argv", ["name.py", "--out", str(tmp_path), *arguments])
        common.main("name", run, lambda result: common.print_table(["", "", ""], result), draw)
        assert capsys.readouterr().out.split("\n")[1].split() == row.split()
        assert (tmp_path / "name.png").stat().st_size > 0


def test_channels_are_standardized_by_the_training_images():
    import common

    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 2, 2) ** 2
    y = np.zeros(2, np.int64)
    train, _, test, _ = common.standardized((x, y, x[:1], y[:1]))
    np.testing.assert_allclose(train.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=(0, 2, 3)), 1, rtol=1e-6)
    np.testing.assert_array_equal(test, train[:1])
