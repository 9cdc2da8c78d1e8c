"""Numbers that come from a device while it goes on computing."""

import torch
from torch import Tensor


class Arriving:
    """A number that is on its way to the host."""

    def __init__(self, value: Tensor) -> None:
        """value: (), of any type."""
        self._event = None
        if value.device.type == "cuda":
            value = value.to("cpu", non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        self._value = value

    def there(self) -> bool:
        """Whether it can be read without waiting; on MPS, nobody can tell."""
        return self._event is None or bool(self._event.query())

    def read(self) -> float:
        """Waits where it isn't there yet."""
        if self._event is not None:
            self._event.synchronize()
        return float(self._value)
