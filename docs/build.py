"""Build the documentation: tables that follow from code, help of all commands, API reference, then the site.

    docs/*.md --tables--> docs/*.md + README… + help + API --> build/docs --zensical--> build/site/index.html

python docs/build.py              all of it; any warning is an error
python docs/build.py --tables     only write the tables into docs/*.md
"""

import argparse
import ast
import contextlib
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

from trackertraincode.augmentation.crop import GeometryOptions
from trackertraincode.augmentation.extras import EXTRAS, plugin_brightness
from trackertraincode.augmentation.presets import CROPS
from trackertraincode.commands import COMMANDS, parse
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.conversion.csv_labels import COLUMNS_HELP
from trackertraincode.datasets.catalog import DATASETS, LABEL_SETS
from trackertraincode.evaluation.protocols import PROTOCOLS
from trackertraincode.losses.objective import SHAPE_PRIOR, SHAPE_PRIOR_WEIGHT, TERMS
from trackertraincode.models.backbones import BACKBONES
from trackertraincode.options import is_option
from trackertraincode.sample.sample import FIELDS
from trackertraincode.tracking.rows import ABOUT, COLUMNS
from trackertraincode.training.options import RECIPES

PROJECT = Path(__file__).resolve().parent.parent
PAGES, LIBRARY = PROJECT / "docs", PROJECT / "trackertraincode"
STAGE = PROJECT / "build" / "docs"
ROOT_PAGES = {"README.md": "index.md"} | {
    f"{name}.md": f"{name}.md" for name in ("CONTRIBUTING", "SECURITY", "CHANGELOG")
}
MODEL_CARD = "trackertraincode/pretrained/MODEL_CARD.md"
ROOT_PAGES |= {MODEL_CARD: "model-card.md"}
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def first_sentence(function: Callable) -> str:
    """What a docstring begins with, without shape and full stop."""
    text = " ".join((function.__doc__ or "").split("\n\n")[0].split())
    return re.split(r"\.(?: |$)|: ", re.sub(r"^\([^)]*\),? ", "", text))[0]


def datasets_table() -> str:
    def source(made_by: str) -> str:
        return f"`{made_by}`" if made_by.startswith("ttc ") else made_by.split(";")[0].removeprefix("is ")

    return table(
        ("`--ds` name", "file in `$DATADIR`", "made by", "labels trained", "weight"),
        (
            (f"`{name}`", f"`{spec.file}`", source(spec.made_by), ", ".join(spec.labels), f"{spec.weight:,.0f}")
            for name, spec in DATASETS.items()
        ),
    )


def fields_table() -> str:
    def shape(values: tuple[int, ...]) -> str:
        return " × ".join(map(str, values)) or "–"

    return table(
        ("name", "shape of a row", "type", "meaning"),
        ((f"`{name}`", shape(f.shape), f.dtype.replace("vlen uint8", "bytes"), f.doc) for name, f in FIELDS.items()),
    )


def protocols_table() -> str:
    return table(
        ("protocol", "data set", "rows", "box", "crop"),
        (
            (f"`{name}`", f"`{p.dataset}`", first_sentence(p.keep), first_sentence(p.box), p.framing.words.format(p.factor))
            for name, p in PROTOCOLS.items()
        ),
    )  # fmt: skip


def label_sets_table() -> str:
    names = {field.attribute: f"`{name}`" for name, field in FIELDS.items()}
    return table(
        ("labels", "fields"), ((word, ", ".join(names[a] for a in fields)) for word, fields in LABEL_SETS.items())
    )


def backbones_list() -> str:
    return ", ".join(f"`{name}`" for name in BACKBONES) + "\n"


def extras_table() -> str:
    extras = EXTRAS | {"plugin_brightness": plugin_brightness}
    return table(("name", "what it does"), ((f"`{name}`", first_sentence(extra)) for name, extra in extras.items()))


def crops_table() -> str:
    """The ways to choose the square, and what a recipe's table [crop] may change of one."""
    keys = {item.name: item for item in filter(is_option, dataclasses.fields(GeometryOptions))}
    return table(
        ("key of `[crop]`", "what it is", *(f"`{name}`" for name in CROPS)),
        (
            (f"`{key}`", item.metadata["help"], *(_shown(getattr(crop, key)) for crop in CROPS.values()))
            for key, item in keys.items()
        ),
    )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def losses_table() -> str:
    return table(
        ("key of `[loss_weights]`", "label that a row must have", "published weight"),
        (
            *((f"`{name}`", term.label or "none", f"{term.weight:g}") for name, term in TERMS.items()),
            (f"`{SHAPE_PRIOR}`, where [there is one](training.md#shape-prior)", "none", f"{SHAPE_PRIOR_WEIGHT:g}"),
        ),
    )


def commands_table() -> str:
    """Every command as it is installed and as a script."""
    rows = []
    for script in sorted((PROJECT / "scripts").glob("*.py")):
        if script.stem.endswith("_processing"):  # older names, which docs/published.md has
            continue
        words = re.findall(r'"([\w-]+)"', script.read_text(encoding="utf-8").split("main(", 1)[1].split(")")[0])
        rows.append((COMMANDS.index(words[0]), words, script.name))
    rows += [(i, [name], "") for i, name in enumerate(COMMANDS) if i not in {row[0] for row in rows}]
    return table(
        ("installed", "in the repository"),
        ((f"`ttc {' '.join(words)}`", name and f"`scripts/{name}`") for _, words, name in sorted(rows)),
    )


def recipes_text() -> str:
    """Each recipe as it is written."""
    return "\n".join(
        f"### {path.stem}\n\n```toml\n{path.read_text(encoding='utf-8').strip()}\n```\n"
        for path in sorted(RECIPES.glob("*.toml"))
    )


def csv_text() -> str:
    return f"```text\n{COLUMNS_HELP.strip()}\n```\n"


def layers_table() -> str:
    rank = next(
        ast.literal_eval(node.value)
        for node in ast.parse((PROJECT / "tests" / "test_layers.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "RANK"
    )
    return table(
        ("layer", "package", "holds"),
        ((layer, f"`{name}`", summary(name)) for name, layer in sorted(rank.items(), key=lambda item: item[1])),
    )


def rows_table() -> str:
    rows = [(f"`{name}`", doc) for name, doc in ABOUT.items()]
    rows += [(", ".join(f"`{name}`" for name in columns.names), columns.doc) for columns in COLUMNS]
    return table(("columns", "hold"), iter(rows))


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "datasets": datasets_table,
    "label_sets": label_sets_table,
    "fields": fields_table,
    "csv": csv_text,
    "protocols": protocols_table,
    "recipes": recipes_text,
    "backbones": backbones_list,
    "extras": extras_table,
    "crops": crops_table,
    "losses": losses_table,
    "layers": layers_table,
    "rows": rows_table,
}


def summary(name: str) -> str:
    """First line of the docstring of a package or module of the library."""
    path = LIBRARY.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


def with_tables(text: str) -> str:
    """A page with its tables as the code has them now."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def write_tables() -> None:
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def help_page() -> str:
    """What every command says to --help."""
    parts = ["# Commands\n\nWhat each command says to `--help`.\n"]
    for words in [*([name] for name in COMMANDS), *(["convert", name] for name in CONVERTERS)]:
        output = io.StringIO()
        with (
            patch.dict(os.environ, {"COLUMNS": "100"}),
            contextlib.redirect_stdout(output),
            contextlib.suppress(SystemExit),
        ):
            parse([*words, "--help"])
        parts.append(f"## ttc {' '.join(words)}\n\n```text\n{output.getvalue().strip()}\n```\n")
    return "\n".join(parts)


def api_pages() -> Iterator[tuple[str, str]]:
    """Name and text of a page per package, made from docstrings."""
    names = sorted(
        {p.relative_to(LIBRARY).parts[0].removesuffix(".py") for p in LIBRARY.rglob("*.py")} - {"__init__", "__main__"}
    )
    yield (
        "index",
        "# API reference\n\n"
        + table(("package", "holds"), ((f"[`{name}`]({name}.md)", summary(name)) for name in names)),
    )
    for name in names:
        modules = [LIBRARY / f"{name}.py", *sorted((LIBRARY / name).rglob("*.py"))]
        paths = [m.relative_to(PROJECT).with_suffix("") for m in modules if m.is_file() and m.name != "__init__.py"]
        yield name, f"# {name}\n\n{summary(name)}\n\n" + "\n\n".join(f"::: {'.'.join(path.parts)}" for path in paths)


def stage() -> None:
    """All pages of the site, in one folder, and its configuration."""
    shutil.rmtree(STAGE, ignore_errors=True)
    (STAGE / "api").mkdir(parents=True)
    for file in (PAGES / "style.css", *PAGES.glob("*.png")):
        shutil.copy(file, STAGE)
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        text = text.replace(MODEL_CARD, ROOT_PAGES[MODEL_CARD]).replace("](../", "](")
        (STAGE / page.name).write_text(text, encoding="utf-8")
    for name, staged in ROOT_PAGES.items():
        text = (PROJECT / name).read_text(encoding="utf-8").replace(MODEL_CARD, ROOT_PAGES[MODEL_CARD])
        text = text.replace("](../../docs/", "](").replace("](docs/", "](").replace("](README.md", "](index.md")
        (STAGE / staged).write_text(text, encoding="utf-8")
    (STAGE / "commands.md").write_text(help_page(), encoding="utf-8")
    navigation = ["  - API reference:"]
    for name, text in api_pages():
        (STAGE / "api" / f"{name}.md").write_text(text, encoding="utf-8")
        navigation.append(f"      - {'Packages' if name == 'index' else name}: api/{name}.md")
    configuration = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8") + "\n".join(navigation) + "\n"
    (STAGE.parent / "mkdocs.yml").write_text(configuration, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="only write the tables into docs/*.md")
    options = parser.parse_args()
    write_tables()
    if options.tables:
        return 0
    stage()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(STAGE.parent / "mkdocs.yml")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
