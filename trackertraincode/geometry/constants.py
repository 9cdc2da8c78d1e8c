"""Constants of formulas as tensors, sent to each device once: a copy from ordinary memory makes a GPU wait each step."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n,) not to be changed in place."""
    with torch.inference_mode(False):  # it may be needed for gradients later
        return torch.tensor(values, device=device, dtype=dtype)
