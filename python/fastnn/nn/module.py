"""The base of every layer and model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_callable, check_instance, is_floating
from fastnn.nn import _convert, _hooks, _state
from fastnn.nn._hooks import RemovableHandle
from fastnn.nn._state import IncompatibleKeys
from fastnn.nn.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Self

_V = TypeVar("_V")
_bump_config = _core.bump_config


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


class Module:
    """A part of a model: parameters, buffers, modules, and a ``forward``.

    Parameters, and modules, that are assigned as attributes are registered::

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(4, 16)
                self.output = nn.Linear(16, 3)

            def forward(self, x):
                return self.output(nn.functional.relu(self.hidden(x)))

    Semantics are PyTorch's. Where they differ: :meth:`load_state_dict` loads nothing at all if anything is wrong, and
    raises ValueError.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _forward_hooks: OrderedDict[int, tuple[_hooks.Hook, bool]]
    _forward_pre_hooks: OrderedDict[int, tuple[_hooks.Hook, bool]]
    # While false, a call goes straight to `forward`. On the class, so that even an uninitialized module has it.
    _hooked: bool = False
    # For a part that is frozen in evaluation mode: the mode that it would be in.
    _frozen_mode: bool | None = None

    # True if it drops something at random while training, as dropout does: `mc_predict` switches it on.
    _drops_at_random: bool = False

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent_buffers_set=set(),
            _forward_hooks=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _next_hook=0,
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output. Every module defines its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return _hooks.call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # Attributes

    def __getattr__(self, name: str) -> Any:
        # Only reached when the instance and its class do not have the name.
        own = self.__dict__
        for registry in ("_parameters", "_modules", "_buffers"):
            if registry in own and name in own[registry]:
                return own[registry][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, keep="_parameters", what="parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules", what="module")
            own["_modules"][name] = value
        elif "_parameters" in own and name in own["_parameters"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (nn.Parameter or None expected)"
                )
            own["_parameters"][name] = None
        elif "_modules" in own and name in own["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (nn.Module or None expected)"
                )
            own["_modules"][name] = None
        elif "_buffers" in own and name in own["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{type(value).__name__}' as buffer '{name}' (Tensor or None expected)")
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)
        _bump_config()

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                break
        else:
            object.__delattr__(self, name)
        _bump_config()

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[:1].isdigit())

    def _forget(self, name: str, keep: str, what: str) -> None:
        """Take ``name`` out of everything but the registry ``keep``."""
        own = self.__dict__
        if keep not in own:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        own.pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry != keep:
                own[registry].pop(name, None)

    # Registration

    def _check_name(self, kind: str, name: str, registry: Mapping[str, object]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; ``None`` holds the place of one that is switched off."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                    "(nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in "
                    "the forward() method."
                )
        self._parameters[name] = param
        _bump_config()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not trained; it is in the ``state_dict`` if ``persistent``."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)
        _bump_config()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under ``name``."""
        self._check_module(name, module)
        self._modules[name] = module
        _bump_config()

    def _check_module(self, name: str, module: object) -> None:
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, self._modules)

    def register_module(self, name: str, module: Module | None) -> None:
        """Do the same as :meth:`add_module`."""
        self.add_module(name, module)

    # Traversal

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and its descendants, with their paths; a shared one once."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and its descendants, a shared one once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct children with their names, a shared one once."""
        memo: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in memo:
                memo.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct children, a shared one once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, members: Callable[[Module], Mapping[str, _V | None]], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, _V]]:
        memo: set[int] = set()
        own = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in own:
            for name, value in members(module).items():
                if value is None or id(value) in memo:
                    continue
                if remove_duplicate:
                    memo.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their paths, a shared one once."""
        yield from self._named_members(lambda module: module._parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, a shared one once; of this module alone if not ``recurse``."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with their paths, a shared one once."""
        yield from self._named_members(lambda module: module._buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, a shared one once; of this module alone if not ``recurse``."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """Return the module at a dotted path; the empty path is this one."""
        check_instance("get_submodule", "target", target, str, "a path")
        module: Module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            found = getattr(module, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a dotted path."""
        check_instance("get_parameter", "target", target, str, "a path")
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        parameter = getattr(module, name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a dotted path."""
        check_instance("get_buffer", "target", target, str, "a path")
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        buffer = module._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # State

    def state_dict(
        self, *, destination: OrderedDict[str, Tensor] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Tensor]:
        """Return parameters and persistent buffers by path.

        The tensors share the module's memory: copy them to keep a state. They are detached unless ``keep_vars``.
        """
        if destination is None:
            destination = OrderedDict()
        check_instance("state_dict", "destination", destination, MutableMapping, "a mapping that can be changed")
        check_instance("state_dict", "prefix", prefix, str, "text")
        _state.collect(self, destination, prefix, keep_vars)
        return destination

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy parameters and buffers from ``state_dict``, in place.

        Args:
            state_dict: What :meth:`state_dict` returned; NumPy arrays, or anything with ``__array__``, will do.
            strict: Whether the keys must match exactly. But ``num_batches_tracked`` of a norm, which old files lack,
                may be missing; it then stays as it is.

        Returns:
            The keys that were missing, and those that were not expected.

        Raises:
            ValueError: Keys or shapes do not match; the message lists all of them, and nothing was loaded. PyTorch
                raises RuntimeError, and has loaded what did match.
        """
        return _state.load(self, state_dict, strict)

    # Modes, gradients, types

    def train(self, mode: bool = True) -> Self:
        """Put this module and its descendants into training mode, or with ``False`` into evaluation mode."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        if self._frozen_mode is None:
            self.__dict__["training"] = mode
        else:
            self.__dict__["_frozen_mode"] = mode
        for module in self.children():
            module.train(mode)
        _bump_config()
        return self

    def eval(self) -> Self:
        """Put this module and its descendants into evaluation mode."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; or zero them in place."""
        if set_to_none:
            for parameter in self.parameters():
                parameter.grad = None
            return
        named = [(f"the gradient of {name!r}", p.grad) for name, p in self.named_parameters() if p.grad is not None]
        grads = [grad for _, grad in named]
        _core.assign("zero_grad", [name for name, _ in named], grads, [_core.zeros_like(grad) for grad in grads])

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients are computed for the parameters; ``False`` freezes them."""
        if not isinstance(requires_grad, bool):
            raise TypeError(f"requires_grad_: expected requires_grad to be a bool; got {requires_grad!r}")
        parameters = list(self.parameters())
        for parameter in parameters if requires_grad else ():
            if not is_floating(parameter):
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
        for parameter in parameters:
            parameter.requires_grad = requires_grad
        _bump_config()
        return self

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call ``fn`` on every descendant, children first, and then on this module."""
        check_callable("apply", "fn", fn)
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert floating point parameters and buffers, in place: ``to(dtype)``, ``to("cpu")``, ``to(tensor)``.

        Parameters stay the same objects, so an optimizer keeps them. Gradients are forgotten when the type changes.

        Raises:
            ValueError: A device other than the CPU.
            TypeError: A type other than float32 and float64.
        """
        dtype = _convert.parse(f"{type(self).__name__}.to", args, kwargs)
        if dtype is not None:
            _convert.convert(self, dtype)
        return self

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(_core.float32)

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(_core.float64)

    def half(self) -> Self:
        """Raise: there are no half precision kernels."""
        raise TypeError(f"{type(self).__name__}.half: expected dtype float32 or float64; got float16")

    def cpu(self) -> Self:
        """Do nothing: that is where it is."""
        return self

    def cuda(self, device: object = None) -> Self:
        """Raise: there is only the CPU."""
        device = "cuda" if device is None else f"cuda:{device}"
        return self.to(device)

    # Hooks

    def register_forward_pre_hook(
        self, hook: _hooks.Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns, if anything, takes the place of ``args``."""
        return _hooks.register(self, self._forward_pre_hooks, hook, prepend=prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self, hook: _hooks.Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns, if anything, replaces ``output``."""
        return _hooks.register(self, self._forward_hooks, hook, prepend=prepend, with_kwargs=with_kwargs)

    # Text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return the settings to show in ``repr``."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        if len(extra_lines) == 1 and not child_lines:
            body = extra_lines[0]
        elif extra_lines or child_lines:
            body = "\n  " + "\n  ".join(extra_lines + child_lines) + "\n"
        else:
            body = ""
        return f"{self._get_name()}({body})"
