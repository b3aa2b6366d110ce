"""Distributions of the draws."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import augment as A

COUNT = 6000


def drawn(transform, shape=(1, 20, 30)):
    """Return the draws of many images, by name."""
    fnn.manual_seed(21)
    all_ = transform.params((COUNT, *shape))
    done = [one[0][1] for one in all_ if one]
    assert len(done) == COUNT
    return {name: np.array([v[name] for v in done]) for name in done[0]}


def assert_even(values, low, high):
    """Evenly distributed from low to high: the ends, the first two moments."""
    assert low <= values.min() <= low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) <= values.max() <= high
    assert values.mean() == pytest.approx((low + high) / 2, abs=5 * (high - low) / np.sqrt(12 * COUNT))
    assert values.var() == pytest.approx((high - low) ** 2 / 12, rel=0.06)


def assert_each_alike(values, low, high):
    """Integers from low to high, each as often."""
    count = high - low + 1
    assert set(values) == set(range(low, high + 1))
    shares = np.bincount((values - low).astype(int)) / COUNT
    np.testing.assert_allclose(shares, 1 / count, atol=5 * np.sqrt(1 / count / COUNT))


def test_shifts_and_crops():
    v = drawn(A.RandomShift((4, 2)))
    assert_each_alike(v["dx"], -4, 4)
    assert_each_alike(v["dy"], -2, 2)
    assert abs(np.corrcoef(v["dx"], v["dy"])[0, 1]) < 0.06
    v = drawn(A.RandomCrop((16, 27), padding=1))
    assert_each_alike(v["top"], 0, 6)
    assert_each_alike(v["left"], 0, 5)


def test_affine_maps():
    v = drawn(A.RandomAffine((-10, 50), (0.1, 0.5), (0.5, 2.5), (-5, 15, 20, 30)))
    assert_even(v["angle"], -10, 50)
    assert_even(v["scale"], 0.5, 2.5)
    assert_even(v["shear_x"], -5, 15)
    assert_even(v["shear_y"], 20, 30)
    assert set(v["dx"]) == set(range(-3, 4))
    assert set(v["dy"]) == set(range(-10, 11))
    together = np.corrcoef(list(v.values()))
    assert np.abs(together - np.eye(6)).max() < 0.06


@pytest.mark.parametrize(
    "transform", [A.RandomErasing(1, (0.1, 0.2), (0.5, 2)), A.RandomResizedCrop(9, (0.1, 0.2), (0.5, 2))]
)
def test_rectangles(transform):
    v = drawn(transform, (1, 200, 300))
    area = v["height"] * v["width"] / 60_000
    assert area.min() == pytest.approx(0.1, abs=0.002)
    assert area.max() == pytest.approx(0.2, abs=0.002)
    assert area.mean() == pytest.approx(0.15, abs=0.003)
    ratio = np.log(v["height"] / v["width"])
    assert abs(ratio.mean()) < 0.03
    assert ratio.min() == pytest.approx(-np.log(2), abs=0.02)
    assert ratio.max() == pytest.approx(np.log(2), abs=0.02)
    assert (v["top"] + v["height"]).max() == 200
    assert (v["left"] + v["width"]).max() == 300
    assert v["top"].min() == v["left"].min() == 0


def test_which_of_height_and_width_a_ratio_is_of():
    # torchvision has height / width for what it erases, and width / height for what it crops.
    v = drawn(A.RandomErasing(1, (0.05, 0.1), (3, 4)), (1, 200, 200))
    assert (v["height"] / v["width"]).min() > 2.7
    v = drawn(A.RandomResizedCrop(9, (0.05, 0.1), (3, 4)), (1, 200, 200))
    assert (v["width"] / v["height"]).min() > 2.7


def test_what_never_fits():
    assert (drawn(A.RandomErasing(1, (0.9, 1), (30, 40)))["height"] == 0).all()
    v = drawn(A.RandomResizedCrop(9, (0.9, 1), (0.01, 0.02)))
    assert (v["height"] == 20).all()
    assert (v["width"] == 1).all()
    assert (v["left"] == 14).all()
    v = drawn(A.RandomResizedCrop(9, (0.99, 1), (0.5, 0.75)))
    assert (v["width"] == 15).all()


def test_colors():
    v = drawn(A.ColorJitter(0.5, 1.5, (0.25, 0.75), 0.25), (3, 1, 1))
    assert_even(v["brightness"], 0.5, 1.5)
    assert_even(v["contrast"], 0, 2.5)
    assert_even(v["saturation"], 0.25, 0.75)
    assert_even(v["hue"], -0.25, 0.25)
    orders = np.stack([v[name] for name in ("first", "second", "third", "fourth")])
    np.testing.assert_array_equal(np.sort(orders, axis=0).T, np.tile(range(4), (COUNT, 1)))
    for place in orders:
        assert_each_alike(place, 0, 3)
    v = drawn(A.PCANoise(0.5, [1, 1, 1], np.eye(3)), (3, 1, 1))
    assert np.std(v["third"]) == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(np.cov(list(v.values())), np.eye(3) / 4, atol=0.02)


def test_centers_of_cut_out():
    v = drawn(A.CutOut(5), (1, 6, 4))
    assert_each_alike(v["y"], 0, 5)
    assert_each_alike(v["x"], 0, 3)


def shares(transform):
    fnn.manual_seed(22)
    names = [" ".join(name for name, _ in one) for one in transform.params((COUNT, 3, 8, 8))]
    return {name: names.count(name) / COUNT for name in set(names)}


def test_probabilities():
    assert shares(A.RandomHorizontalFlip()) == pytest.approx({"": 0.5, "RandomHorizontalFlip": 0.5}, abs=0.03)
    assert shares(A.CutOut(3, p=0.2)) == pytest.approx({"": 0.8, "CutOut": 0.2}, abs=0.03)
    assert shares(A.RandomVerticalFlip(0)) == {"": 1}
    assert shares(A.RandomVerticalFlip(1)) == {"RandomVerticalFlip": 1}
    both = A.Compose([A.CutOut(3), A.RandomErasing(0.25)], p=0.4)
    assert shares(both) == pytest.approx({"": 0.6, "CutOut": 0.3, "CutOut RandomErasing": 0.1}, abs=0.03)
    one = A.OneOf(
        [A.CutOut(3), A.Compose([A.RandomShift(1), A.GaussianNoise()]), A.BinomialNoise(p=0.5)], [3, 1, 4], p=0.8
    )
    want = {"CutOut": 0.3, "RandomShift GaussianNoise": 0.1, "BinomialNoise": 0.2, "": 0.4}
    assert shares(one) == pytest.approx(want, abs=0.03)


def test_two_of_a_kind_draw_different_numbers():
    fnn.manual_seed(1)
    drawn = A.Compose([A.RandomRotation(90), A.RandomRotation(90)]).params((100, 1, 4, 4))
    first, second = np.array([[v["angle"] for _, v in one] for one in drawn]).T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4
    # A further transform does not change what the others draw.
    fnn.manual_seed(1)
    again = A.Compose([A.RandomRotation(90), A.RandomRotation(90), A.CutOut(2)]).params((100, 1, 4, 4))
    assert [one[:2] for one in again] == drawn


def test_every_call_draws_anew_and_params_draws_nothing():
    x = np.ones((4, 1, 30, 30), np.float32)
    transform = A.CutOut(5)
    fnn.manual_seed(1)
    state = fnn.get_rng_state()
    assert transform.params(x.shape) == transform.params(x.shape)
    assert fnn.get_rng_state() == state
    first = transform(x)
    assert fnn.get_rng_state() == (state[0], state[1] + 1)
    assert (transform(x) != first).any()
    fnn.set_rng_state(state)
    np.testing.assert_array_equal(transform(x), first)
    A.Normalize(0, 1)(x)
    assert fnn.get_rng_state() == (state[0], state[1] + 1)


def test_random_pixels():
    x = np.full((8, 3, 40, 50), 0.25)
    fnn.manual_seed(1)
    got = A.BinomialNoise(0.3)(x)
    assert (got == 0).mean() == pytest.approx(0.3, abs=0.01)
    got = A.SaltAndPepper(0.4, 0.25)(x)
    assert (got == 1).mean() == pytest.approx(0.1, abs=0.01)
    assert (got == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert (got == got[:, :1]).all()
    got = A.GaussianNoise(0.1, 0.2, clip=False)(x)
    assert got.mean() == pytest.approx(0.35, abs=0.003)
    assert got.std() == pytest.approx(0.2, rel=0.02)
    clipped = A.GaussianNoise(0, 2)(x)
    assert clipped.min() == 0
    assert clipped.max() == 1
    # No two images get the same.
    assert len(np.unique(got[:, 0, 0, 0])) == 8
