"""The color images: how many, of what, and from which file."""

import hashlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "data" / "cifar10.npz"


def test_the_subset_is_balanced_and_small():
    import common

    x_train, y_train, x_test, y_test = common.colors()
    assert x_train.shape == (2060, 3, 32, 32)
    assert x_test.shape == (500, 3, 32, 32)
    assert x_train.dtype == np.float32
    assert (x_train.min(), x_train.max()) == (0, 1)
    assert np.bincount(y_train).tolist() == [206] * len(common.COLORS)
    assert np.bincount(y_test).tolist() == [50] * len(common.COLORS)
    images = np.round(np.concatenate([x_train, x_test]) * 255).astype(np.uint8)
    assert len({hashlib.sha256(image.tobytes()).digest() for image in images}) == 2560  # none is there twice
    assert DATA.stat().st_size <= 6_000_000
    assert common.COLORS[y_train[0]] == "frog"


def test_a_larger_file_takes_its_place(tmp_path, monkeypatch):
    import common

    x = np.arange(3 * 3 * 32 * 32, dtype=np.int64).reshape(3, 3, 32, 32).astype(np.uint8)
    np.savez(tmp_path / "all.npz", x=x, y=np.array([2, 7, 1], np.uint8), test=np.array([False, True, False]))
    monkeypatch.setenv("FASTNN_CIFAR10", str(tmp_path / "all.npz"))
    x_train, y_train, x_test, y_test = common.colors()
    np.testing.assert_array_equal(x_train, x[[0, 2]] / np.float32(255))
    assert y_train.tolist() == [2, 1]
    np.testing.assert_array_equal(x_test, x[[1]] / np.float32(255))
    assert y_test.tolist() == [7]
    assert len(common.colors(train=1)[0]) == 1
