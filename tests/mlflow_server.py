"""MLflow on the loopback, as `make` starts it for a folder, or for a cluster with PostgreSQL."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from daemons import daemon, free_port, wait_for, works

__all__ = ["mlflow_server", "mlflow_server_on_sqlite", "mlflow_ui", "why_no_server"]

ROOT = Path(__file__).parent.parent
PASSWORD = "not to be seen in a list of processes"


def _program(name: str) -> str | None:
    # Debian keeps what administers a database out of the way.
    places = [os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    return shutil.which(name, path=os.pathsep.join(places))


def why_no_server() -> str | None:
    """Return what is missing for a PostgreSQL on this machine, or nothing."""
    missing = [name for name in ("initdb", "postgres", "createdb") if _program(name) is None]
    return f"not installed: {', '.join(missing)} (Debian: postgresql)" if missing else None


@contextlib.contextmanager
def mlflow_server() -> Iterator[str]:
    """Run a server within the block, on a fresh database, and give its address."""
    with contextlib.ExitStack() as stack:
        # pytest's folders are not open to the user that PostgreSQL insists on in place of root.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dgmpipe-server-")))
        passwords = folder / "pgpass"
        database = _postgresql(stack, folder, passwords)
        variables = [f"STORE={database}", f"ARTIFACTS={folder}/artifacts"]
        environment = os.environ | {"PGPASSFILE": str(passwords), "MLFLOW_WORKERS": "2"}
        yield _make(stack, "server", variables, folder, cwd=ROOT, env=environment)


@contextlib.contextmanager
def mlflow_server_on_sqlite(
    folder: Path, *variables: str
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Run `make server` in a folder within the block; give its address and what it says."""
    (folder / "results").mkdir()
    with contextlib.ExitStack() as stack:
        environment = os.environ | {"MLFLOW_WORKERS": "1"}
        uri = _make(stack, "server", [*variables], folder, cwd=folder, env=environment)
        yield uri, lambda: (folder / "server.log").read_text(encoding="utf-8")


@contextlib.contextmanager
def mlflow_ui(folder: Path) -> Iterator[str]:
    """Show the runs under results/ in a folder within the block, and give the address."""
    with contextlib.ExitStack() as stack:
        environment = os.environ | {"MLFLOW_WORKERS": "1"}  # the usual four are slow to start
        yield _make(stack, "ui", [], folder, cwd=folder, env=environment)


def _make(
    stack: contextlib.ExitStack, target: str, variables: list[str], folder: Path, **options: Any
) -> str:
    """Start what a target of the Makefile serves, and return its address once it answers."""
    port, installed = free_port(), folder / "installed"
    installed.touch()
    # The environment at hand in place of .venv, which is not made anew.
    variables = [*variables, f"BIN={Path(sys.executable).parent}", f"INSTALLED={installed}"]
    command = ["make", f"--makefile={ROOT}/Makefile", f"--old-file={installed}", target]
    command += [f"PORT={port}", *variables]
    server = daemon(stack, command, folder / "server.log", **options)

    def answers() -> bool:
        if server.poll() is not None:
            raise RuntimeError((folder / "server.log").read_text(encoding="utf-8"))
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_for(answers, "MLflow's server")
    return f"http://127.0.0.1:{port}"


def _postgresql(stack: contextlib.ExitStack, folder: Path, passwords: Path) -> str:
    """Start PostgreSQL with a database, write the password for it, and return its address."""
    port, data, secret = free_port(), folder / "data", folder / "secret"
    secret.write_text(PASSWORD, encoding="utf-8")
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        for path in (folder, secret):
            shutil.chown(path, user, user)
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
    subprocess.run(
        [_program("initdb"), *options, "-D", data, "--username=mlflow", "--pwfile", secret],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    command = [_program("postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    # SIGINT closes the connections of its clients, SIGTERM waits for them.
    daemon(
        stack,
        [*command, "-c", "listen_addresses=127.0.0.1"],
        folder / "postgres.log",
        user=user,
        stop=signal.SIGINT,
        cwd=folder,
    )
    passwords.write_text(f"127.0.0.1:{port}:*:mlflow:{PASSWORD}\n", encoding="utf-8")
    passwords.chmod(0o600)
    server = ["--host=127.0.0.1", f"--port={port}"]
    wait_for(lambda: works(_program("pg_isready"), *server), "PostgreSQL")
    subprocess.run(
        [_program("createdb"), *server, "--username=mlflow", "mlflow"],
        check=True,
        env=os.environ | {"PGPASSFILE": str(passwords)},
    )
    return f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
