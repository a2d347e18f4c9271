"""What a training uses of its machine, read in less than a millisecond."""

import contextlib
import ctypes
from typing import Any

import psutil

__all__ = ["Usage"]


class Usage:
    """Samples of what this process uses.

    Args:
        device: Where it computes, as torch names it, such as "cpu" or "cuda:0".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._gpu = _Gpu(device) if device.startswith("cuda") else None
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only starts the clock

    def sample(self) -> dict[str, float]:
        """Return the usage by the name of its metric.

        `system/cpu_percent` is the mean since the sample before, 100 a core; memory is what is
        held now; `system/gpu_percent`, absent if the driver does not tell, is of the whole GPU.
        """
        used = {
            "system/cpu_percent": self._process.cpu_percent(),
            "system/memory_mb": self._process.memory_info().rss / 1e6,
        }
        return used | self._gpu.sample() if self._gpu else used


class _Utilization(ctypes.Structure):
    """`nvmlUtilization_t` of the driver's library."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Gpu:
    def __init__(self, device: str) -> None:
        import torch

        self._cuda, self._device = torch.cuda, device
        self._handle = ctypes.c_void_p()
        self._library: Any = None
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
        with contextlib.suppress(OSError):
            library = ctypes.CDLL("libnvidia-ml.so.1")
            library.nvmlInit_v2()
            if library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(self._handle)) == 0:
                self._library = library

    def sample(self) -> dict[str, float]:
        used = {"system/gpu_memory_mb": self._cuda.memory_reserved(self._device) / 1e6}
        rates = _Utilization()
        if self._library and not self._library.nvmlDeviceGetUtilizationRates(
            self._handle, ctypes.byref(rates)
        ):
            used["system/gpu_percent"] = float(rates.gpu)
        return used
