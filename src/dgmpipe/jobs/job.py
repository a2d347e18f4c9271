"""The frame of every job of the workflow."""

import contextlib
import ctypes
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from dgmpipe.errors import Interrupted, UserError
from dgmpipe.jobs.progress import progress_path, reported

__all__ = ["job", "keep_freed_memory", "settle"]

# What the machine refuses, the user can fix, as a mistake in a config.
_REFUSALS = {
    **dict.fromkeys([errno.ENOSPC, errno.EDQUOT], "make room"),
    **dict.fromkeys([errno.EROFS, errno.EACCES, errno.EPERM], "allow it to be read and written"),
}
# Of malloc.h: from what size on memory comes from the system, and how much free memory is kept.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
# Variables that change what the numerical libraries compute, in which precision or order. A result
# is to be one of config, seed, code and machine, whatever a shell or a site has set.
_WITHOUT_EFFECT = (
    "ATEN_CPU_CAPABILITY",  # which instructions torch uses
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_DEFAULT_FPMATH_MODE",  # bfloat16 in place of float32
    "DNNL_MAX_CPU_ISA",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_FORCE_REDUCTION",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DOMAIN_NUM_THREADS",  # these two undo MKL_NUM_THREADS
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",  # these three undo OMP_NUM_THREADS
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_LINALG_PREFER_CUSOLVER",
)
_TERMINATED = 143  # 128 + SIGTERM, as a shell reports it


@contextlib.contextmanager
def job(log: str, threads: int) -> Iterator[None]:
    """Run a job's work with its output in its log and its number of threads.

    Variables of the environment that change what numerical libraries compute have no effect, the
    one that chooses matplotlib's backend neither: what is to be imported reads them afterwards.

    A `UserError` ends the job with its sentence and no traceback. After SIGTERM, which a cluster
    sends before it takes a node back, a training writes a checkpoint and the job ends; so it does
    when the Snakemake that started it was killed.

    Args:
        log: File that takes everything that the job prints, also what compiled code prints.
        threads: How many threads the numerical libraries may use.
    """
    ignored = settle(threads)
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in the C locale these would take ASCII alone
            stream.reconfigure(encoding="utf-8")
    if ignored:
        print(f"without effect, as they change results: {', '.join(ignored)}", file=sys.stderr)
    _end_with_parent()
    keep_freed_memory()
    try:
        with reported(progress_path(log)):
            yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(_TERMINATED)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        remedy = f"{_REFUSALS[error.errno]} and run the same command again"
        print(f"error: {error.strerror}: {error.filename or ''}; {remedy}", file=sys.stderr)
        sys.exit(1)


def settle(threads: int) -> list[str]:
    """Set the environment as a job's imports are to find it, and return what had no business there.

    Args:
        threads: How many threads the numerical libraries may use.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["MPLBACKEND"] = "agg"
    return [name for name in _WITHOUT_EFFECT if os.environ.pop(name, None) is not None]


def keep_freed_memory() -> None:
    """Let this process use freed memory again rather than give it back, where the C library can.

    A training step frees and allocates large tensors by the dozen. With glibc's defaults the system
    fills the pages of each with zeros first, which is 8% of a step of the VAE.
    """
    with contextlib.suppress(AttributeError):  # glibc alone has it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _end_with_parent() -> None:
    """Send this process SIGTERM when its parent has exited, as nobody waits for it then."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
