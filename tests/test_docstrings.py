"""Docstrings of the library: functions of arrays say which shapes those have."""

import ast
import re
from collections.abc import Iterator

from conftest import PROJECT

LIBRARY = PROJECT / "trackertraincode"
ARRAY = re.compile(r"(?<![\w\[] )\b(np\.ndarray|Tensor)\b")
NOT_ARRAYS = re.compile(
    r"bytes \| np\.ndarray|Sequence\[int\] \| np\.ndarray|^(dict|Mapping|Callable)\b.*"
)  # files, rows
ITEM = r"(?:[^(),]|\(\w+\)){1,12}"  # S + 1, len(ids), 3[, 3]
SHAPE = re.compile(rf"\((?:{ITEM}, ?)+(?:{ITEM})?\)|\(\)|\(\.\.\.\)|shape")
PRIVATE = re.compile(r"_(?!_init__)")
HOOKS = {"training_step", "validation_step"}  # Lightning's, which say what they are given


def functions(node: ast.AST, owner: ast.ClassDef | None = None) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Name, definition and docstrings of all that is public in a module or class; of a constructor also its class's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and not PRIVATE.match(child.name):
            text = ast.get_docstring(child) or ""
            if owner is not None and child.name == "__init__":
                text += ast.get_docstring(owner) or ""
            yield f"{owner.name}.{child.name}" if owner else child.name, child, text
        elif isinstance(child, ast.ClassDef) and not PRIVATE.match(child.name):
            yield from functions(child, child)


def takes_or_gives_arrays(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    kinds = [ast.unparse(kind) for kind in (*(a.annotation for a in arguments), function.returns) if kind is not None]
    return any(ARRAY.search(NOT_ARRAYS.sub("", kind)) for kind in kinds)


def test_functions_of_arrays_give_shapes() -> None:
    """Where a protocol of ours says what methods of a name are, those that follow it need not say it again."""
    modules = {path.relative_to(LIBRARY): ast.parse(path.read_text(encoding="utf-8")) for path in LIBRARY.rglob("*.py")}
    classes = [node for module in modules.values() for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    protocols = [node for node in classes if "Protocol" in map(ast.unparse, node.bases)]
    told = HOOKS | {function.name for node in protocols for _, function, _ in functions(node, node)}
    silent = [
        f"{path}:{function.lineno} {name}"
        for path, module in sorted(modules.items())
        for name, function, text in functions(module)
        if takes_or_gives_arrays(function) and function.name not in told and not SHAPE.search(text)
    ]
    assert silent == []
