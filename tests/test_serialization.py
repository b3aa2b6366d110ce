import json

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn


def write(path, header, data=b"", length=None):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(encoded) if length is None else length).to_bytes(8, "little") + encoded + data)


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_a_model_comes_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)).double()
    model(np.random.default_rng(0).normal(size=(7, 3)))
    fnn.save(model.state_dict(), tmp_path / "net.safetensors", metadata={"note": "ü"})
    state = fnn.load(tmp_path / "net.safetensors")
    assert list(state) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert state[name].dtype == value.dtype
        np.testing.assert_array_equal(state[name].numpy(), value.numpy())
    twin = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    twin.load_state_dict(state)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]  # nothing temporary is left


def test_awkward_arrays_come_back(tmp_path):
    arrays = {
        "byte": np.array([True, False, True]),
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 4), np.float32),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "big-endian": np.arange(3, dtype=">f8"),
        "long": np.array([-(2**62)]),
    }
    fnn.save(arrays, tmp_path / "x")
    state = fnn.load(tmp_path / "x")
    assert list(state) == list(arrays)
    for name, array in arrays.items():
        assert tuple(state[name].shape) == array.shape
        np.testing.assert_array_equal(state[name].numpy(), array)
    state["transposed"].fill_(1)  # loaded tensors can be written to


def test_other_types_are_widened(tmp_path):
    header = {
        "half": entry("F16", (2,), (0, 4)),
        "bfloat": entry("BF16", (2,), (4, 8)),
        "byte": entry("U8", (2,), (8, 10)),
    }
    half = np.array([1.5, -2], "<f2").tobytes()
    bfloat = (np.array([1.5, -3], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    write(tmp_path / "x", header, half + bfloat + bytes([7, 255]))
    state = fnn.load(tmp_path / "x")
    assert state["half"].tolist() == [1.5, -2]
    assert state["bfloat"].tolist() == [1.5, -3]
    assert state["byte"].tolist() == [7, 255]
    assert state["half"].dtype == state["bfloat"].dtype == _core.float32


@pytest.mark.parametrize(
    ("header", "data", "length", "reason"),
    [
        ({}, b"", 10, "its header would have 10 bytes, and the file has 10"),
        ({}, b"", 2**63, f"its header would have {2**63} bytes, and the file has 10"),
        (b"[]", b"", None, "its header is not an object"),
        (b"\xff\xff", b"", None, "its header is not UTF-8"),
        (b"[" * 200_000, b"", None, "its header is nested too deep"),
        (b'{"a":1,"a":2}', b"", None, "a name is given twice"),
        ({"__metadata__": {"a": 1}}, b"", None, "its __metadata__ is not text by name"),
        ({"a": 1}, b"", None, "'a' does not have just dtype, shape and data_offsets"),
        ({"a": entry("F8")}, b"1234", None, "'a' has the unknown dtype 'F8'"),
        ({"a": entry(shape=(-1,))}, b"1234", None, "'a' has the shape [-1]"),
        ({"a": entry(shape=(True,))}, b"1234", None, "'a' has the shape [True]"),
        ({"a": entry(shape=[1] * 33)}, b"1234", None, "'a' has 33 dimensions"),
        ({"a": entry(offsets=(4, 0))}, b"1234", None, "'a' has the data_offsets [4, 0], which do not fit F32 of shape (1,)"),
        ({"a": entry(shape=(2**40, 2**40))}, b"1234", None, f"'a' has the data_offsets [0, 4], which do not fit F32 of shape ({2**40}, {2**40})"),
        ({"a": entry(offsets=(4, 8))}, b"12345678", None, "byte 0 belongs to no tensor"),
        ({"a": entry(), "b": entry()}, b"1234", None, "byte 0 belongs to two tensors"),
        ({"a": entry()}, b"12", None, "its tensors take 4 bytes, and 2 are there"),
        ({"a": entry()}, b"123456", None, "its tensors take 4 bytes, and 6 are there"),
        ({"a": entry("BOOL", (1,), (0, 1))}, b"\2", None, "'a' has a byte that is neither true nor false"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path, header, data, length, reason):
    path = tmp_path / "x"
    write(path, header, data, length)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        fnn.load(path)
    assert str(caught.value) == f"load: expected a safetensors file at {str(path)!r}, but {reason}"


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "x"
    fnn.save({"a": np.arange(3.0), "b": np.zeros(1, np.float32)}, path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"^load: expected a safetensors file at "):
            fnn.load(path)


def test_what_can_not_be_saved_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    fnn.save({"a": np.ones(2)}, path)
    with pytest.raises(
        TypeError, match=r"^save: expected 'b' to be a tensor or an array of numbers; got dtype object$"
    ):
        fnn.save({"a": np.zeros(2), "b": np.array([None])}, path)
    with pytest.raises(TypeError, match=r"^save: expected keys to be str; got 3$"):
        fnn.save({3: np.zeros(2)}, path)
    assert fnn.load(path)["a"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_agrees(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="compares with the reference implementation")
    arrays = {"b": np.arange(3, dtype=np.float32), "a": np.eye(2), "c": np.array([1, 2])}
    fnn.save(arrays, tmp_path / "ours")
    for name, array in safetensors.load_file(tmp_path / "ours").items():
        np.testing.assert_array_equal(array, arrays[name])
    safetensors.save_file(arrays, tmp_path / "theirs")
    for name, value in fnn.load(tmp_path / "theirs").items():
        np.testing.assert_array_equal(value.numpy(), arrays[name])
