"""A SLURM cluster on this one machine: a node of CPUs, and one with two GPUs that are not there.

Its accounts are in a MariaDB of its own. It needs root and Debian's packages `slurm-wlm`,
`slurmdbd`, `mariadb-server` and `munge`, and neither systemd nor a network.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from daemons import daemon, free_port, wait_for, works

__all__ = ["cluster", "of_jobs", "why_no_cluster"]

PROGRAMS = (
    *("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel"),
    *("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb"),
)
NODES = ("cpu1", "gpu1")

# SLURM's job steps forget SLURM_CONF: only the default place is found everywhere.
_PLACE = Path("/etc/slurm")

_MARK = "# Of a cluster of dgmpipe's tests.\n"

# GPUs must be files. These are there on every machine.
_GRES = f"""\
{_MARK}AutoDetect=off
NodeName=gpu1 Name=gpu Type=fake File=/dev/null
NodeName=gpu1 Name=gpu Type=fake File=/dev/zero
"""
_CONFIG = """\
{mark}ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MailProg=/bin/true
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
# From SIGTERM to SIGKILL: long enough for a checkpoint.
KillWait=30
# Finished jobs stay in sight until the test has looked at them.
MinJobAge=7200
PriorityType=priority/basic
# The nodes may claim more than this machine has.
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs=8 RealMemory=32000
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 Gres=gpu:fake:2
PartitionName=cpu Nodes=cpu1,gpu1 Default=YES MaxTime=1-00:00:00 DefaultTime=10 State=UP
"""

_ACCOUNTS = """\
{mark}AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def why_no_cluster() -> str | None:
    """Return what is missing for a cluster on this machine, or nothing."""
    if os.geteuid() != 0:
        return "a SLURM of one's own needs root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return (
            f"not installed: {', '.join(missing)} "
            "(Debian: slurm-wlm, slurmdbd, mariadb-server and munge)"
        )
    _remove_leftovers()
    if os.path.lexists(_PLACE / "slurm.conf"):
        return f"this machine has a SLURM of its own: {_PLACE / 'slurm.conf'}"
    return None


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Run a cluster within the block, with state and logs in a folder; nothing of it stays."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    port = free_port()
    files = {
        "slurm.conf": _CONFIG.format(mark=_MARK, host=host, folder=folder),
        "slurmdbd.conf": _ACCOUNTS.format(mark=_MARK, folder=folder, port=port),
        "gres.conf": _GRES,
    }
    with contextlib.ExitStack() as stack:
        stack.callback(_kill_jobs)

        def start(program: str, *arguments: str, user: str | None = None) -> None:
            command = [shutil.which(program, path=_path()), *arguments]
            log = folder / f"{'-'.join((program, *arguments))}.out"
            daemon(stack, command, log, user=user)

        _PLACE.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
            (folder / name).chmod(0o600)  # slurmdbd's holds a password
            (_PLACE / name).symlink_to(folder / name)
            stack.callback((_PLACE / name).unlink)
        if not works("munge", "--no-input"):
            shared = Path("/run/munge")
            shared.mkdir(exist_ok=True)
            shutil.chown(shared, "munge", "munge")
            start("munged", "--foreground", user="munge")
            wait_for(lambda: works("munge", "--no-input"), "munged")
        _mariadb(stack, port)
        start("slurmdbd", "-D")
        wait_for(lambda: works("sacctmgr", "--immediate", "list", "cluster"), "slurmdbd")
        start("slurmctld", "-D")
        for node in NODES:
            start("slurmd", "-D", "-N", node)
        wait_for(_all_idle, "SLURM")
        yield


def _mariadb(stack: contextlib.ExitStack, port: int) -> None:
    """Start a MariaDB with a database of slurmdbd, on the loopback."""
    # pytest's folders are not open to the user that MariaDB insists on in place of root.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dgmpipe-accounts-")))
    shutil.chown(folder, "mysql", "mysql")
    options = ["--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", "--user=mysql"]
    install = shutil.which("mariadb-install-db", path=_path())
    subprocess.run([install, *options, "--skip-test-db"], check=True, capture_output=True)
    server = [shutil.which("mariadbd", path=_path()), *options]
    server += ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/socket"]
    daemon(stack, [*server, f"--pid-file={folder}/pid"], folder / "mariadbd.out")
    client = ["mariadb", "--no-defaults", f"--socket={folder}/socket", "--user=root", "--execute"]
    wait_for(lambda: works(*client, "SELECT 1"), "MariaDB")
    created = (
        "CREATE DATABASE slurm;"
        "CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';"
        "GRANT ALL ON slurm.* TO slurm@'127.0.0.1';"
    )
    subprocess.run([*client, created], check=True)


def of_jobs() -> list[psutil.Process]:
    """Return the processes of jobs on the cluster's nodes, those of whom SLURM lost sight too."""
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("SLURMD_NODENAME") in NODES
    ]


def _kill_jobs() -> None:
    """End what SLURM, which gives a job half a minute to end by itself, did not live to end."""
    for process in of_jobs():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(of_jobs(), timeout=10)


def _remove_leftovers() -> None:
    """Remove the links to a cluster of ours that was killed before it could."""
    if not works("scontrol", "ping"):
        for name in ("slurm.conf", "slurmdbd.conf", "gres.conf"):
            link = _PLACE / name
            if link.is_symlink() and (
                not link.exists() or link.read_text(encoding="utf-8").startswith(_MARK)
            ):
                link.unlink()


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _all_idle() -> bool:
    states = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format", "%T"], capture_output=True, encoding="utf-8"
    )
    return states.stdout.split() == ["idle"] * len(NODES)
