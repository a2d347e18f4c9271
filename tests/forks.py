"""Python programs as forks of a process that has done their imports, which take most of their time.

A program gets arguments, folder, environment and output as it would in a process of its own, and so
do the scripts and modules that it starts. That Snakemake comes to the same bytes by itself is for
`test_a_kill_of_snakemake_changes_no_byte_of_the_results`.
"""

import gc
import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

__all__ = ["CONTEXT", "run_python"]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "snakemake.cli",
        "snakemake.script",
        "dgmpipe.evaluation.differences",
        "dgmpipe.evaluation.energy_report",
        "dgmpipe.evaluation.evidence",
        "dgmpipe.evaluation.flow_report",
        "dgmpipe.evaluation.latent",
        "dgmpipe.evaluation.quality_report",
        "dgmpipe.evaluation.studies",
        "dgmpipe.evaluation.tables",
        "dgmpipe.figures.figure_11",
        "dgmpipe.models",
        "dgmpipe.pages.report",
        "dgmpipe.tracking.mlflow_copy",
        "dgmpipe.tracking.runs",
        "dgmpipe.training.run",
        "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_pdf",
        "mlflow.server",
    ]
)


_SCRIPTS = ".snakemake/scripts/"


def run_python(
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    input: str = "",
    timeout: float,
) -> subprocess.CompletedProcess:
    """Run `python -m module ...` or `python script ...` to its end, as `subprocess.run` would.

    Raises:
        TimeoutError: If it has not ended after so many seconds.
    """
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, name) for name in ("stdin", "stdout", "stderr")]
        for stream, text in zip(streams, (input, "", ""), strict=True):
            stream.write_text(text, encoding="utf-8")
        given = (arguments, str(folder), dict(environment), list(map(str, streams)))
        process = CONTEXT.Process(target=_begin, args=given)
        process.start()
        process.join(timeout)
        said = [path.read_text(encoding="utf-8", errors="replace") for path in streams[1:]]
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{arguments} takes more than {timeout} s: {said[1]}")
        return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _begin(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]
) -> NoReturn:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_APPEND | (os.O_WRONLY if number else os.O_RDONLY)), number)
    os.chdir(folder)
    subprocess.Popen = _Popen
    _become(arguments, environment)


class _Popen(subprocess.Popen):
    """Starts scripts and this package's modules as forks, and everything else as it is."""

    def __init__(self, args, *others, env=None, preexec_fn=None, **options) -> None:
        arguments = _arguments(args)
        if arguments:

            def preexec_fn() -> NoReturn:
                # A program that is started has no files of who started it; with them goes the pipe
                # that says that it has.
                os.closerange(3, 4096)
                _become(arguments, os.environ if env is None else env)

        super().__init__(args, *others, env=env, preexec_fn=preexec_fn, **options)


def _arguments(command: object) -> list[str]:
    """Return the arguments of a command that starts a script or module to fork, or none."""
    if isinstance(command, str):  # as Snakemake writes what it gives to bash
        command = (
            shlex.split(command.removeprefix("set -euo pipefail;")) if _SCRIPTS in command else []
        )
    words = list(map(str, command)) if isinstance(command, list | tuple) else []
    if words[:1] != [sys.executable]:
        return []
    is_ours = _SCRIPTS in words[1] or (words[1] == "-m" and words[2].startswith("dgmpipe."))
    return words[1:] if is_ours else []


def _become(arguments: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Be a Python that was started with these arguments, and end."""
    gc.freeze()  # a collection would copy every page of what was imported
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
        signal.set_wakeup_fd(-1)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False)
            for number, mode in enumerate("rww")
        )
        _set_environment(dict(environment))
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _set_environment(environment: dict[str, str]) -> None:
    """Set the environment; where it has another PYTHONPATH, this package is imported anew."""
    before = os.environ.get("PYTHONPATH")
    os.environ.clear()
    os.environ.update(environment)
    if (paths := environment.get("PYTHONPATH")) and paths != before:
        sys.path[:0] = paths.split(os.pathsep)
        for name in [name for name in sys.modules if name.split(".")[0] == "dgmpipe"]:
            del sys.modules[name]
