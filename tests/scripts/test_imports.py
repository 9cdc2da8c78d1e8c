"""What each command imports of other people's packages before it looks at its first file, read from the sources."""

import ast
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from conftest import PROJECT
from trackertraincode.commands import COMMANDS

ALWAYS = {"cv2", "numpy", "simplejpeg"}
FILES = {"h5py", "torch"}  # of samples
MAY_IMPORT = {  # command -> what it may import beside `ALWAYS`; what only some of its work needs comes with that work
    "convert": FILES | {"scipy", "threadpoolctl", "tqdm"},
    "render": FILES | {"scipy", "threadpoolctl", "tqdm"},
    "expand": FILES | {"scipy", "threadpoolctl", "tqdm"},
    "fit": FILES | {"scipy", "tabulate", "threadpoolctl", "tqdm"},
    "pseudolabels": FILES | {"scipy", "tabulate", "threadpoolctl", "tqdm"},
    "info": FILES | {"tabulate"},
    "check": FILES | {"scipy", "tqdm"},
    "view": FILES | {"tabulate"},
    "join": FILES | {"tabulate", "tqdm"},
    "filter": FILES | {"tabulate", "tqdm"},
    "review": FILES | {"jinja2", "tabulate", "tqdm"},
    "train": FILES | {"kornia", "lightning", "scipy", "timm", "tqdm"},
    "train-localizer": FILES | {"kornia", "lightning", "scipy", "tabulate", "timm", "tqdm"},
    "compare-runs": FILES | {"lightning", "tabulate", "timm", "tqdm"},
    "fit-shape-prior": FILES | {"sklearn"},
    "evaluate": FILES | {"jinja2", "tabulate", "tqdm"},  # jinja2 for --report
    "stability": FILES | {"jinja2", "scipy", "tabulate", "tqdm"},
    "export": FILES | {"timm", "tqdm"},
    "check-model": set[str](),
    "track": {"tqdm"},
    "web": set[str](),
    "demo": FILES | {"jinja2", "lightning", "tabulate", "tqdm"},
    "train-default": FILES | {"kornia", "lightning", "scipy", "tabulate", "timm", "tqdm"},
}


def imported(tree: ast.AST, *, whole: bool) -> Iterator[str]:
    """Names of modules and of what is taken from them; whole: in functions, too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif whole or not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield from imported(node, whole=whole)


@cache
def imports(module: str, whole: bool) -> tuple[set[str], set[str]]:
    """Modules of ours that one imports, their packages included, and other people's packages."""
    path = PROJECT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return set(), set()  # something in a module
    names = set(imported(ast.parse(file.read_bytes()), whole=whole))
    ours = {name for name in names if name.split(".")[0] == "trackertraincode"}
    parents = {".".join(name.split(".")[:count]) for name in ours for count in range(1, name.count(".") + 1)}
    return ours | parents, {name.split(".")[0] for name in names - ours} - sys.stdlib_module_names


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_only_what_it_needs(command: str) -> None:
    first = f"trackertraincode.commands.{command.replace('-', '_')}"
    waiting, known, packages = [first], {first}, set()
    while waiting:
        module = waiting.pop()
        ours, others = imports(module, whole=module == first)
        waiting += ours - known
        known |= ours
        packages |= others
    assert packages - ALWAYS <= MAY_IMPORT[command]
