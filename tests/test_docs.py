"""What the README and the pages show exists: commands, options, links, Python, and tables as the code has them."""

import importlib.util
import os
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest

from conftest import PROJECT
from trackertraincode.commands import parse

PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    PROJECT / "trackertraincode" / "pretrained" / "MODEL_CARD.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in PAGES}


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and content of each fenced block in a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(name, block) for name, text in TEXTS.items() for block in fence.findall(text)]


COMMANDS = sorted(
    {line for _, block in blocks("sh") for line in block.splitlines() if line.startswith(("python scripts/", "ttc "))}
)


def words_of(line: str) -> list[str]:
    """What a command line of a page gives to `ttc`."""
    start, *words = shlex.split(line, comments=True)
    words = [os.path.expandvars(word) for word in words]
    if start == "ttc":
        return words
    with (
        patch.object(sys, "argv", words),
        patch("trackertraincode.commands.run", return_value=0) as run,
        pytest.raises(SystemExit),
    ):
        runpy.run_path(str(PROJECT / words[0]), run_name="__main__")
    return run.call_args.args[0]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_pages_are_understood(line: str) -> None:
    parse(words_of(line))


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(SystemExit):
        parse(words_of("python scripts/dsinfo.py faces.h5 --gone"))


@pytest.mark.parametrize(
    "line", [c for c in COMMANDS if ("train_poseestimator" in c or "ttc train " in c) and "--resume" not in c]
)
def test_training_options_of_the_pages_have_possible_values(line: str, tmp_path: Path) -> None:
    from trackertraincode.training.options import read_options

    words = words_of(line)
    for i in [i for i, word in enumerate(words) if word.endswith(".toml")]:  # of the reader
        words[i - 1 : i + 1] = ["", ""]
    read_options(parse([word for word in words if word])[1])


@pytest.mark.parametrize("block", [block for page, block in blocks("toml") if page == "recipes.md"])
def test_recipes_of_the_pages_are_read(block: str, tmp_path: Path) -> None:
    from trackertraincode.training.config import TrainConfig
    from trackertraincode.training.options import read_toml

    (tmp_path / "recipe.toml").write_text(block, encoding="utf-8")
    TrainConfig.of(**read_toml(tmp_path / "recipe.toml"))


@pytest.mark.parametrize("block", [block for page, block in blocks("toml") if page == "own-data.md"])
def test_catalogs_of_the_pages_are_read(block: str, tmp_path: Path) -> None:
    from trackertraincode.datasets.catalog import load_catalog

    (tmp_path / "datasets.toml").write_text(block, encoding="utf-8")
    load_catalog(tmp_path / "datasets.toml")


def test_make_targets_of_the_pages_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name, text in TEXTS.items():
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= set(targets), name


def test_installable_parts_are_those_of_the_project() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        parts = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(re.findall(r"^\| `(\w+)` \|", TEXTS["install.md"].split("## Env")[0], re.MULTILINE)) == set(parts) - {
        "all"
    }


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_of_the_pages_names_what_exists(page: str, block: str) -> None:
    for line in block.splitlines():
        if line.startswith(("from ", "import ")):
            exec(line, {})
    compile(block, page, "exec")


@pytest.mark.parametrize("name", TEXTS)
def test_links_between_pages_lead_somewhere(name: str) -> None:
    page = next(path for path in PAGES if path.name == name)
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if not target.startswith(("http", "#")):
            file, _, anchor = target.partition("#")
            linked = page.parent / file
            assert linked.is_file(), f"{name} links to {target}"
            text = linked.read_text(encoding="utf-8") if anchor else ""
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
            assert not anchor or anchor in slugs, f"{name} links to {target}; there are {slugs}"


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 130


def test_tables_of_the_pages_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("docs_build", PROJECT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert set(build.TABLES) == {name for text in TEXTS.values() for _, name, _ in build.BLOCK.findall(text)}
    for name, text in TEXTS.items():
        assert build.with_tables(text) == text, f"{name}: run 'make docs', which writes the tables anew"
