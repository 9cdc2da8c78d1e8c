"""What a conversion tells at its end: how much was written and skipped, and why."""

import re
from pathlib import Path

from trackertraincode.conversion.journal import Skip

SHOWN_SKIPS = 5
# Quoted, paths, names, numbers.
_VARYING = re.compile(r"'[^']*'|[^\s']*[\\/][^\s']*|\S+\.[a-zA-Z]\w{1,3}\b|[-+]?\d[\d.e+-]*")


def print_summary(destination: Path, written: int, skips: list[Skip]) -> None:
    """How many samples were written and skipped, and why; the counts of all lines add up to those skipped."""
    print(f"{destination}: {written} samples written, {len(skips)} skipped")
    kinds: dict[str, list[Skip]] = {}
    for skip in skips:
        kinds.setdefault(kind_of(skip), []).append(skip)
    groups = sorted(kinds.values(), key=len, reverse=True)
    rest = [skip for group in groups[SHOWN_SKIPS:] for skip in group]
    for group in groups[:SHOWN_SKIPS]:
        print(f"  {len(group)} skipped, such as {group[0].reason}")
    if rest:
        others = len(groups) - SHOWN_SKIPS
        print(f"  {len(rest)} skipped, such as {rest[0].reason} ({others} other reasons; --skipped FILE lists all)")


def kind_of(skip: Skip) -> str:
    """The reason without names, paths and numbers, which differ between items."""
    return _VARYING.sub("…", skip.reason.removeprefix(skip.name))
