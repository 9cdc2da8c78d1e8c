"""Every few epochs, what the network says of the first validation images, drawn on them."""

from pathlib import Path
from typing import Any

import lightning as L
import torch

from trackertraincode.augmentation.loader import checked
from trackertraincode.training.outdir import IMAGES
from trackertraincode.visualize import contact_sheet, draw_batch, write_image

SHOWN, COLUMNS = 16, 4


class PredictionImages(L.Callback):
    """Writes OUTDIR/images/epoch_0010.png: truth in green, prediction in orange."""

    def __init__(self, outdir: Path, every: int) -> None:
        """every: epochs between images; 0 for none."""
        self._folder, self._every = outdir / IMAGES, every

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        done = trainer.current_epoch + 1
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (trainer.is_global_zero and self._every and done % self._every == 0 and data.members.validation):
            return
        batch = checked(data.validation_batches()[0]).unpack()
        batch = batch.select(torch.arange(min(SHOWN, len(batch))))
        prediction = pl_module.predict(batch.to(pl_module.device)).to("cpu")
        write_image(self._folder / f"epoch_{done:04d}.png", contact_sheet(draw_batch(batch, prediction), COLUMNS))
