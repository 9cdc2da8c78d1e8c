"""Plots show names as they are, without a word."""

import cv2
import numpy as np
import pytest

from trackertraincode.evaluation.plots import figure_png, plot_label, pyplot


@pytest.mark.parametrize("name", ["a$b_{x^", "$$", "\x1b[31m", "模型"])
def test_any_name_of_a_model_can_stand_in_a_plot(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    figure, axis = pyplot().subplots()
    axis.set_title(plot_label(name))
    data = figure_png(figure)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    assert capfd.readouterr().err == ""
