"""Where the tensors live."""

import torch

from dgmpipe.errors import UserError

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """Return the device of the config's `device`; `auto` is CUDA where it works, else the CPU.

    Raises:
        UserError: If the device is unknown or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' in the config cannot be used on this machine;"
            " choose auto, cpu, cuda or cuda:N"
        ) from error
    return device
