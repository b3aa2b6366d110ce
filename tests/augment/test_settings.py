import copy
import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn import augment as A

X = np.zeros((4, 3, 6, 5), np.float32)


class Own(A.Transform):
    pass


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: A.RandomHorizontalFlip(1.5), ValueError, "RandomHorizontalFlip: expected p in [0, 1]; got 1.5"),
        (lambda: A.RandomVerticalFlip("x"), TypeError, "RandomVerticalFlip: expected p to be a number; got 'x'"),
        (lambda: A.RandomShift(-1), ValueError, "RandomShift: expected pixels of at least 0; got -1"),
        (lambda: A.RandomShift(1.5), TypeError, "RandomShift: expected pixels to be an int; got 1.5"),
        (lambda: A.RandomShift((1, 2, 3)), ValueError, "RandomShift: expected pixels to be an int or a pair; got (1, 2, 3)"),
        (lambda: A.RandomShift(1, ()), ValueError, "RandomShift: expected fill of at least one number; got ()"),
        (lambda: A.RandomShift(1, np.nan), ValueError, "RandomShift: expected fill to be finite; got nan"),
        (lambda: A.RandomRotation(-5), ValueError, "RandomRotation: expected degrees of at least 0; got -5"),
        (lambda: A.RandomRotation((5, -5)), ValueError, "RandomRotation: expected degrees from least to greatest; got (5, -5)"),
        (lambda: A.RandomRotation((1, 2, 3)), ValueError, "RandomRotation: expected degrees to be a pair; got (1, 2, 3)"),
        (lambda: A.RandomRotation(5, "cubic"), ValueError, "RandomRotation: expected interpolation 'nearest' or 'bilinear'; got 'cubic'"),
        (lambda: A.RandomRotation(5, expand=True), ValueError, "RandomRotation: expected expand False, for images of one size; got True"),
        (lambda: A.RandomRotation(5, center=3), ValueError, "RandomRotation: expected center to be a pair (x, y); got 3"),
        (lambda: A.RandomZoom((0, 1)), ValueError, "RandomZoom: expected scale above 0; got (0, 1)"),
        (lambda: A.RandomShear(90), ValueError, "RandomShear: expected shear between -90 and 90 degrees; got 90"),
        (lambda: A.RandomAffine(0, translate=(0, 2)), ValueError, "RandomAffine: expected translate in [0, 1]; got 2"),
        (lambda: A.RandomAffine(0, translate=0.5), ValueError, "RandomAffine: expected translate to be a pair; got 0.5"),
        (lambda: A.ElasticTransform(-1), ValueError, "ElasticTransform: expected alpha of at least 0; got -1"),
        (lambda: A.ElasticTransform(1, (1, 2, 3)), ValueError, "ElasticTransform: expected sigma to be a number or a pair; got (1, 2, 3)"),
        (lambda: A.RandomCrop(0), ValueError, "RandomCrop: expected size of at least 1; got 0"),
        (lambda: A.RandomCrop(3, (1, 2, 3)), ValueError, "RandomCrop: expected padding of 1, 2 or 4 numbers; got (1, 2, 3)"),
        (lambda: A.RandomCrop(3, -1), ValueError, "RandomCrop: expected padding of at least 0; got -1"),
        (lambda: A.RandomCrop(3, padding_mode="wrap"), ValueError, "RandomCrop: expected padding_mode 'constant', 'edge', 'reflect' or 'symmetric'; got 'wrap'"),
        (lambda: A.RandomResizedCrop(3, (0, 1)), ValueError, "RandomResizedCrop: expected scale above 0; got (0, 1)"),
        (lambda: A.RandomErasing(scale=(0.1, 1.5)), ValueError, "RandomErasing: expected scale of at most 1; got (0.1, 1.5)"),
        (lambda: A.RandomErasing(value="black"), ValueError, "RandomErasing: expected value to be numbers or 'random'; got 'black'"),
        (lambda: A.RandomErasing(inplace=True), ValueError, "RandomErasing: expected inplace False; got True"),
        (lambda: A.CutOut(0), ValueError, "CutOut: expected size of at least 1; got 0"),
        (lambda: A.ColorJitter(-1), ValueError, "ColorJitter: expected brightness of at least 0; got -1"),
        (lambda: A.ColorJitter(0, (-1, 1)), ValueError, "ColorJitter: expected contrast of at least 0; got (-1, 1)"),
        (lambda: A.ColorJitter(hue=0.6), ValueError, "ColorJitter: expected hue from -0.5 to 0.5; got 0.6"),
        (lambda: A.PCANoise(0.1, [1, 2], np.eye(3)), ValueError, "PCANoise: expected eigenvalues (c,) and eigenvectors (c, c); got shapes (2,) and (3, 3)"),
        (lambda: A.PCANoise(-1, [1], [[1]]), ValueError, "PCANoise: expected std of at least 0; got -1"),
        (lambda: A.PCANoise.fit(X[0]), ValueError, "PCANoise.fit: expected images of shape (n, c, h, w); got shape (3, 6, 5)"),
        (lambda: A.GaussianNoise(0, -1), ValueError, "GaussianNoise: expected sigma of at least 0; got -1"),
        (lambda: A.BinomialNoise(2), ValueError, "BinomialNoise: expected rate in [0, 1]; got 2"),
        (lambda: A.SaltAndPepper(0.5, -1), ValueError, "SaltAndPepper: expected salt in [0, 1]; got -1"),
        (lambda: A.Normalize(0, 0), ValueError, "Normalize: expected std other than 0; got 0"),
        (lambda: A.Normalize(0, 1, True), ValueError, "Normalize: expected inplace False; got True"),
        (lambda: A.Compose(A.CutOut(3)), TypeError, "Compose: expected a list of transforms; got CutOut"),
        (lambda: A.Compose([abs]), TypeError, "Compose: expected transforms of fastnn.augment; got <built-in function abs>"),
        (lambda: A.OneOf([]), ValueError, "OneOf: expected at least one transform; got none"),
        (lambda: A.OneOf([A.CutOut(3)], [1, 2]), ValueError, "OneOf: expected 1 weights; got [1, 2]"),
        (lambda: A.OneOf([A.CutOut(3)], [0]), ValueError, "OneOf: expected weights that are not all 0; got [0]"),
        (lambda: Own()(X), NotImplementedError, "Own: expected a subclass to define _specs; it does not"),
        (lambda: A.CutOut(3)(X[0, 0]), ValueError, "CutOut: expected images of shape (n, c, h, w); got shape (6, 5)"),
        (lambda: A.CutOut(3).params((4, 4)), ValueError, "CutOut: expected images of shape (n, c, h, w); got shape (4, 4)"),
        (lambda: A.GaussianNoise()(X[0, 0, 0, 0]), ValueError, "GaussianNoise: expected rows; got shape ()"),
        (lambda: A.CutOut(3)(X.astype(int)), TypeError, "CutOut: expected x of float32, float64 or uint8; got dtype int64"),
        (lambda: A.Compose([A.CutOut(3), A.OneOf([A.Normalize(0, 1)])])(X.astype(np.uint8)), TypeError, "Normalize: expected x of float32 or float64; got dtype uint8"),
        (lambda: A.RandomCrop(7)(X), ValueError, "RandomCrop: expected images of at least (7, 7) with their padding; got (6, 5)"),
        (lambda: A.RandomCrop(2, 1, padding_mode="edge")(X[:, :, :0]), ValueError, "RandomCrop: expected images with pixels; got (0, 5)"),
        (lambda: A.RandomResizedCrop(2)(X[:, :, :0]), ValueError, "RandomResizedCrop: expected images with pixels; got (0, 5)"),
        (lambda: A.RandomShift(1, (1, 2))(X), ValueError, "RandomShift: expected fill of 1 or 3 values for images of 3 channels; got 2"),
        (lambda: A.CutOut(1, (1, 2))(X), ValueError, "CutOut: expected value of 1 or 3 values for images of 3 channels; got 2"),
        (lambda: A.Normalize(0, (1, 2))(X), ValueError, "Normalize: expected std of 1 or 3 values for images of 3 channels; got 2"),
        (lambda: A.ColorJitter(1)(X[:, :2]), ValueError, "ColorJitter: expected images of 1 or 3 channels; got 2"),
        (lambda: A.PCANoise(1, [1], [[1]])(X), ValueError, "PCANoise: expected images of 1 channels; got 3"),
        (lambda: A.OneOf([A.RandomCrop(3), A.CutOut(3)])(X), ValueError, "OneOf: expected images of one size whatever is drawn; got (3, 3) and (6, 5)"),
        (lambda: A.Compose([A.RandomCrop(3)], p=0.5)(X), ValueError, "Compose: expected images of one size whatever is drawn; got (3, 3) and (6, 5)"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_what_has_no_color_keeps_its_hue_and_saturation():
    x = np.random.default_rng(1).random((3, 1, 4, 4))
    np.testing.assert_array_equal(A.ColorJitter(saturation=3, hue=0.5)(x), x)
    assert (A.ColorJitter(0.5)(x) != x).any()


def test_copies_do_the_same():
    x = np.random.default_rng(1).random((5, 3, 8, 8))
    transform = A.Compose([A.RandomRotation(30), A.OneOf([A.CutOut(3), A.GaussianNoise()], [1, 2]), A.MixUp(1.0)])
    y = np.eye(5)
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        fnn.manual_seed(3)
        want = transform(x, y)
        fnn.manual_seed(3)
        np.testing.assert_array_equal(other(x, y)[0], want[0])
        assert repr(other) == repr(transform)


def test_settings_that_are_changed_count():
    transform = A.CutOut(2)
    transform.size = 50
    assert (transform(np.ones((3, 1, 4, 4))) == 0).all()


def test_repr():
    assert (
        repr(A.RandomRotation(30))
        == "RandomRotation(degrees=30, interpolation='nearest', center=None, fill=0.0, p=1.0)"
    )
    assert repr(A.Compose([A.RandomVerticalFlip(0.25)])) == "Compose(transforms=[RandomVerticalFlip(p=0.25)], p=1.0)"


def test_the_subclass_is_public():
    assert all(issubclass(getattr(A, name), A.Transform) for name in A.__all__ if name != "mixup")
