"""Batches: absent labels are NaN rows and count as absent."""

import pytest
import torch

from trackertraincode.sample.sample import (
    BATCH_LABELS,
    FIELDS,
    LABELS,
    Prediction,
    Sample,
    concatenate,
    concatenate_predictions,
    make_batch,
)


def some_batch(count: int = 3):
    rotation = torch.tensor([0.0, 0, 0, 1]).repeat(count, 1)
    rotation[1] = torch.nan
    return make_batch(torch.zeros(count, 1, 8, 8), torch.zeros(count).long(), torch.arange(count), rotation=rotation)


def test_a_label_is_present_where_it_is_finite() -> None:
    batch = some_batch()
    assert batch.present("rotation").tolist() == [True, False, True]
    assert not batch.present("landmarks").any()
    assert not batch.present("has_face").any()


def test_landmarks_without_depth_are_present() -> None:
    points = torch.zeros(2, 68, 3)
    points[..., 2] = torch.nan
    batch = make_batch(torch.zeros(2, 1, 8, 8), torch.zeros(2).long(), torch.arange(2), landmarks=points)
    assert batch.present("landmarks").all()


def test_selecting_and_concatenating_are_inverse() -> None:
    batch = some_batch(4)
    again = concatenate([batch.select(torch.tensor([0, 1])), batch.select(torch.tensor([2, 3]))])
    assert torch.equal(again.row, batch.row)
    assert torch.equal(again.present("rotation"), batch.present("rotation"))


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(TypeError, match="no such labels: smile"):
        make_batch(torch.zeros(1, 1, 8, 8), torch.zeros(1), torch.zeros(1), smile=torch.zeros(1))


def test_predictions_concatenate_what_they_know() -> None:
    one = Prediction(rotation=torch.zeros(2, 4), head=torch.zeros(2, 3))
    both = concatenate_predictions([one, one.select(torch.tensor([True, False]))])
    assert len(both) == 3
    assert both.landmarks is None


def test_every_batch_label_is_a_field_of_the_format_and_of_samples() -> None:
    for name, shape in BATCH_LABELS.items():
        assert LABELS[name].shape == shape
    for field in FIELDS.values():
        assert field.attribute in Sample.__dataclass_fields__
