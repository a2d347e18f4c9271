"""What a training uses of its machine, read in less than a millisecond."""

import contextlib

import psutil
import pynvml

__all__ = ["Usage"]


class Usage:
    """Samples of what this process uses.

    Args:
        device: Where it computes, as torch names it, such as "cpu" or "cuda:0".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only starts the clock

    def device_name(self) -> str:
        """Return the device, of a GPU with its model, such as "cuda:0 (NVIDIA H100)"."""
        if not self._device.startswith("cuda"):
            return self._device
        import torch

        return f"{self._device} ({torch.cuda.get_device_name(self._device)})"

    def sample(self) -> dict[str, float]:
        """Return the usage by the name of its metric.

        `system/cpu_percent` is the mean since the sample before, 100 a core; memory is what is
        held now; `system/gpu_percent`, absent if the driver does not tell, is of the whole GPU.
        """
        used = {
            "system/cpu_percent": self._process.cpu_percent(),
            "system/memory_mb": self._process.memory_info().rss / 1e6,
        }
        if self._device.startswith("cuda"):
            import torch

            used["system/gpu_memory_mb"] = torch.cuda.memory_reserved(self._device) / 1e6
            # torch says RuntimeError of a part of a GPU (MIG), of which the driver tells nothing.
            with contextlib.suppress(pynvml.NVMLError, RuntimeError):
                used["system/gpu_percent"] = float(torch.cuda.utilization(self._device))
        return used
