import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.data import DataLoader, ImageFolder

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 9×7 images, and things that are none."""
    pictures = {}
    for name in ("zebra/b.png", "ant/2.PNG", "ant/deep/er/1.png", "zebra/a.bmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[name] = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(pictures[name]).save(path)
    (tmp_path / "ant" / "notes.txt").write_text("none")
    (tmp_path / "loose.png").write_bytes(b"in no class")
    return tmp_path, pictures


def test_classes_are_folders(folder):
    root, pictures = folder
    dataset = ImageFolder(root)
    assert dataset.classes == ["ant", "zebra"]
    assert dataset.class_to_idx == {"ant": 0, "zebra": 1}
    names = [Path(path).relative_to(root).as_posix() for path, _ in dataset.samples]
    assert names == ["ant/2.PNG", "ant/deep/er/1.png", "zebra/a.bmp", "zebra/b.png"]
    assert dataset.targets == [0, 0, 1, 1]
    assert dataset.imgs is dataset.samples
    assert len(dataset) == 4
    for name, (image, target) in zip(names, dataset, strict=True):
        assert (image.dtype, image.shape) == (np.float32, (3, 9, 7))
        np.testing.assert_allclose(image, pictures[name].transpose(2, 0, 1) / 255, rtol=1e-6)
        assert target == dataset.class_to_idx[name.split("/")[0]]
    assert repr(dataset) == f"ImageFolder({str(root)!r}: 4 images of 2 classes)"


def test_batches_of_a_folder(folder):
    dataset = ImageFolder(str(folder[0]), size=(4, 6))
    ((x, y),) = DataLoader(dataset, batch_size=4, num_workers=2)
    assert x.shape == (4, 3, 4, 6)
    assert y.tolist() == [0, 0, 1, 1]


def test_sizes_and_modes(folder):
    root, pictures = folder
    picture = Image.fromarray(pictures["ant/2.PNG"])
    assert ImageFolder(root, size=5)[0][0].shape == (3, 5, 5)
    scaled = np.asarray(picture.resize((3, 4), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(ImageFolder(root, size=(4, 3))[0][0], scaled.transpose(2, 0, 1) / 255, rtol=1e-6)
    gray = ImageFolder(root, mode="L")[0][0]
    np.testing.assert_allclose(gray, np.asarray(picture.convert("L"))[None] / 255, rtol=1e-6)
    assert ImageFolder(root, mode="RGBA")[0][0].shape == (4, 9, 7)


def test_functions_of_the_user(folder):
    root, _ = folder
    dataset = ImageFolder(
        root,
        lambda image: image * 2,
        lambda target: -target,
        is_valid_file=lambda path: path.endswith(".txt") or "zebra" in path,
        loader=lambda path: np.full((1, 2, 2), len(Path(path).name)),
    )
    assert [(int(image[0, 0, 0]), target) for image, target in dataset] == [(18, 0), (10, -1), (10, -1)]
    by_pillow = ImageFolder(root, loader=Image.open, size=(4, 3))[0][0]
    np.testing.assert_array_equal(by_pillow, ImageFolder(root, size=(4, 3))[0][0])


def test_empty_classes(folder):
    root, _ = folder
    (root / "bee").mkdir()
    (root / "cow").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        ImageFolder(root)
    assert str(caught.value) == f"ImageFolder: expected images in every folder of {str(root)!r}; got none in bee, cow"
    assert ImageFolder(root, allow_empty=True).targets == [0, 0, 3, 3]


def test_images_that_can_not_be_read(folder):
    root, _ = folder
    path = root / "ant" / "2.PNG"
    whole = path.read_bytes()
    for broken, why in ((b"nothing", "cannot identify image file"), (whole[: len(whole) // 2], "truncated")):
        path.write_bytes(broken)
        with pytest.raises(
            ValueError, match=rf"^ImageFolder: expected an image that Pillow can read; got '.*2\.PNG': .*{why}"
        ):
            ImageFolder(root)[0]
        with pytest.raises(ValueError, match=r"^ImageFolder: expected an image that Pillow can read"):
            list(DataLoader(ImageFolder(root, size=4), 4, num_workers=2))


def test_without_pillow(folder, monkeypatch):
    root, _ = folder
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError) as caught:
        ImageFolder(root)
    assert str(caught.value) == "ImageFolder needs Pillow: pip install fastnn-cpu[images]"
    assert ImageFolder(root, loader=str)[0][1] == 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": 0}, ValueError, "ImageFolder: expected size of at least 1; got 0"),
        ({"size": 2.5}, TypeError, "ImageFolder: expected size to be an int; got 2.5"),
        ({"size": (1, 2, 3)}, ValueError, "ImageFolder: expected size to be a number, or height and width; got (1, 2, 3)"),
        ({"mode": "CMYK"}, ValueError, "ImageFolder: expected mode to be 'RGB', 'L' or 'RGBA'; got 'CMYK'"),
        ({"transform": 3}, TypeError, "ImageFolder: expected transform to be a function; got int"),
        ({"loader": 3}, TypeError, "ImageFolder: expected loader to be a function; got int"),
    ],
)  # fmt: skip
def test_errors(folder, settings, error, message):
    with pytest.raises(error) as caught:
        ImageFolder(folder[0], **settings)
    assert str(caught.value) == message


def test_folders_that_are_none(tmp_path):
    for root, message in (
        (tmp_path / "no", f"ImageFolder: expected a folder; got {str(tmp_path / 'no')!r}"),
        (tmp_path, f"ImageFolder: expected a folder for each class in {str(tmp_path)!r}; got none"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            ImageFolder(root)
        assert str(caught.value) == message
