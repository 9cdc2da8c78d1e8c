"""What modules say about options, read from their sources: importing what they import would make --help slow."""

import ast
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from trackertraincode.options import besides_none

HOME = __name__.split(".")[0]


class Option(NamedTuple):
    """A field of a dataclass that `trackertraincode.options.option` made."""

    field: str
    kind: Any  # type of its values besides None
    default: Any
    metadata: dict[str, Any]


def names_in(module: str, name: str) -> Any:
    """What stands under a name in a module of ours: the keys of a dictionary, else a value made of literals."""
    return _Names(module)[name]


def defaults_in(module: str, name: str) -> dict[str, Any]:
    """Field -> default of a dataclass, where that is made of literals; of an option, too."""
    found = {}
    for field, _, value in _Names(module).fields(name):
        with suppress(NameError, AttributeError):
            found[field] = _Names(module).value(value)
    return found | {option.field: option.default for option in options_in(module, name)}


def options_in(module: str, name: str) -> list[Option]:
    """The options of a dataclass."""
    names = _Names(module)
    calls = [
        (field, kind, names.value(value))
        for field, kind, value in names.fields(name)
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "option"
    ]
    return [Option(field, besides_none(names.value(kind)), *values) for field, kind, values in calls]


def groups_in(module: str, name: str) -> dict[str, list[Option]]:
    """The options of a dataclass whose fields are such dataclasses."""
    kinds = {field: ast.unparse(kind) for field, kind, _ in _Names(module).fields(name)}
    return {field: options_in(home_of(module, kind), kind) for field, kind in kinds.items()}


def home_of(module: str, name: str) -> str:
    """The module of ours that a name in a module comes from."""
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return str(node.module).removeprefix(f"{HOME}.")
    return module


class _Names(dict):
    """The names of a module, as far as they are made of literals and of such names in other modules of ours."""

    def __init__(self, module: str) -> None:
        super().__init__(option=lambda default, help, **metadata: (default, {"help": help, **metadata}), Path=Path)
        self._module = module

    def __missing__(self, name: str) -> Any:
        home = home_of(self._module, name)
        if home != self._module:
            return names_in(home, name)
        for node in _tree(home).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id == name:
                return self.value(node.value)  # type: ignore[attr-defined]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):  # type: ignore[attr-defined]
                for part, value in zip(target.elts, node.value.elts):  # type: ignore[attr-defined]
                    if isinstance(part, ast.Name) and part.id == name:
                        return self.value(value)
        raise KeyError(name)  # a builtin, which `eval` looks for next

    def fields(self, name: str) -> list[tuple[str, ast.expr, ast.expr]]:
        """Name, annotation and default of the fields of a dataclass in the module that have one."""
        body = next(n.body for n in _tree(self._module).body if isinstance(n, ast.ClassDef) and n.name == name)
        return [
            (str(ast.unparse(n.target)), n.annotation, n.value)
            for n in body
            if isinstance(n, ast.AnnAssign) and n.value
        ]

    def value(self, node: ast.expr) -> Any:
        """Of an expression; of a dictionary its keys."""
        if isinstance(node, ast.Dict):
            return tuple(self.value(key) for key in node.keys if key is not None)
        return eval(ast.unparse(node), {}, self)


@cache
def _tree(module: str) -> ast.Module:
    path = Path(__file__).parent.joinpath(*module.split("."))
    return ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))
