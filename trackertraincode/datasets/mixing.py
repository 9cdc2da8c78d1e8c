"""Which row of which data set comes when: a pure function of seed and epoch, so that any epoch can be repeated.

Member a, b, … --epoch_plan(seed, epoch)--> (S, 2) data set and row of each of the epoch's samples, shuffled
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trackertraincode.datasets.catalog import Chosen, Rows
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.groups import connected
from trackertraincode.datasets.permutation import permuted
from trackertraincode.errors import CatalogError

COUNTS, ORDER, PASSES = range(3)  # what a seed is used for
CHECKED_AT_ONCE = 2**16  # rows that are looked through for labels


@dataclass(frozen=True, eq=False)
class Member:
    """One data set's part in a mixture."""

    name: str
    dataset: Hdf5PoseDataset
    rows: np.ndarray  # (n,) int64, rows of the file that may be taken
    weight: float  # sampling frequency, relative to the other members
    labels: tuple[str, ...]  # attributes that are trained on
    depth_known: bool = True  # False: z of landmarks isn't trained
    loss_weight: float = 1.0  # factor of the losses of each sample
    number: int | None = None  # of the data set whose offsets are used; None: the place among the members

    def has(self, name: str) -> bool:
        """Whether a label is trained, and some of the rows have it."""
        if name not in self.labels or name not in self.dataset.labels:
            return False
        parts = np.array_split(self.rows, -(-len(self.rows) // CHECKED_AT_ONCE) or 1)
        return any(bool(np.isfinite(self.dataset.label(name, rows)).any()) for rows in parts)

    @property
    def has_labels(self) -> bool:
        """Whether there is anything to learn from these rows."""
        return any(map(self.has, self.labels))


def open_mixture(
    mixture: Sequence[Chosen], fraction: float, *, ds_weighting: bool = False
) -> tuple[list[Member], list[Member]]:
    """Members to train and to validate on, without common persons or sequences.

    fraction: share of each set that validates where the catalog names nothing else; 0 for none. ds_weighting: sample
    the sets evenly and scale the losses by their weights (mean 1) instead. Raises CatalogError, SampleFormatError.
    """
    training, validation = [], []
    mean_weight = sum(chosen.weight for chosen in mixture) / len(mixture)
    for chosen in mixture:
        dataset, spec = Hdf5PoseDataset(chosen.path), chosen.spec
        rows = with_faces(dataset, _slice(chosen.name, dataset, spec.rows))
        held_out: Hdf5PoseDataset = dataset
        if spec.validation_file is not None:
            rest, kept = rows, np.arange(0)
            if fraction:
                held_out = Hdf5PoseDataset(chosen.validation_path)
                kept = with_faces(held_out, np.arange(len(held_out)))
        elif spec.validation_rows is not None:
            held = _slice(chosen.name, dataset, spec.validation_rows)
            kept = with_faces(dataset, held) if fraction else np.arange(0)
            rest = np.setdiff1d(rows, held)
        else:
            rest, kept = split_rows(dataset, rows, fraction)
        if not len(rest):
            raise CatalogError(f"data set {chosen.name}: {dataset.path} has no rows with a face left to train on.")
        sampling, factor = (1.0, chosen.weight / mean_weight) if ds_weighting else (chosen.weight, 1.0)
        training.append(_member(chosen, dataset, rest, sampling, factor))
        if len(kept):
            validation.append(_member(chosen, held_out, kept, sampling, factor))
    return training, validation


def open_whole(mixture: Sequence[Chosen]) -> list[Member]:
    """Sets to validate on: the rows, or the file, that the catalog names for it, else all rows.

    Raises CatalogError, SampleFormatError.
    """
    members = []
    for chosen in mixture:
        dataset = Hdf5PoseDataset(chosen.path if chosen.spec.validation_file is None else chosen.validation_path)
        rows = with_faces(dataset, _slice(chosen.name, dataset, chosen.spec.validation_rows or (0, None)))
        if not len(rows):
            raise CatalogError(f"data set {chosen.name}: {dataset.path} has no rows with a face to validate on.")
        members.append(_member(chosen, dataset, rows, chosen.weight, 1.0))
    return members


def _member(chosen: Chosen, dataset: Hdf5PoseDataset, rows: np.ndarray, weight: float, factor: float) -> Member:
    deep = "landmarks_xy" not in chosen.spec.labels
    return Member(chosen.name, dataset, rows, weight, chosen.spec.attributes, deep, factor)


def with_faces(dataset: Hdf5PoseDataset, rows: np.ndarray) -> np.ndarray:
    """Rows (n,) without those that say that they show no face, whose box is just a place."""
    return rows[dataset.label("has_face", rows)] if "has_face" in dataset.labels else rows


def split_rows(dataset: Hdf5PoseDataset, rows: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """rows (n,) -> (those to train on, those to validate on); a person or sequence is never in both.

    The groups that validate are spread evenly over the file and chosen by nothing random, so that every run of every
    version validates on the same ones. At least one group stays on each side.
    """
    if fraction == 0:
        return rows, rows[:0]
    if dataset.sequence_starts is None and "individual" not in dataset.labels:  # each row is a group
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        inside = np.zeros(len(rows), bool)
        inside[((np.arange(count) + 0.5) * len(rows) / max(1, count)).astype(int)] = True
        return rows[~inside], rows[inside]
    groups = _groups(dataset)[rows]
    names, first = np.unique(groups, return_index=True)
    names = names[np.argsort(first)]
    if len(names) < 2:
        return rows, rows[:0]
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    chosen = names[((np.arange(count) + 0.5) * len(names) / count).astype(int)]
    inside = np.isin(groups, chosen)
    return rows[~inside], rows[inside]


def _groups(dataset: Hdf5PoseDataset) -> np.ndarray:
    """(N,) number of what must stay together."""
    rows, none = np.arange(len(dataset)), np.full(len(dataset), -1)
    starts, persons = dataset.sequence_starts, dataset.labels.get("individual")
    sequences = none if starts is None else np.searchsorted(starts, rows, side="right")
    return connected(sequences, none if persons is None else persons)


def _slice(name: str, dataset: Hdf5PoseDataset, rows: Rows) -> np.ndarray:
    first, last = rows
    if first >= len(dataset):
        raise CatalogError(
            f"data set {name}: {dataset.path} has {len(dataset)} rows, but rows from {first} on are asked for; convert "
            "the whole archive, or name other rows in a catalog file."
        )
    return np.arange(len(dataset))[first:last]


def epoch_plan(members: Sequence[Member], samples: int, seed: int, epoch: int) -> np.ndarray:
    """(samples, 2) int64: member and row of its file, in the order in which they come.

    Each member comes floor or ceil of its exact share, with the exact share as expectation; a member's rows come in
    random order, each once before any comes again, over the borders of epochs. The cost doesn't grow with the rows.
    """
    counts = epoch_counts([m.weight for m in members], samples, seed, epoch)
    plan = []
    for index, (member, count, before) in enumerate(zip(members, counts[-1], counts[:-1].sum(0))):
        rows = _next_rows(member.rows, seed, index, int(before), int(count))
        plan.append(np.stack([np.full(len(rows), index), rows], axis=1))
    return np.concatenate(plan)[permuted(np.arange(samples), samples, [seed, ORDER, epoch])]


def epoch_counts(weights: Sequence[float], samples: int, seed: int, epoch: int) -> np.ndarray:
    """(epoch + 1, members): how many samples each gave in the epochs up to this one. Rows sum to `samples`.

    Systematic sampling: `samples` evenly spaced points with one random shift per epoch fall into the members' shares.
    """
    shares = np.cumsum(np.asarray(weights, np.float64)) / np.sum(weights)
    shares[-1] = 1.0
    shifts = np.random.default_rng([seed, COUNTS]).random(epoch + 1)
    upper = np.ceil(shares[None] * samples - shifts[:, None])
    upper[:, -1] = samples
    return np.diff(np.clip(upper, 0, samples), axis=1, prepend=0).astype(np.int64)


def _next_rows(rows: np.ndarray, seed: int, member: int, before: int, count: int) -> np.ndarray:
    """(count,): entries before … before + count of the endless sequence of permutations of `rows`."""
    parts = [rows[:0]]
    while count > 0:
        number, start = divmod(before, len(rows))
        places = np.arange(start, min(start + count, len(rows)))
        parts.append(rows[permuted(places, len(rows), [seed, PASSES, member, number])])
        before, count = before + len(places), count - len(places)
    return np.concatenate(parts)
