"""The experiments with images, small: which way each effect goes, over five seeds."""

import numpy as np
import pytest

SEEDS = range(5)


@pytest.mark.slow
def test_cutting_and_mixing_images_helps_where_they_are_few():
    import mixing_images

    result = mixing_images.run(SEEDS, images=400, epochs=24, test=1000)
    plain, *others = result["accuracies"].T
    for kind, accuracies in zip([*mixing_images.KINDS][1:], others, strict=True):
        assert (accuracies > plain).sum() >= 4, kind
        assert (accuracies - plain).mean() > 0.008, kind
    x, labels = result["pictures"]["as they are"]
    assert labels.argmax(axis=1).tolist() == list(range(mixing_images.SHOWN))
    for kind in ("MixUp", "CutMix"):
        mixed, shares = result["pictures"][kind]
        # Two classes an image, in the shares of what they give to its pixels.
        assert ((shares > 0).sum(axis=1) == 2).all(), kind
        first = shares[np.arange(len(x)), np.arange(len(x))]
        others = shares.copy()
        others[np.arange(len(x)), np.arange(len(x))] = 0
        partner = x[others.argmax(axis=1)]
        blend = first[:, None, None, None] * x + (1 - first[:, None, None, None]) * partner
        if kind == "MixUp":
            np.testing.assert_allclose(mixed, blend, atol=1e-5)
        else:
            assert ((mixed == x) | (mixed == partner)).all()


@pytest.mark.slow
def test_ten_crops_see_more_than_one():
    import ten_crop

    accuracies = ten_crop.run(SEEDS, epochs=10, images=1000)["accuracies"]
    center, _, five, ten = accuracies.transpose(2, 1, 0)
    for i, kind in enumerate(ten_crop.KINDS):
        assert (ten[i] > center[i]).sum() >= 4, kind
        assert (ten[i] - center[i]).mean() > 0.002, kind
        assert ten[i].mean() > five[i].mean() - 0.01, kind


def test_the_views_are_parts_of_the_image_and_of_its_mirror_image():
    import ten_crop

    x = np.arange(2 * 3 * 32 * 32, dtype=np.float32).reshape(2, 3, 32, 32)
    tops, lefts = (0, 0, 4, 4, 2), (0, 4, 0, 4, 2)
    parts = [x[:, :, top : top + 28, left : left + 28] for top, left in zip(tops, lefts, strict=True)]
    mirrored = [x[:, :, :, ::-1][:, :, top : top + 28, left : left + 28] for top, left in zip(tops, lefts, strict=True)]
    for name, expected in {"center": parts[4:], "five crops": parts, "ten crops": parts + mirrored}.items():
        for view, part in zip(ten_crop.VIEWS[name], expected, strict=True):
            np.testing.assert_array_equal(view(x), part)
    np.testing.assert_array_equal(ten_crop.VIEWS["and its mirror image"][1](x), parts[4][:, :, :, ::-1])


def test_colors_change_as_the_transforms_say():
    import color_noise

    rows = color_noise.run(seed=3, images=50, copies=6)
    again = color_noise.run(seed=3, images=50, copies=6)
    x = color_noise.common.colors(50)[0]
    for name, images in rows.items():
        assert images.shape == (7, 3, 32, 32), name
        np.testing.assert_array_equal(images[0], x[color_noise.IMAGE])
        np.testing.assert_array_equal(images, again[name])
        assert np.unique(images, axis=0).shape[0] == 7, name
    # Brightness: one factor an image, cut off at white.
    for image in rows["brightness"][1:]:
        dark = (image > 0) & (image < 1)
        factors = image[dark] / x[color_noise.IMAGE][dark]
        np.testing.assert_allclose(factors, factors[0], rtol=1e-4)
        assert 0.4 <= factors[0] <= 1.6
    # Saturation leaves the gray that it mixes with, but where a color was cut off.
    red_green_blue = np.array([0.2989, 0.587, 0.114], np.float32)[:, None, None]
    for image in rows["saturation"][1:]:
        inside = ((image > 0) & (image < 1)).all(axis=0)
        gray = (image * red_green_blue).sum(axis=0)
        np.testing.assert_allclose(gray[inside], (x[color_noise.IMAGE] * red_green_blue).sum(axis=0)[inside], atol=2e-3)
    # The largest and the smallest of the channels stay when colors turn.
    for image in rows["hue"][1:]:
        np.testing.assert_allclose(image.max(axis=0), x[color_noise.IMAGE].max(axis=0), atol=1e-4)
        np.testing.assert_allclose(image.min(axis=0), x[color_noise.IMAGE].min(axis=0), atol=1e-4)
    # Principal components: one color is added to all pixels.
    for name in ("PCA, std 0.1", "PCA, std 1"):
        added = rows[name][1:] - rows[name][0]
        np.testing.assert_allclose(added, np.broadcast_to(added[:, :, :1, :1], added.shape), atol=1e-5)
    change = {name: color_noise.changes(images) for name, images in rows.items()}
    assert 4 < change["PCA, std 1"][0] / change["PCA, std 0.1"][0] < 25
    assert change["hue"][2] > change["hue"][1]
    assert change["brightness"][1] > change["brightness"][2]


@pytest.mark.slow
def test_nets_read_changed_digits_if_they_have_learnt_from_them():
    import augmented_digits

    result = augmented_digits.run(SEEDS, images=600, epochs=12, test=500)
    plain, taught = result["accuracies"].transpose(1, 2, 0)
    for i, kind in enumerate(augmented_digits.KINDS):
        if kind != "as they are":
            assert (plain[i] < plain[0]).all(), kind
            assert (taught[i] > plain[i]).sum() >= 4, kind
    assert np.abs(taught[0] - plain[0]).max() < 0.08
    original = result["images"]["as they are"]
    for kind, images in result["images"].items():
        assert images.shape == (10, 1, 28, 28)
        assert (images != original).any(axis=(1, 2, 3)).all() == (kind != "as they are"), kind
    # A rectangle of gray is erased, and nothing else changes.
    for image, erased in zip(original[:, 0], result["images"]["erasing"][:, 0], strict=True):
        down, right = ((erased != image).any(axis=axis).nonzero()[0] for axis in (1, 0))
        rectangle = (slice(down[0], down[-1] + 1), slice(right[0], right[-1] + 1))
        expected = image.copy()
        expected[rectangle] = 0.5
        np.testing.assert_array_equal(erased, expected)
        assert 0.03 < expected[rectangle].size / 784 < 0.25


@pytest.mark.slow
def test_saliency_lies_where_the_ink_is():
    import what_a_net_sees

    result = what_a_net_sees.run(SEEDS, images=1000, epochs=6, test=300)
    for _, accuracy, salient, all_pixels in result["table"]:
        assert accuracy > 0.85
        assert salient > 1.7 * all_pixels
    filters, maps, digits, saliency = result["rows"]
    assert filters.shape == (6, 5, 5)
    assert digits.shape == maps.shape == saliency.shape == (6, 28, 28)
    for row in (maps, saliency):
        assert (row >= 0).all()
        assert (row.max(axis=(1, 2)) > 0).all()
    assert all(name[0] != name[-1] for name in result["names"])


def test_pixels_by_the_ink_are_counted():
    import what_a_net_sees

    image = np.zeros((1, 1, 10, 10), np.float32)
    image[0, 0, 4, 4] = 1
    maps = np.zeros((1, 10, 10))
    maps[0, 3:5, 3] = maps[0, 9, 9] = maps[0, 0, :7] = 1  # 10 pixels of highest saliency, 2 of them by the ink
    assert what_a_net_sees.near_ink(image, maps) == (0.2, 0.09)
