"""Packages that a library imports at its start and that are executed only when somebody uses them."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_LOCK = RLock()


def later(name: str, **known: object) -> None:
    """Make the import of a module free; it is executed when it is asked for something that is not given here.

    Python's own LazyLoader would execute it at ``from name import something``. Nothing happens where the module is
    imported already, or not installed. Until it is executed it is a :class:`Later`, and then the very module.

    Args:
        name: of the module, dotted.
        known: what it has until then, by name.
    """
    if name in sys.modules or (spec := find_spec(name)) is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    module.__class__ = Later
    vars(module).update(known, _known=tuple(known))
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    if not any(isinstance(finder, _Submodules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Submodules())


def executed(name: str) -> ModuleType | None:
    """A module that is imported and executed; None: not yet."""
    module = sys.modules.get(name)
    return None if isinstance(module, Later) else module


class Later(ModuleType):
    """A module that waits to be executed."""

    def __getattr__(self, name: str) -> Any:
        _execute(self)
        return getattr(self, name)


def _execute(module: ModuleType) -> None:
    with _LOCK:
        if not isinstance(module, Later):
            return
        # From here on it is half made, like any module that is being imported.
        names = vars(module).pop("_known")
        module.__class__ = ModuleType  # type: ignore[assignment]
        for known in names:
            delattr(module, known)
        spec = module.__spec__
        assert spec is not None
        assert spec.loader is not None
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(spec.name, None)
            raise


class _Submodules(MetaPathFinder):
    """Executes a module before one inside it is imported, as Python does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, so that others find it; or what the parent has imported meanwhile."""
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if not isinstance(parent, Later):
            return None
        _execute(parent)
        if (made := sys.modules.get(fullname)) is None:
            return None
        # Python takes the spec of a module that is there by now, and would execute it once more.
        made.__spec__ = ModuleSpec(fullname, _Made(made))
        return made.__spec__


class _Made(Loader):
    """Hands out a module that is there."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing but to put its spec back."""
        module.__spec__ = self.spec


class _OfLater(type):
    def __instancecheck__(cls, instance: object) -> bool:
        if super().__instancecheck__(instance):
            return True
        where = vars(cls).get("where")
        module = executed(where) if where else None
        return module is not None and isinstance(instance, getattr(module, cls.__name__))


def stand_in(module: str, name: str) -> type:
    """In place of a class of a module that is executed later: instances are those of the class, once there are any."""
    return _OfLater(name, (), {"where": module})
