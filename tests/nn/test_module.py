import copy
import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 2, bias=False)
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("seen", _core.zeros(5), persistent=False)

    def forward(self, x):
        return self.second(nn.functional.relu(self.norm(self.first(x)))) * self.scale


# Own parameters come first, then the children's, in the order of assignment.
PARAMETERS = ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias", "second.weight"]
STATE = [*PARAMETERS[:5], "norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "second.weight"]


def rows(n=6):
    return np.linspace(-1, 1, n * 3, dtype=np.float32).reshape(n, 3)


def test_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [name for name, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert list(net.state_dict()) == STATE
    assert [name for name, _ in net.named_buffers()] == [
        "seen",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    assert [name for name, _ in net.named_modules()] == ["", "first", "norm", "second"]
    assert [name for name, _ in net.named_children()] == ["first", "norm", "second"]


def test_a_shared_part_is_named_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.append(net[0])
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(net.modules())) == 3
    assert [name for name, _ in net.named_parameters(remove_duplicate=False)] == [
        "0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias",
    ]  # fmt: skip
    assert "2.weight" in net.state_dict()


def test_attributes_move_between_registries():
    net = Net()
    del net.scale
    assert "scale" not in dict(net.named_parameters())
    net.scale = 3
    assert net.scale == 3
    net.scale = nn.Identity()
    assert "scale" not in vars(net)
    assert "scale" in dict(net.named_children())
    net.first = None
    assert [name for name, _ in net.named_children()] == ["norm", "second", "scale"]
    assert net.first is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda net: setattr(net, "scale", 1), TypeError, "cannot assign 'int' as parameter 'scale' (nn.Parameter or None expected)"),
        (lambda net: setattr(net, "first", 1), TypeError, "cannot assign 'int' as child module 'first' (nn.Module or None expected)"),
        (lambda net: setattr(net, "seen", 1), TypeError, "cannot assign 'int' as buffer 'seen' (Tensor or None expected)"),
        (lambda net: net.nothing, AttributeError, "'Net' object has no attribute 'nothing'"),
        (lambda net: delattr(net, "nothing"), AttributeError, None),
        (lambda net: net.register_buffer("a.b", None), KeyError, "'buffer name can\\'t contain \".\"'"),
        (lambda net: net.register_parameter("", None), KeyError, "'parameter name can\\'t be empty string \"\"'"),
        (lambda net: net.register_buffer("forward", None), KeyError, "\"attribute 'forward' already exists\""),
        (lambda net: net.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda net: net.get_submodule("first.weight"), AttributeError, "`weight` is not an nn.Module"),
        (lambda net: net.get_submodule("third"), AttributeError, "Net has no attribute `third`"),
        (lambda net: net.get_parameter("first"), AttributeError, "`first` is not an nn.Parameter"),
        (lambda net: net.train("yes"), ValueError, "training mode is expected to be boolean"),
        (lambda net: net.to("cuda:0"), ValueError, "Net.to: expected device 'cpu', the only one fastnn has; got 'cuda:0'"),
        (lambda net: net.cuda(), ValueError, "Net.to: expected device 'cpu', the only one fastnn has; got 'cuda'"),
        (lambda net: net.half(), TypeError, "Net.half: expected dtype float32 or float64; got float16"),
        (lambda net: net.load_state_dict([]), TypeError, "Expected state_dict to be dict-like, got <class 'list'>."),
        (lambda net: net.register_forward_hook(3), TypeError, "Net: expected a hook that can be called; got 3"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    with pytest.raises(error) as caught:
        change(Net())
    assert message is None or str(caught.value) == message


def test_parameters_before_init_are_an_error():
    class Early(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.ones(1, np.float32))

    with pytest.raises(AttributeError, match=r"^cannot assign parameters before Module.__init__\(\) call$"):
        Early()


def test_forward_is_required():
    with pytest.raises(NotImplementedError, match=r'^Module \[Module\] is missing the required "forward" function$'):
        nn.Module()(1)


def test_state_dict_shares_memory():
    net = Net()
    net.state_dict()["scale"].fill_(7)
    assert net.scale.tolist() == [7, 7]
    assert not net.state_dict()["scale"].requires_grad


def test_load_state_dict_takes_arrays():
    source, target = Net(), Net()
    source(rows())  # so that the running statistics differ from their start
    arrays = {name: np.array(value.numpy()) for name, value in source.state_dict().items()}
    weight = target.first.weight
    result = target.load_state_dict(arrays)
    assert result == ([], [])
    assert repr(result) == "<All keys matched successfully>"
    assert target.first.weight is weight
    for name, value in target.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), arrays[name])
    assert target.norm.num_batches_tracked.item() == 1


def test_load_state_dict_is_all_or_nothing():
    net = Net()
    before = {name: np.array(value.numpy()) for name, value in net.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    del state["first.bias"]
    state["third.weight"] = np.zeros(1)
    state["second.weight"] = np.zeros((2, 5), np.float32)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        net.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "first.bias". \n'
        '\tUnexpected key(s) in state_dict: "third.weight". \n'
        "\tsize mismatch for second.weight: copying a param with shape (2, 5) from checkpoint, "
        "the shape in current model is (2, 4)."
    )
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_load_state_dict_that_is_not_strict():
    net = Net()
    result = net.load_state_dict({"scale": np.array([2.0, 3.0]), "other": np.zeros(1)}, strict=False)
    assert net.scale.tolist() == [2, 3]
    assert result.missing_keys == [name for name in STATE if name not in {"scale", "norm.num_batches_tracked"}]
    assert result.unexpected_keys == ["other"]
    with pytest.raises(ValueError, match="size mismatch for scale"):
        net.load_state_dict({"scale": np.zeros(3)}, strict=False)


def test_a_state_of_before_batches_were_counted():
    net = Net()
    net(rows())
    state = {name: value for name, value in Net().state_dict().items() if name != "norm.num_batches_tracked"}
    assert net.load_state_dict(state) == ([], [])
    assert net.norm.num_batches_tracked.item() == 1
    del state["norm.running_var"]
    with pytest.raises(ValueError, match=r'^Error\(s\) in .*\n\tMissing key\(s\) in state_dict: "norm.running_var". $'):
        net.load_state_dict(state)


def test_modes():
    net = Net()
    assert net.eval() is net
    assert [module.training for module in net.modules()] == [False] * 4
    net.norm.train()
    assert [module.training for module in net.modules()] == [False, False, True, False]
    net.train()
    assert all(module.training for module in net.modules())


def test_zero_grad():
    net = Net()
    net(rows()).sum().backward()
    gradient = net.scale.grad
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0, 0]
    assert gradient.tolist() == [0, 0]
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_requires_grad_and_apply():
    net = Net()
    assert net.requires_grad_(False) is net
    assert not any(parameter.requires_grad for parameter in net.parameters())
    seen = []
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "BatchNorm1d", "Linear", "Net"]


def test_types_change_in_place():
    net = Net()
    weight = net.first.weight
    assert net.to("cpu").cpu() is net
    assert net.double() is net
    assert net.first.weight is weight
    assert weight.dtype == _core.float64
    assert net.norm.running_var.dtype == _core.float64
    assert net.norm.num_batches_tracked.dtype == _core.int64
    assert net(rows().astype(np.float64)).dtype == _core.float64
    assert net.to(dtype=_core.float32)(rows()).dtype == _core.float32


def test_hooks():
    net = nn.Identity()
    order = []

    def double(module, args):
        order.append("pre")
        return args[0] * 2

    def negate(module, args, output):
        order.append(("post", args))
        return -output

    before, after = net.register_forward_pre_hook(double), net.register_forward_hook(negate)
    assert net(3) == -6
    assert order == ["pre", ("post", (6,))]
    before.remove()
    assert net(3) == -3
    with after:
        pass
    assert net(3) == 3
    handle = net.register_forward_hook(lambda module, args, kwargs, output: (output, kwargs), with_kwargs=True)
    net.forward = lambda x, scale=1: x * scale
    assert net(3, scale=5) == (15, {"scale": 5})
    handle.remove()
    net.register_forward_hook(lambda *_: order.append("second"))
    net.register_forward_hook(lambda *_: order.append("first"), prepend=True)
    net(1)
    assert order[-2:] == ["first", "second"]


def test_deepcopy_shares_nothing():
    net = Net()
    twin = copy.deepcopy(net)
    assert isinstance(twin.first.weight, nn.Parameter)
    assert list(twin.state_dict()) == STATE
    with fnn.no_grad():
        for value in twin.state_dict().values():
            value.fill_(9)
    assert not any((value.numpy() == 9).any() for value in net.state_dict().values())
    twin.first.weight.requires_grad = False
    assert net.first.weight.requires_grad


def test_deepcopy_keeps_tied_weights_tied():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    twin = copy.deepcopy(net)
    assert twin[0].weight is twin[1].weight
    assert twin[0].weight is not net[0].weight


def test_dir_and_repr():
    net = Net()
    assert {"scale", "first", "seen", "forward"} <= set(dir(net))
    assert "0" not in dir(nn.Sequential(nn.Identity()))
    assert repr(net) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (norm): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "  (second): Linear(in_features=4, out_features=2, bias=False)\n"
        ")"
    )


def test_parameter_shares_a_writable_array():
    array = np.zeros(3, np.float32)
    parameter = nn.Parameter(array)
    with fnn.no_grad():
        parameter.fill_(2)
    assert array.tolist() == [2, 2, 2]
    assert parameter.requires_grad
    assert not nn.Parameter(array, requires_grad=False).requires_grad
    assert re.match(r"Parameter containing:\n", repr(parameter))


def test_a_non_leaf_is_no_parameter():
    net = Net()
    with pytest.raises(
        TypeError, match=r"^cannot assign '\w+' object to parameter 'w' \(nn.Parameter or None required\)$"
    ):
        net.register_parameter("w", net.scale * 2)
