"""Every command × everything that can be wrong with what it is given, made from the commands' own tables.

No traceback, a true exit code, nothing left, nothing destroyed.
`PYTHONPATH=tests python tests/scripts/test_matrix.py` counts the cases.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from conftest import write_samples
from trackertraincode.arguments import KINDS, OutputFile, output_folder
from trackertraincode.cli import run_main
from trackertraincode.commands import COMMANDS, Parser, run

Words = tuple[str, ...]  # of a command line; {names} stand for the files of `files`
BAD_INPUTS = ("{missing}", "{empty}", "{text}", "{folder}", "{image}", "{loop}")
BAD_TEXTS = ("--", "{loop}", "{image}")  # of options that are words, of which some can be files, too
NO_NUMBERS = ("nan", "inf", "word", "", "1e999")
ODD_NUMBERS = ("-1", "0", str(10**30), "-1e30")


def parsers() -> Iterator[tuple[Words, Parser]]:
    """Each command, and each converter, with its parser."""
    for name in COMMANDS:
        parser = Parser()
        import_module(f"trackertraincode.commands.{name.replace('-', '_')}").add_options(parser)
        nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if nested:
            yield from (((name, own), sub) for own, sub in nested[0].choices.items())
        else:
            yield (name,), parser


def is_output(action: argparse.Action) -> bool:
    return action.type is output_folder or isinstance(action.type, OutputFile)


def named(action: argparse.Action, file: str) -> str:
    """{new} and {same} with the suffix that an output has."""
    return (
        file + action.type.suffixes[0] if isinstance(action.type, OutputFile) and file in ("{new}", "{same}") else file
    )


def is_input(action: argparse.Action) -> bool:
    return not is_output(action) and (action.type is Path or (not action.option_strings and action.type is None))


def is_text(action: argparse.Action) -> bool:
    is_free = action.option_strings and action.nargs is None and action.choices is None and action.type in (None, str)
    return bool(is_free) and not isinstance(action, argparse._StoreConstAction)


def is_number(action: argparse.Action) -> bool:
    return callable(action.type) and not is_output(action) and action.type not in (Path, str)


def needed(parser: Parser, given: str, written: str) -> Words:
    """Everything that a command can't do without, and what keeps it from long work where it needs nothing."""
    words: list[str] = []
    for action in parser._actions:
        if not action.option_strings and isinstance(action, argparse._StoreAction) and action.nargs != "*":
            words.append(named(action, written) if is_output(action) else given)
        elif action.required and action.option_strings:
            words += [action.option_strings[-1], named(action, written) if is_output(action) else given]
        elif action.dest == "outdir":
            words += [action.option_strings[-1], "{text}"]
    for group in parser._mutually_exclusive_groups:
        if group.required:
            words += [group._group_actions[0].option_strings[-1], "0"]
    return tuple(words)


def with_value(parser: Parser, action: argparse.Action, value: str, given: str, written: str) -> Words:
    """A command line in which one argument has this value."""
    words = needed(parser, given, written)
    if action.option_strings:
        return (*words, f"{action.option_strings[-1]}={value}")
    names = [a.dest for a in parser._actions if not a.option_strings and a.nargs != "*"]
    index = names.index(action.dest) if action.dest in names else len(names)
    return (*words[:index], value, *words[index + 1 :])


def cases() -> Iterator[tuple[Words, Words, tuple[int, ...]]]:
    """Command, its words, possible exit codes."""
    for name, parser in parsers():
        positional = [a for a in parser._actions if not a.option_strings and a.nargs not in ("*", "?")]
        if positional:
            yield name, (), (2,)
        yield name, ("--no-such-option",), (2,)
        for action in parser._actions:
            if is_input(action):
                for value in BAD_INPUTS:
                    readable = name == ("track",) and action.dest == "source" and value == "{image}"
                    codes = (0,) if readable else (1, 2)
                    yield name, with_value(parser, action, value, "{faces}", "{new}"), codes
            elif is_output(action):
                yield name, with_value(parser, action, "{text}/below", "{faces}", "{new}"), (1, 2)
                if any(is_input(a) for a in positional) and isinstance(action.type, OutputFile):
                    yield name, with_value(parser, action, named(action, "{same}"), "{faces}", "{new}"), (1,)
                    wrong = ".onnx" if ".h5" in action.type.suffixes else ".h5"
                    yield name, with_value(parser, action, "{new}" + wrong, "{faces}", "{new}"), (2,)
            elif is_text(action):
                for value in BAD_TEXTS:
                    yield name, with_value(parser, action, value, "{missing}", "{folder}"), (1, 2)
            elif is_number(action):
                for value in NO_NUMBERS:
                    yield name, with_value(parser, action, value, "{missing}", "{folder}"), (1, 2)
                for value in ODD_NUMBERS:
                    yield name, with_value(parser, action, value, "{missing}", "{folder}"), (1, 2)


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """Contents of files that all cases have."""
    return {}


@pytest.fixture
def files(
    tmp_path: Path, make_sample: Callable, monkeypatch: pytest.MonkeyPatch, kept: dict[str, bytes]
) -> dict[str, Path]:
    """In a folder of their own, which is the current one; no data elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATADIR", raising=False)
    monkeypatch.setenv("NUM_WORKERS", "0")
    found = {name: tmp_path / f"{name}.h5" for name in ("missing", "empty", "text", "faces", "image")}
    found |= {name: tmp_path / name for name in ("folder", "new", "same")}
    found["loop"] = tmp_path / "loop.h5"
    with contextlib.suppress(OSError):  # where links can't be made, it is missing
        found["loop"].symlink_to(found["loop"])
    found["folder"].mkdir()
    found["empty"].touch()
    found["text"].write_text("a letter\n")
    if not kept:
        write_samples(found["faces"], (make_sample(seed) for seed in range(3)))
        kept.update(image=make_sample(0).image, faces=found["faces"].read_bytes())
    for name, content in kept.items():
        found[name].write_bytes(content)
    for suffix in KINDS:  # the sample file by other names
        found["same"].with_suffix(suffix).hardlink_to(found["faces"])
    return found


@pytest.mark.parametrize(("name", "words", "codes"), cases(), ids=lambda part: " ".join(map(str, part)))
def test_what_is_wrong_is_said_and_nothing_is_left(
    name: Words, words: Words, codes: tuple[int, ...], files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def everything() -> dict[str, bytes]:
        return {str(p): p.read_bytes() if p.is_file() else b"" for p in files["folder"].parent.rglob("*")}

    before = everything()
    given = [word.format_map(files) for word in (*name, *words)]
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda: run(given), start=lambda: None)
    output = capsys.readouterr()
    assert stopped.value.code in codes, output
    assert "fault of this program" not in output.err
    assert "Traceback" not in output.err
    assert everything() == before


if __name__ == "__main__":
    names = [name for name, _, _ in cases()]
    print(f"{len(set(names))} commands and converters, {len(names)} cases")
