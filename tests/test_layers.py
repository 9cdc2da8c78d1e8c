"""Data flows one way: a package imports only packages of lower layers."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from conftest import PROJECT

LIBRARY = PROJECT / "trackertraincode"

RANK = {
    "errors": 0,
    "cluster": 0,
    "workers": 0,
    "files": 0,
    "signatures": 0,
    "options": 0,
    "light": 0,
    "spelling": 0,
    "pickles": 0,
    "parts": 0,
    "cli": 0,
    "arguments": 0,
    "geometry": 0,
    "pretrained": 1,
    "facemodel": 1,
    "sample": 2,
    "datasets": 3,
    "rendering": 3,
    "detection": 3,
    "conversion": 4,
    "augmentation": 4,
    "models": 4,
    "losses": 4,
    "fitting": 4,
    "drawing": 2,
    "visualize": 4,
    "localizer": 4.5,
    "expansion": 4.5,
    "evaluation": 5,
    "tracking": 5,
    "export": 5,
    "web": 5,
    "labelling": 6,
    "training": 6,
    "localizer.options": 6.5,
    "localizer.training": 7,
    "commands": 8,
}
# Within the lowest layer: errors, then cluster and files, workers, then the others.
BELOW = {
    ("cluster", "errors"),
    ("cluster", "parts"),
    ("workers", "errors"),
    ("workers", "cluster"),
    ("workers", "files"),
    ("files", "errors"),
    ("files", "signatures"),
    ("workers", "signatures"),
    ("options", "errors"),
    ("light", "options"),
    ("arguments", "light"),
    ("arguments", "files"),
    ("cli", "errors"),
    ("cli", "workers"),
    ("cli", "parts"),
    ("parts", "errors"),
    ("geometry", "errors"),
}


def room_of(*parts: str) -> str:
    """The key of RANK that a module belongs to; parts: of its name, without `trackertraincode`."""
    return module if (module := ".".join(parts[:2])) in RANK else parts[0]


def imported_packages(path: Path) -> set[str]:
    """Rooms of ours that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" if node.module == LIBRARY.name else node.module or ""
                       for alias in node.names]  # fmt: skip
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        found |= {room_of(*m.split(".")[1:]) for m in modules if m.startswith(f"{LIBRARY.name}.") and "__" not in m}
    return found


@pytest.mark.parametrize(
    "path",
    sorted(p for p in LIBRARY.rglob("*.py") if p.parent != LIBRARY or not p.stem.startswith("__")),
    ids=lambda p: str(p.relative_to(LIBRARY)),
)
def test_imports_go_down_the_layers(path: Path) -> None:
    own = room_of(*path.relative_to(LIBRARY).with_suffix("").parts)
    wrong = {p for p in imported_packages(path) if p != own and RANK[p] >= RANK[own] and (own, p) not in BELOW}
    assert wrong == set()


@pytest.mark.parametrize("path", sorted((PROJECT / "scripts").glob("*.py")), ids=lambda p: p.name)
def test_no_script_imports_a_script(path: Path) -> None:
    scripts = {p.stem for p in (PROJECT / "scripts").glob("*.py")}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name.split(".")[0] in scripts | {"scripts"}}


def test_no_imports_run_in_circles() -> None:
    """Not even inside of functions or for type checkers."""
    modules = {".".join(p.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): p
               for p in LIBRARY.rglob("*.py")}  # fmt: skip
    graph = {}
    for module, path in modules.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        graph[module] = names & modules.keys() - {module}
    TopologicalSorter(graph).prepare()
