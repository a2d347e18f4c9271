"""Jobs as forks of one process, so that what many of them import is imported once.

The workflow starts the process before its first job. It imports nothing until a job asks it to call
a function; then it imports what the job names and calls the function in a fork. Where there is no
such process, a job calls its function by itself.
"""

import contextlib
import gc
import hashlib
import importlib
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from dgmpipe.jobs.job import job, settle

__all__ = ["run", "run_module", "start"]


def start(name: str) -> None:
    """Start the process, which ends when this one does.

    Args:
        name: What the jobs that it is for have in common, such as their tier.
    """
    if sys.platform != "linux":
        return  # elsewhere the libraries may not be forked once they are imported
    address = _address(name)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        Path(address).unlink(missing_ok=True)
        listener.bind(address)
        listener.listen(128)
        subprocess.Popen(
            [sys.executable, "-m", "dgmpipe.jobs.forks", str(os.getpid())],
            stdin=listener.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def run(
    name: str,
    function: str,
    arguments: Mapping[str, Any],
    *,
    imports: Sequence[str],
    log: str,
    threads: int,
) -> None:
    """Call a function as a job, in a fork if there is a process for it, and end as the job does.

    Args:
        name: As `start` has it.
        function: Module and name, such as "dgmpipe.figures.exhibit:make_exhibit".
        arguments: Its arguments by name.
        imports: Modules that it needs and that other jobs may need too.
        log: As `job` has it; likewise `threads`.
    """
    task = _Task(function, arguments, log, threads)
    status = _ask(name, imports, task)
    if status is None:
        task.run()
    else:
        sys.exit(status)


def run_module(
    name: str, module: str, arguments: Sequence[str], *, imports: Sequence[str], given: str
) -> str:
    """Run a module as a program, likewise, and return what it says on stderr.

    Args:
        name: As `start` has it.
        module: The module, with a function `main`.
        arguments: Words of its command line.
        imports: Modules that it needs and that others may need too.
        given: What it reads from stdin.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, log = Path(folder, "said"), Path(folder, "log")
        for path in (said, log):
            path.touch()  # for the case that the fork is killed
        call = {"module": module, "arguments": arguments, "given": given, "said": str(said)}
        task = _Task("dgmpipe.jobs.forks:_run_main", call, str(log), 1)
        if _ask(name, imports, task) is not None:
            print(said.read_text(encoding="utf-8"), end="", flush=True)
            return log.read_text(encoding="utf-8", errors="replace")
    command = [sys.executable, "-m", module, *arguments]
    ran = subprocess.run(
        command, input=given, stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    return ran.stderr


def _run_main(module: str, arguments: Sequence[str], given: str, said: str) -> None:
    sys.argv, sys.stdin = [module, *arguments], io.StringIO(given)
    with open(said, "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        importlib.import_module(module).main()


def _ask(name: str, imports: Sequence[str], task: "_Task") -> int | None:
    """Return how a task ended in a fork, or nothing if there is no process to fork it."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_address(name))
        except OSError:
            return None
        with contextlib.suppress(OSError), connection.makefile("rwb") as stream:
            pickle.dump((imports, task), stream)
            stream.flush()
            return int(stream.readline() or 1)  # a fork that was killed says nothing
        return 1


class _Task(NamedTuple):
    function: str
    arguments: Mapping[str, Any]
    log: str
    threads: int

    def run(self) -> None:
        with job(self.log, self.threads):
            from dgmpipe.files import load_function  # and numpy, for which who asks does not wait

            load_function(self.function)(**self.arguments)


def _address(name: str) -> str:
    """Return the path of a socket for one folder, one Python and one job of SLURM, if any.

    It is relative as sockets have short ones alone. A rule may have an environment of its own, and
    a job of SLURM has processors and memory of its own, on whatever machine.
    """
    own = f"{sys.executable} {os.environ.get('SLURM_JOB_ID', '')}"
    return f".snakemake/dgmpipe-{name}-{hashlib.sha256(own.encode()).hexdigest()[:8]}.socket"


def _serve(listener: socket.socket, parent: int) -> None:
    """Fork for every task that comes, while a process lives."""
    settle(threads=1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a fork
    listener.settimeout(0.2)
    while os.getppid() == parent:
        with contextlib.suppress(OSError, EOFError):  # nobody came, or is there any more
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                imports, task = pickle.load(stream)
                for module in imports:
                    with contextlib.suppress(Exception):  # which the fork will raise again
                        importlib.import_module(module)
                gc.freeze()  # or a collection in a fork copies every page of what was imported
                if os.fork() == 0:
                    listener.close()
                    _become(task, stream)


def _become(task: _Task, stream: io.BufferedRWPair) -> NoReturn:
    """Be a job, say how it ended and end; end as well if whoever asked for it does."""

    def watch() -> None:
        stream.read()
        os.kill(os.getpid(), signal.SIGTERM)

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.Thread(target=watch, daemon=True).start()
        task.run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        stream.write(f"{status}\n".encode())
        stream.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=sys.stdin.fileno()), int(sys.argv[1]))
