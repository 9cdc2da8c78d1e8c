"""The command `trackertraincode`, short `ttc`: what a user can do, one module per sub-command.

words of the command line --Parser--> options --run--> exit code

A module's docstring is the help text, `add_options` declares its options, `run` does the work. Only light modules are
imported at a module's top and in `add_options`, so that --help and wrong usage cost no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from trackertraincode import __version__
from trackertraincode.arguments import METAVARS
from trackertraincode.cli import DEBUG, run_main
from trackertraincode.errors import UsageError, UserError, closest_first
from trackertraincode.pretrained import DEFAULT
from trackertraincode.workers import end_with_parent, start_program

COMMANDS = (  # each is a module of this package
    "convert", "render", "expand", "fit", "pseudolabels", "info", "check", "view", "join", "filter", "review",
    "train", "train-localizer", "compare-runs", "fit-shape-prior", "evaluate", "stability", "export", "check-model",
    "track", "web", "demo", "train-default",
)  # fmt: skip


GONE = {  # published options without a counterpart of the same kind -> what to use instead
    "--auglevel": "--no-imgaug turns changes of intensity off, --raug N those of angle, --extra adds more",
    "--prob-closed-eyes": "ttc convert aflw2k --close-eyes shuts the eyes of all images",
}
SUMMARY = "Head-pose data and training suite: data sets, small networks, evaluation, export, tracking."


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written; each option with its default, unless its text names that in words."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").removesuffix(" (default: %(default)s)")  # of switches, before Python 3.13
        is_flag = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
        if is_flag or "default" in text or action.default in (None, argparse.SUPPRESS, (), []):
            return text
        return f"{text} (default: {describe_default(action.default)})"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return str(METAVARS.get(action.type) or getattr(action.type, "metavar", action.dest.upper()))


def describe_default(value: Any) -> str:
    """As help shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Parser(argparse.ArgumentParser):
    """Of a command or its sub-commands; `options.parser` is the one that was used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **settings)
        self.set_defaults(parser=self)
        self.add_argument(DEBUG, action="store_true", default=argparse.SUPPRESS, help="show where an error comes from")


def main(*words: str) -> None:
    """Run the words, then those of the command line, as a command, and exit with its code."""
    run_main(lambda: run([*words, *sys.argv[1:]]), start=lambda: None)


def run(words: Sequence[str]) -> int:
    """Run a command, such as ["info", "a.h5"]. Returns its exit code; exits with 2 on wrong usage."""
    _check_current_folder()
    module, options, parser = parse(words)
    end_with_parent()
    start_program()
    if getattr(options, "scheduler", None):
        _make_absolute(options)
    try:
        return module.run(options)
    except UsageError as error:
        parser.error(str(error))


def _check_current_folder() -> None:
    """Raise UserError when it is gone: torch's libraries end the process there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder was removed; change to another one.") from None


def parse(words: Sequence[str]) -> tuple[ModuleType, argparse.Namespace, argparse.ArgumentParser]:
    """Module of a command, its options, the parser that read them. Exits with 2 on wrong usage."""
    parser = Parser(prog="ttc", description=f"{SUMMARY}\n\nttc COMMAND --help explains a command.")
    parser.add_argument("--version", action="version", version=__version__)
    name = words[0] if words else "--help"
    if not name.startswith("-") and name not in COMMANDS:
        parser.error(f"unknown command {name}; did you mean {closest_first(name, COMMANDS)[0]}? --help lists all.")
    if empty := [word for word in words if word.startswith("-") and word.endswith("=--")]:
        parser.error(f"{empty[0]}: expected a value behind the equals sign.")  # of which argparse makes a list
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for known in [name] if name in COMMANDS else COMMANDS:
        module = import_module(f"{__name__}.{known.replace('-', '_')}")
        text = str(module.__doc__)
        module.add_options(commands.add_parser(known, help=text.splitlines()[0], description=text))
    options, unknown = parser.parse_known_args(words or [name])
    used = vars(options).pop("parser")
    vars(options).pop(DEBUG.lstrip("-"), None)
    if unknown:
        used.error(_unknown(unknown[0], used))
    return module, options, used


def _make_absolute(options: argparse.Namespace) -> None:
    """All paths, since workers of a scheduler have other current folders; what stands for the model in the box stays."""
    for name, value in vars(options).items():
        items = [
            item.absolute() if isinstance(item, Path) and str(item) != DEFAULT else item
            for item in (value if isinstance(value, list) else [value])
        ]
        setattr(options, name, items if isinstance(value, list) else items[0])


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        return f"unexpected argument {word!r}; --help lists all."
    known = [flag for action in parser._actions for flag in action.option_strings]
    name = word.split("=")[0]
    if name in GONE:
        return f"option {name} of published code isn't here: {GONE[name]}."
    return f"unknown option {name}; did you mean {closest_first(name, known)[0]}? --help lists all."
