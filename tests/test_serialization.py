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
        "long": entry("U64", (1,), (10, 18)),
        "short": entry("I16", (1,), (18, 20)),
    }
    half = np.array([1.5, -2], "<f2").tobytes()
    bfloat = (np.array([1.5, -3], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    integers = bytes([7, 255]) + (2**63 - 1).to_bytes(8, "little") + (-2).to_bytes(2, "little", signed=True)
    write(tmp_path / "x", header, half + bfloat + integers)
    state = fnn.load(tmp_path / "x")
    assert state["half"].tolist() == [1.5, -2]
    assert state["bfloat"].tolist() == [1.5, -3]
    assert state["byte"].tolist() == [7, 255]
    assert state["long"].tolist() == [2**63 - 1]
    assert state["short"].tolist() == [-2]
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
        ({"a": entry("F8_E4M3")}, b"1234", None,
         "'a' has dtype F8_E4M3, which fastnn does not have: convert it to float32 before saving"),
        ({"a": entry("C64")}, b"1234", None, "'a' has dtype C64, which fastnn does not have: convert it to float32 before saving"),
        ({"a": entry("U64", (1,), (0, 8))}, b"1234567\x80", None, f"'a' has the number {0x8037363534333231}, which int64 does not hold"),
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


@pytest.mark.parametrize("begin", [b"PK\3\4", b"\x80\2", b"\x80\4"])
def test_a_pickle_is_not_opened(tmp_path, begin):
    path = tmp_path / "net.pt"
    path.write_bytes(begin + bytes(30))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        fnn.load(path)
    assert str(caught.value) == (
        f"load: expected a safetensors file at {str(path)!r}, but it is a file of torch.save, which can run code: "
        "write it with safetensors.torch.save_file"
    )


# Encoding of floats in files of PyTorch: for each type, the bytes of a number, and its value.
FLOATS = {
    "F64": lambda x: np.asarray(x, "<f8").tobytes(),
    "F32": lambda x: np.asarray(x, "<f4").tobytes(),
    "F16": lambda x: np.asarray(x, "<f2").tobytes(),
    # Truncated: the numbers below have few digits.
    "BF16": lambda x: b"".join(np.float32(one).tobytes()[2:] for one in np.ravel(x)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("of", [fnn.float32, fnn.float64])
def test_a_file_of_another_library_loads_into_a_model_of_any_type(tmp_path, dtype, of):
    values = {
        "0.weight": np.arange(6).reshape(2, 3) / 4 - 1,
        "0.bias": np.array([0.5, -2]),
        "1.weight": np.array([1.5, 3]),
        "1.bias": np.array([-0.25, 0]),
        "1.running_mean": np.array([8.0, -0.125]),
        "1.running_var": np.array([0.75, 96]),
    }
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, value in values.items():
        encoded = FLOATS[dtype](value)
        header[f"module.{name}"] = entry(dtype, value.shape, (len(data), len(data) + len(encoded)))
        data += encoded
    header["module.1.num_batches_tracked"] = entry("I64", (), (len(data), len(data) + 8))
    write(tmp_path / "x", header, data + (17).to_bytes(8, "little"))
    state = fnn.load(tmp_path / "x")
    nn.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(of)
    assert model.load_state_dict(state) == ([], [])
    for name, value in values.items():
        assert model.state_dict()[name].dtype == of
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value)
    assert model[1].num_batches_tracked.item() == 17
    # Another head, and nothing to go with it.
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 5)).to(of)
    del state["1.running_var"]
    state["3.weight"] = state.pop("0.bias")
    assert other.load_state_dict(state, strict=False) == (
        ["0.bias", "1.running_var", "2.weight", "2.bias"],
        ["3.weight"],
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_pytorch_writes_and_reads_the_same_model(tmp_path, dtype):
    torch = pytest.importorskip("torch", reason="writes and reads with PyTorch")
    files = pytest.importorskip("safetensors.torch", reason="writes and reads with safetensors")

    def layers(lib):
        return lib.Sequential(lib.Linear(5, 7), lib.BatchNorm1d(7), lib.PReLU(), lib.Linear(7, 3))

    torch.manual_seed(0)
    x = torch.randn(9, 5, dtype=torch.float64)
    theirs = layers(torch.nn).double()
    theirs(x)  # statistics that are not 0 and 1
    stored = {
        name: v.to(getattr(torch, dtype)) if v.is_floating_point() else v for name, v in theirs.state_dict().items()
    }
    files.save_file(stored, tmp_path / "theirs")
    theirs.load_state_dict(stored)  # rounded, as in the file
    ours = layers(nn).double()
    assert ours.load_state_dict(fnn.load(tmp_path / "theirs")) == ([], [])
    expected = theirs.eval()(x).detach().numpy()
    np.testing.assert_allclose(ours.eval()(x.numpy()).detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    ours.train()(x.numpy())
    fnn.save(ours.state_dict(), tmp_path / "ours")
    theirs.load_state_dict(files.load_file(tmp_path / "ours"))
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name].numpy(), value.numpy())
    assert theirs[1].num_batches_tracked == 2


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
