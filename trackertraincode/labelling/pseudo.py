"""Labels that models give to faces which have none.

rows --read_rows--> samples with faces --answers, of every model--> consensus --> samples with labels and measures
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trackertraincode.conversion.run import Source
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.selection import optional_labels
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.geometry.boxes import CROP_FACTOR
from trackertraincode.labelling.answers import answers, check_different, models_of
from trackertraincode.labelling.consensus import consensus, try_models
from trackertraincode.labelling.rows import ITEMS_PER_TASK, is_faceless, read_rows, with_box, without_measures
from trackertraincode.sample.sample import Sample

GIVEN = ("rotation", "head", "landmarks", "shape")  # fields of Prediction that become labels; boxes say where to look
NO_SHAPE = "the models give none, or those of several face models"


@dataclass(frozen=True, kw_only=True)
class PseudoOptions:
    """What the command line says."""

    models: tuple[Path, ...]
    device: str = "cpu"
    factor: float = CROP_FACTOR
    replace: bool = False  # labels that are there
    limit: float | None = None  # degrees that models may differ by
    all_rows: bool = False  # none may be left out


@dataclass(frozen=True)
class Labelled:
    """One row, what models say of it and how much they differ."""

    sample: Sample
    labels: dict[str, Any]  # attribute of Sample -> array of its shape
    measures: dict[str, Any]  # attribute of Sample -> float


def make_source(path: Path, options: PseudoOptions) -> Source:
    """All rows of a file. Raises SampleFormatError, ModelFileError, and UserError for a model that is given twice."""
    check_different(options.models)
    trial, own = try_models([load_predictor(model, options.device) for model in options.models])
    given = [name for name in GIVEN if getattr(trial.mean, name) is not None]
    with Hdf5PoseDataset(path, labels=()) as dataset:
        kept = "shape" in dataset.fields and (own is None or not options.replace)
        there = dataset.face_model if kept else own
        if there != own and "shape" in given:
            given.remove("shape")
        optional = dict.fromkeys((*optional_labels(dataset), *given, *trial.measures))
        count = len(dataset)
    notes: tuple[str, ...] = ()
    if own is None:
        notes = (f"shape coefficients are left {'as they are' if kept else 'out'}: {NO_SHAPE}",)
    elif there != own:
        notes = (
            f"shape coefficients of {own} are left out: the file has those of {there} (--replace takes the new ones)",
        )
    return Source(
        items=range(count),
        prepare=partial(label_rows, path, options, own if there == own else None),
        convert=partial(finish, options),
        items_per_task=ITEMS_PER_TASK,
        face_model=there,
        optional=tuple(optional),
        notes=notes,
    )


def label_rows(
    path: Path, options: PseudoOptions, face_model: str | None, rows: Sequence[int]
) -> list[Labelled | ArchiveError]:
    """What `finish` takes, per row."""
    found: list[Any] = [
        Labelled(item, {}, {})  # which is right as it is
        if isinstance(item, Sample) and is_faceless(item)
        else with_box(path, item)
        for item in read_rows(path, rows)
    ]
    places = [i for i, item in enumerate(found) if isinstance(item, Sample)]
    if places:
        samples = [found[i] for i in places]
        boxes = torch.from_numpy(np.stack([s.face_box for s in samples])).float()
        images = [s.image for s in samples]
        said = consensus(answers(models_of(options.models, options.device), images, boxes, options.factor), face_model)
        labels = {n: v.numpy() for n in GIVEN if (v := getattr(said.mean, n)) is not None}
        for i, place in enumerate(places):
            measures = {name: float(values[i]) for name, values in said.measures.items()}
            found[place] = Labelled(samples[i], {name: values[i] for name, values in labels.items()}, measures)
    return found


def finish(options: PseudoOptions, item: Labelled | ArchiveError) -> list[Sample]:
    """The sample with its new labels. Raises ArchiveError where it can't have them, or models differ too much.

    Raises UserError instead, which ends the run, where no row may be left out.
    """
    if isinstance(item, ArchiveError):
        if options.all_rows:
            raise UserError(f"{item} The file itself would lose this row; name an --output, which leaves it out.")
        raise item
    spread = item.measures.get("rotation_spread", 0.0)
    if options.limit is not None and spread > options.limit:
        raise ArchiveError(
            f"{item.sample.name}: the models differ by {spread:.1f} degrees, more than {options.limit:g}."
        )
    return [replace(item.sample, **_new(item, options.replace))]


def _new(item: Labelled, anyway: bool) -> dict[str, Any]:
    """Those of the labels that the sample lacks, and measures; of labels that stay, the measures stay, too.

    anyway: also labels that it has.
    """
    sample = item.sample
    labels = {name: value for name, value in item.labels.items() if anyway or getattr(sample, name) is None}
    measures = {
        name: value
        for name, value in item.measures.items()
        if name.partition("_")[0] in labels or getattr(sample, name) is None
    }
    return {**without_measures(labels), **measures, **labels}
