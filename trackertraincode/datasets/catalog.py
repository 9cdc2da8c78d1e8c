"""The data sets that the command line knows by name: one table, and a user's own TOML file.

"a:92+b:8" --parse_mixture--> [Chosen(name, spec, weight)], whose files `mixing.open_mixture` opens
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.errors import CatalogError, closest_first
from trackertraincode.files import data_dir, files_of, is_sample_file, matching
from trackertraincode.options import besides_none, read_toml_file
from trackertraincode.sample.sample import BATCH_LABELS, LABELS

USER_CATALOG = "datasets.toml"  # in $DATADIR

LABEL_SETS = {  # word in catalogs -> attributes of a sample that are trained on
    word: tuple(name for name in BATCH_LABELS if LABELS[name].trained == word)
    for word in dict.fromkeys(str(LABELS[name].trained) for name in BATCH_LABELS)
}
LABEL_SETS["landmarks_xy"] = LABEL_SETS["landmarks"]  # depths are not known and set to NaN

Rows = tuple[int, int | None]  # first row and the one after the last; None: to the end


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One named data set."""

    file: str  # below $DATADIR; a pattern such as "faces-*.h5" names several files that are one data set
    weight: float  # default sampling frequency, relative to other sets
    labels: tuple[str, ...]  # keys of LABEL_SETS
    made_by: str  # how to get the file
    rows: Rows = (0, None)  # that are trained on
    validation_file: str | None = None  # other file to validate on
    validation_made_by: str = ""  # as `made_by`, where that doesn't make it
    validation_rows: Rows | None = None  # None: the last share of sequences or persons is split off
    variant_of: str | None = None  # at most one variant of the same images may be mixed

    @property
    def attributes(self) -> tuple[str, ...]:
        """Sample attributes that are trained on."""
        return tuple(dict.fromkeys(a for label in self.labels for a in LABEL_SETS[label]))

    @property
    def converter(self) -> str | None:
        """As files of it name what made them; None where no archive is converted."""
        return f"dsprocess_{self.made_by.split()[2]}" if self.made_by.startswith("ttc convert ") else None


_FULL = ("pose", "landmarks", "shape", "box")
_MADE_BY_OPNET = "is published by the authors of OpNet; 300wlp is the same images converted from the original archive"

DATASETS = {  # adding a data set is adding an entry; training, evaluation and messages look here
    "300wlp": DatasetSpec(
        file="300wlp.h5", weight=60_000, labels=(*_FULL, "landmarks_2d"), variant_of="300W-LP",
        made_by="ttc convert 300wlp",
    ),
    "repro_300_wlp": DatasetSpec(
        file="reproduction_300wlp-v12.h5", weight=60_000, labels=_FULL, variant_of="300W-LP", made_by=_MADE_BY_OPNET,
    ),
    "repro_300_wlp_woextra": DatasetSpec(
        file="reproduction_300wlp_simple.h5", weight=60_000, labels=_FULL, variant_of="300W-LP", made_by=_MADE_BY_OPNET,
    ),
    "300wlp_list": DatasetSpec(
        file="300wlp_list.h5", weight=60_000, labels=("pose", "box"), variant_of="300W-LP",
        made_by="ttc convert 300wlp_list",
    ),
    "wflw_lp": DatasetSpec(file="wflw_augmented_v4.h5", weight=40_000, labels=_FULL, made_by=_MADE_BY_OPNET),
    "lapa_megaface_lp": DatasetSpec(
        file="lapa-megaface-augmented-v2.h5", weight=10_000, labels=_FULL, made_by=_MADE_BY_OPNET
    ),
    "synface": DatasetSpec(
        file="microsoft_synface_100000-v1.1.h5", weight=10_000, labels=("landmarks_xy", "box"),
        made_by="ttc convert synface",
    ),
    "biwi": DatasetSpec(file="biwi-v3.h5", weight=1_000, labels=("pose", "box"), made_by="ttc convert biwi"),
    "aflw2k": DatasetSpec(
        file="aflw2k.h5", weight=1_000, labels=_FULL, rows=(400, None), validation_rows=(0, 400),
        made_by="ttc convert aflw2k", variant_of="AFLW2000-3D",
    ),
    "aflw2k_closedeyes": DatasetSpec(
        file="aflw2k_closedeyes.h5", weight=1_000, labels=_FULL, variant_of="AFLW2000-3D",
        made_by="ttc convert aflw2k --close-eyes",
    ),
    "pointing04": DatasetSpec(
        file="pointing04.h5", weight=1_000, labels=("pose", "box"), made_by="ttc convert pointing04"
    ),
    "lapa": DatasetSpec(
        file="lapa.h5", weight=20_000, labels=("landmarks_2d", "box"), made_by="ttc convert lapa"
    ),
    "wflw": DatasetSpec(
        file="wflw_train.h5", weight=10_000, labels=("landmarks_2d", "box"), validation_file="wflw_test.h5",
        made_by="ttc convert wflw", validation_made_by="ttc convert wflw --split test",
    ),
    "300w": DatasetSpec(
        file="300w.h5", weight=5_000, labels=("landmarks_2d", "box"), made_by="ttc convert 300w"
    ),
    "300vw": DatasetSpec(
        file="300vw.h5", weight=5_000, labels=("landmarks_2d", "box"), made_by="ttc convert 300vw"
    ),
    "panoptic": DatasetSpec(
        file="panoptic.h5", weight=10_000, labels=("pose", "box"), made_by="ttc convert panoptic"
    ),
    "replicantface": DatasetSpec(
        file="replicantface.h5", weight=10_000, labels=("pose", "landmarks", "box"),
        made_by="ttc convert replicantface",
    ),
    "rendered": DatasetSpec(
        file="rendered.h5", weight=10_000, labels=(*_FULL, "landmarks_2d"), made_by="ttc render"
    ),
    "wider": DatasetSpec(
        file="widerfacessingle.h5", weight=10_000, labels=("face", "box"), made_by="ttc convert widerface"
    ),
}  # fmt: skip


def load_catalog(path: Path | None = None) -> dict[str, DatasetSpec]:
    """The table, with the entries of `path` or of $DATADIR/datasets.toml added or changed.

    Raises CatalogError when the file is missing or an entry is wrong.
    """
    folder = data_dir()
    if path is None and folder is not None and (folder / USER_CATALOG).is_file():
        path = folder / USER_CATALOG
    if path is None:
        return dict(DATASETS)
    try:
        content = read_toml_file(path, CatalogError)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such catalog file.") from None
    return DATASETS | {name: _read_entry(path, name, entry) for name, entry in content.items()}


@dataclass(frozen=True)
class Chosen:
    """One data set of a mixture."""

    name: str
    spec: DatasetSpec
    weight: float  # sampling frequency, relative to the others

    @property
    def path(self) -> Path:
        """Its file. Raises CatalogError when it isn't there, saying how to make it."""
        return _path(self.name, self.spec.file, self.spec.made_by)

    @property
    def validation_path(self) -> Path:
        """The file to validate on, its own where it names no other. Raises as `path`."""
        file = self.spec.validation_file or self.spec.file
        return _path(self.name, file, self.spec.validation_made_by or self.spec.made_by)


def choose(name: str, catalog: dict[str, DatasetSpec]) -> Chosen:
    """A data set with its default weight. Raises CatalogError for unknown names."""
    spec = find_dataset(name, catalog)
    return Chosen(name, spec, spec.weight)


def parse_mixture(text: str, catalog: dict[str, DatasetSpec]) -> list[Chosen]:
    """Such as "a:92+b:8" -> its data sets, in this order. A name without a number takes its default weight.

    Raises CatalogError for unknown or repeated names, bad numbers, and two variants of the same images.
    """
    mixture: list[Chosen] = []
    for part in text.split("+"):
        name, colon, number = (word.strip() for word in part.partition(":"))
        chosen = choose(name, catalog)
        for other in mixture:
            if other.name == name:
                raise CatalogError(f"--ds {text!r} names {name} twice; give it one weight, as in {name}:2.")
            if other.spec.variant_of is not None and other.spec.variant_of == chosen.spec.variant_of:
                raise CatalogError(f"--ds {text!r}: {other.name} and {name} show the same images; choose one.")
        mixture.append(dataclasses.replace(chosen, weight=_weight_of(text, name, number)) if colon else chosen)
    return mixture


def find_dataset(name: str, catalog: dict[str, DatasetSpec]) -> DatasetSpec:
    """The entry of a name. Raises CatalogError with the known names, those most alike first."""
    if name not in catalog:
        raise CatalogError(
            f"data set {name!r} is unknown; known are {', '.join(closest_first(name, list(catalog)))}. "
            f"Add your own in $DATADIR/{USER_CATALOG}{_why_not_read()} or with --catalog."
        )
    return catalog[name]


def _why_not_read() -> str:
    """What keeps $DATADIR's catalog from being read, in brackets; empty where nothing does."""
    folder = data_dir()
    if folder is None:
        return " (DATADIR isn't set)"
    return "" if folder.is_dir() else f" (DATADIR is {folder}, where there is no folder)"


def find_file(name: str, catalog: dict[str, DatasetSpec]) -> Path:
    """A data set's file, or the file whose path `name` is. Raises CatalogError when a set is unknown or its file missing."""
    if is_sample_file(name):
        return Path(name)
    return choose(name, catalog).path


def _path(name: str, file: str, made_by: str) -> Path:
    """The file of an entry, or the shards that were written in its place."""
    path = Path(file)
    if not path.is_absolute():
        folder = data_dir()
        if folder is None:
            raise CatalogError(f"data set {name}: set the environment variable DATADIR to the folder with {file}.")
        path = folder / file
    shards = path.with_name(f"{path.stem}-?????-of-?????{path.suffix}")
    if not path.is_file() and _is_there(shards):
        return shards
    if not _is_there(path):
        how = f"make it with `{made_by}`" if made_by.startswith("ttc ") else f"it {made_by}"
        raise CatalogError(f"data set {name}: {path} is missing; {how}.")
    return path


def _is_there(path: Path) -> bool:
    """Raises SampleFormatError where a shard of several is missing."""
    return any(file.is_file() for file in matching(path)) and bool(files_of(path))


def _weight_of(text: str, name: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise CatalogError(f"--ds {text!r}: weight {number!r} of {name} is not a number above 0, as in {name}:60.")
    return weight


def _read_entry(path: Path, name: str, entry: Any) -> DatasetSpec:
    """One TOML table; keys that are missing keep those of an entry with the same name."""
    in_toml: dict[Any, Any] = {str: str, float: (int, float)}  # lists stand for tuples
    types = {key: in_toml.get(besides_none(kind), list) for key, kind in typing.get_type_hints(DatasetSpec).items()}
    if not isinstance(entry, dict):
        raise CatalogError(f'{path}: {name} must be a table, such as [{name}] with file = "my.h5".')
    for key, value in entry.items():
        if key not in types:
            raise CatalogError(f"{path}: [{name}] has unknown key {key!r}; known are {', '.join(types)}.")
        if not isinstance(value, types[key]) or isinstance(value, bool):
            raise CatalogError(f"{path}: [{name}] {key} = {value!r} has the wrong type.")
    for word in entry.get("labels", ()):
        if not isinstance(word, str) or word not in LABEL_SETS:
            known = ", ".join(closest_first(str(word), list(LABEL_SETS)))
            raise CatalogError(f"{path}: [{name}] labels has {word!r}; choose among {known}.")
    if "weight" in entry and not 0 < entry["weight"] < math.inf:
        raise CatalogError(f"{path}: [{name}] weight = {entry['weight']!r}, expected a number above 0.")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    for key in ("rows", "validation_rows"):
        if key in values:
            values[key] = _row_range(path, name, key, values[key])
    if values.get("labels") == ():
        known = ", ".join(LABEL_SETS)
        raise CatalogError(f"{path}: [{name}] labels is empty, so that it would train nothing; choose among {known}.")
    if name in DATASETS:
        return dataclasses.replace(DATASETS[name], **values)
    missing = [key for key in ("file", "labels") if key not in values]
    if missing:
        raise CatalogError(f"{path}: [{name}] lacks {missing[0]}.")
    defaults: dict[str, Any] = {"weight": 1_000.0, "made_by": f"is named in {path}"}
    return DatasetSpec(**(defaults | values))


def _row_range(path: Path, name: str, key: str, value: tuple) -> Rows:
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value)
    if not whole or len(value) not in (1, 2) or (len(value) == 2 and value[1] <= value[0]):
        raise CatalogError(f"{path}: [{name}] {key} = {list(value)}, expected [first] or [first, after_last].")
    return (value[0], value[1] if len(value) == 2 else None)
