"""Every transform of images against its formula in float64, given what was drawn."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import augment as A
from tests.reference import augment as reference

RNG = np.random.default_rng(7)
# One pixel; one row; no multiple of the 16 that are handled at once; one that is.
SHAPES = [(4, 1, 1, 1), (3, 3, 1, 5), (5, 3, 13, 19), (6, 1, 28, 28), (3, 3, 16, 32)]
FILL = 0.375


def affine(t, image, v, **kind):
    return reference.mapped(image, reference.matrix(v, image.shape, **kind), t.interpolation, t.fill)


def values(drawn):
    """The numbers of the only transform."""
    return drawn[0][1]


PCA = A.PCANoise(0.5, [0.5, 0.25, 0.125], np.linalg.qr(RNG.normal(size=(3, 3)))[0])


def crop(padding):
    return lambda t, image, v, **_: reference.crop(image, v, t.size, padding, t.padding_mode, t.fill)


def noise(image, state, i, white):
    size = image.size + -image.size % 4
    z = reference.normals(state, 0, i * size, image.size).reshape(image.shape)
    return np.clip(image + white * (0.25 + 0.5 * z), 0, white)


def masked(image, state, i):
    w = reference.words(state, 0, i * -(-image.size // 4), image.size).reshape(image.shape)
    return np.where(w < 0.25 * 2**32, 0, image)


def peppered(image, state, i, white):
    h, w = image.shape[1:]
    drawn = reference.words(state, 0, i * -(-h * w // 4), h * w).reshape(h, w)
    return np.where(drawn < 0.125 * 2**32, white, np.where(drawn < 0.5 * 2**32, 0, image))


def randomly_erased(image, v, state, i):
    size = image.size + -image.size % 4
    z = reference.normals(state, 0, i * size, image.size).reshape(image.shape)
    return reference.erase(image, *(int(v[k]) for k in ("top", "left", "height", "width")), z)


def cut_out(t, image, v):
    (rows, columns), y, x = t.size, int(v["y"]), int(v["x"])
    return reference.erase(image, y - rows // 2, x - columns // 2, rows, columns, t.value)


# The transform, its formula, and whether it takes images of one channel.
TABLE = {
    "horizontal flip": (A.RandomHorizontalFlip(1), lambda t, x, v, **_: x[:, :, ::-1]),
    "vertical flip": (A.RandomVerticalFlip(1), lambda t, x, v, **_: x[:, ::-1]),
    "shift": (
        A.RandomShift((3, 2), FILL),
        lambda t, x, v, **_: reference.mapped(x, reference.shift(v), "nearest", FILL),
    ),
    "rotation": (
        A.RandomRotation((20, 70), "bilinear", fill=FILL),
        lambda t, x, v, **_: affine(t, x, v, counterclockwise=True),
    ),
    "rotation, nearest": (
        A.RandomRotation(180, center=(2.25, 4.5), fill=FILL),
        lambda t, x, v, **_: affine(t, x, v, center=t.center, counterclockwise=True),
    ),
    "zoom": (A.RandomZoom((0.3, 2.5), fill=FILL), lambda t, x, v, **_: affine(t, x, v)),
    "shear": (A.RandomShear((10, 50, -40, -5), fill=FILL), lambda t, x, v, **_: affine(t, x, v)),
    "affine": (
        A.RandomAffine((15, 40), (0.5, 0.25), (0.5, 0.9), (5, 25, -30, 2), "bilinear", FILL, (3.5, 1.25)),
        lambda t, x, v, **_: affine(t, x, v, center=t.center),
    ),
    "affine, nearest": (
        A.RandomAffine((15, 40), scale=(1.5, 2), fill=FILL),
        lambda t, x, v, **_: affine(t, x, v),
    ),
    "crop": (A.RandomCrop((6, 5), (3, 4, 5, 2), fill=FILL, pad_if_needed=True), None),
    "crop, edge": (A.RandomCrop((4, 5), (2, 4), padding_mode="edge"), crop((2, 4, 2, 4))),
    "crop, symmetric": (A.RandomCrop((4, 5), 2, padding_mode="symmetric"), crop((2, 2, 2, 2))),
    "resized crop": (
        A.RandomResizedCrop((7, 18), (0.2, 0.6)),
        lambda t, x, v, **_: reference.resized_crop(x, v, t.size, "bilinear"),
    ),
    "resized crop, nearest": (
        # Eighths are exact: a place between two pixels is so in both.
        A.RandomResizedCrop(8, (0.3, 0.9), (0.5, 0.6), "nearest"),
        lambda t, x, v, **_: reference.resized_crop(x, v, (8, 8), "nearest"),
    ),
    "color jitter": (
        A.ColorJitter(0.7, (0.2, 0.9), (1.5, 2.5), (0.1, 0.5)),
        lambda t, x, v, white, **_: reference.color_jitter(x, v, white),
    ),
    "pca noise": (
        PCA,
        lambda t, x, v, white, **_: (
            x + white * (t.eigenvectors @ (t.eigenvalues * list(v.values())))[:, None, None]
        ),
    ),
    "gaussian noise": (A.GaussianNoise(0.25, 0.5), lambda t, x, v, state, i, white: noise(x, state, i, white)),
    "binomial noise": (A.BinomialNoise(0.25), lambda t, x, v, state, i, **_: masked(x, state, i)),
    "salt and pepper": (
        A.SaltAndPepper(0.5, 0.25),
        lambda t, x, v, state, i, white: peppered(x, state, i, white),
    ),
    "elastic": (
        A.ElasticTransform((40, 20), (1.5, 4), fill=FILL),
        lambda t, x, v, state, i, **_: reference.elastic(x, state, 0, i, t.alpha, t.sigma, "bilinear", FILL),
    ),
    "erasing": (
        A.RandomErasing(1, (0.1, 0.3), (0.5, 4), FILL),
        lambda t, x, v, **_: reference.erase(x, *(int(v[k]) for k in ("top", "left", "height", "width")), FILL),
    ),
    "erasing, random": (
        A.RandomErasing(1, value="random"),
        lambda t, x, v, state, i, **_: randomly_erased(x, v, state, i),
    ),
    "cut out": (A.CutOut((4, 7), FILL), lambda t, x, v, **_: cut_out(t, x, v)),
    "normalize": (A.Normalize(0.5, 0.2), lambda t, x, v, **_: (x - 0.5) / 0.2),
}  # fmt: skip


def expected(name, x, white=1.0):
    """Return the expected result of the next call of a transform."""
    transform, formula = TABLE[name]
    if formula is None:
        missing = max(6 - x.shape[2] - 6, 0), max(5 - x.shape[3] - 8, 0)
        padding = (3 + missing[1], 4 + missing[0], 5 + missing[1], 2 + missing[0])
        formula = crop(padding)
    state = fnn.get_rng_state()
    drawn = transform.params(x.shape)
    images = [formula(transform, image, values(drawn[i]), state=state, i=i, white=white) for i, image in enumerate(x)]
    return np.stack(images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TABLE)
def test_formula(name, shape):
    if name == "pca noise":
        shape = (shape[0], 3, *shape[2:])
    x = RNG.random(shape)
    transform = TABLE[name][0]
    fnn.manual_seed(11)
    for _ in range(3):
        want = expected(name, x)
        got = transform(x)
        assert got.dtype == np.float64
        # If a position lies between two pixels, rounding may choose the other one.
        close = np.isclose(got, want, rtol=1e-9, atol=1e-10)
        assert close.mean() > (0.995 if "nearest" in name or "affine" in name else 0.99999)
    assert got.shape == want.shape


@pytest.mark.parametrize("name", TABLE)
def test_float32_is_float64_rounded(name):
    x = RNG.random((5, 3, 13, 19)).astype(np.float32)
    fnn.manual_seed(12)
    single = TABLE[name][0](x)
    fnn.manual_seed(12)
    double = TABLE[name][0](x.astype(np.float64))
    assert single.dtype == np.float32
    if name in {"gaussian noise", "erasing, random", "elastic"}:
        # A number of 24 bits is not one of 53: only their distribution is the same.
        assert single.mean() == pytest.approx(double.mean(), abs=0.1)
        assert np.isfinite(single).all()
    else:
        assert np.isclose(single, double, rtol=1e-5, atol=2e-5).mean() > 0.998


@pytest.mark.parametrize("name", [name for name in TABLE if name not in {"normalize", "erasing, random"}])
def test_bytes_are_rounded_once(name):
    x = RNG.integers(0, 256, (5, 3, 13, 19), dtype=np.uint8)
    if name in {"gaussian noise", "elastic"}:
        # Their numbers have 24 bits, those of the reference 53.
        fnn.manual_seed(13)
        want = TABLE[name][0](x.astype(np.float32) / np.float32(255)) * 255
    else:
        fnn.manual_seed(13)
        want = expected(name, x.astype(np.float64), 255.0)
    fnn.manual_seed(13)
    got = TABLE[name][0](x)
    assert got.dtype == np.uint8
    if name == "elastic":
        # Values from outside are FILL of 1, or of 255.
        inside = np.abs(want - FILL * 255) > 60
        assert np.abs(got - want)[inside].mean() < 15
        return
    off = np.abs(got.astype(int) - np.clip(np.rint(want), 0, 255))
    assert off.mean() < 0.3 if "nearest" in name else off.max() <= 1
    # Means of bytes often end in a half, which goes either way.
    assert (off == 0).mean() > 0.9


@pytest.mark.parametrize("name", TABLE)
def test_same_bits_for_any_number_of_threads_and_any_neighbors(name):
    x = RNG.random((17, 3, 33, 41)).astype(np.float32)
    transform = TABLE[name][0]
    before = fnn.get_num_threads()
    outputs = []
    try:
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            fnn.manual_seed(14)
            outputs.append(transform(x))
    finally:
        fnn.set_num_threads(before)
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])
    fnn.manual_seed(14)
    np.testing.assert_array_equal(transform(np.ascontiguousarray(x[:5])), outputs[0][:5])


def test_maps_that_follow_each_other_are_one():
    x = RNG.random((9, 3, 15, 18))
    pipeline = A.Compose(
        [
            A.RandomHorizontalFlip(1),
            A.RandomShift(4, FILL),
            A.RandomRotation(40, "bilinear", fill=FILL),
            A.RandomAffine(0, scale=(0.5, 0.8), interpolation="bilinear", fill=FILL),
            A.RandomHorizontalFlip(1),
            A.RandomCrop(12, fill=FILL),
        ]
    )
    fnn.manual_seed(3)
    drawn = pipeline.params(x.shape)
    got = pipeline(x)
    assert got.shape == (9, 3, 12, 12)
    for image, steps, out in zip(x, drawn, got, strict=True):
        _, shift, turn, grow, _, part = (v for _, v in steps)
        flip = reference.flip(image.shape)
        forward = reference.matrix(turn, image.shape, counterclockwise=True) @ reference.shift(shift) @ flip
        forward = flip @ reference.matrix(grow, image.shape) @ forward
        forward = reference.shift({"dx": -part["left"], "dy": -part["top"]}) @ forward
        want = reference.mapped(image, forward, "bilinear", FILL, (12, 12))
        np.testing.assert_allclose(out, want, rtol=1e-9, atol=1e-10)


def test_maps_of_other_fills_or_readings_follow_one_after_another():
    x = RNG.random((6, 1, 9, 9))
    for first, second in [
        (A.RandomRotation((30, 60), "bilinear", fill=0.9), A.RandomRotation((30, 60), "bilinear", fill=0.1)),
        (A.RandomRotation((30, 60), "bilinear"), A.RandomRotation((30, 60), "nearest")),
        (A.RandomRotation((30, 60)), A.RandomCrop(7, 2, padding_mode="edge")),
        (A.RandomResizedCrop((9, 9)), A.RandomRotation((30, 60), "bilinear")),
        (A.RandomHorizontalFlip(1), A.RandomResizedCrop((9, 9))),
        (A.RandomRotation((30, 60)), A.CutOut(3)),
    ]:
        fnn.manual_seed(4)
        drawn = A.Compose([first, second]).params(x.shape)
        got = A.Compose([first, second])(x)
        for image, ((_, a), (_, b)), out in zip(x, drawn, got, strict=True):
            np.testing.assert_allclose(out, applied(second, b, applied(first, a, image)), rtol=1e-9, atol=1e-10)


def applied(transform, v, image):
    if isinstance(transform, A.RandomRotation):
        return affine(transform, image, v, counterclockwise=True)
    if isinstance(transform, A.RandomResizedCrop):
        return reference.resized_crop(image, v, transform.size, "bilinear")
    if isinstance(transform, A.RandomCrop):
        return reference.crop(image, v, (7, 7), (2, 2, 2, 2), transform.padding_mode, 0)
    if isinstance(transform, A.CutOut):
        return reference.erase(image, int(v["y"]) - 1, int(v["x"]) - 1, 3, 3, 0)
    return image[:, :, ::-1]


def test_reflection_may_go_on_and_on():
    x = RNG.random((3, 1, 3, 2))
    crops = A.RandomCrop(9, 7, padding_mode="reflect")
    fnn.manual_seed(5)
    drawn = crops.params(x.shape)
    for image, ((_, v),), out in zip(x, drawn, crops(x), strict=True):
        np.testing.assert_array_equal(out, reference.crop(image, v, (9, 9), (7, 7, 7, 7), "reflect", 0))


def test_a_value_for_each_channel():
    x = RNG.random((4, 3, 6, 6))
    fill = (0.1, 0.5, 0.9)
    for transform in (
        A.RandomShift(40, fill),
        A.RandomRotation(45, fill=fill),
        A.CutOut(50, fill),
        A.RandomZoom((0.1, 0.2), fill=fill),
    ):
        fnn.manual_seed(1)
        got = transform(x)
        for channel, value in enumerate(fill):
            assert (got[:, channel] == value).mean() > 0.02
            assert not (got[:, channel] == fill[channel - 1]).any()
    got = A.Normalize((0.1, 0.2, 0.3), (1, 2, 4))(x)
    np.testing.assert_allclose(got[:, 2], (x[:, 2] - 0.3) / 4, rtol=1e-12)


def test_a_quarter_turn_is_exact():
    x = RNG.random((2, 3, 8, 8))
    for interpolation in ("nearest", "bilinear"):
        got = A.RandomRotation((90, 90), interpolation)(x)
        np.testing.assert_allclose(got, np.rot90(x, axes=(2, 3)), atol=1e-12)


def test_empty_batches_tensors_views_and_single_images():
    for name, (transform, _) in TABLE.items():
        x = RNG.random((5, 3, 9, 11)).astype(np.float32)
        fnn.manual_seed(2)
        want = transform(x)
        assert transform(x[:0]).shape == (0, *want.shape[1:]), name
        fnn.manual_seed(2)
        tensor = transform(fnn.tensor(x))
        assert isinstance(tensor, fnn.Tensor)
        np.testing.assert_array_equal(tensor.numpy(), want)
        fnn.manual_seed(2)
        turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
        np.testing.assert_array_equal(transform(turned), want)
        if name in {"gaussian noise", "binomial noise"}:
            continue  # they take (9, 11) for rows of a batch of 3
        fnn.manual_seed(2)
        image, label = transform(x[0], 7)
        np.testing.assert_array_equal(image, want[0])
        assert label == 7


def test_rows_that_are_no_images_take_noise():
    x = RNG.random((6, 10))
    fnn.manual_seed(2)
    got = A.Compose([A.GaussianNoise(0, 0.5, clip=False), A.BinomialNoise(0.5)])(x)
    assert got.shape == x.shape
    assert 0.2 < (got == 0).mean() < 0.8
    assert not np.isclose(got, x).any()
    assert A.BinomialNoise(0.5)(x[:, None, :4]).shape == (6, 1, 4)


def test_pca_noise_finds_the_components():
    colors = RNG.normal(size=(2000, 3)) * (0.3, 0.1, 0.02)
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    x = (colors @ turn.T).T.reshape(1, 3, 40, 50)
    noise = A.PCANoise.fit(x, 0.25)
    np.testing.assert_allclose(np.sort(noise.eigenvalues), [0.0004, 0.01, 0.09], rtol=0.1)
    np.testing.assert_allclose(abs(noise.eigenvectors[:, -1] @ turn[:, 0]), 1, atol=1e-2)
    fnn.manual_seed(1)
    added = (noise(np.zeros((20_000, 3, 1, 1))))[..., 0, 0]
    spread = np.cov(added.T)
    np.testing.assert_allclose(
        spread, noise.eigenvectors @ np.diag((0.25 * noise.eigenvalues) ** 2) @ noise.eigenvectors.T, atol=3e-5
    )
    inside = np.clip((x * 255 + 128).round(), 0, 255).astype(np.uint8)
    assert A.PCANoise.fit(inside).eigenvalues.max() < 0.2
