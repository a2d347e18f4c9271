"""A few of the kills that `make torture` makes many of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slowest
def test_killed_trainings_come_to_the_same_bytes(root: Path) -> None:
    command = [sys.executable, root / "tests/torture.py", "--kills", "9", "--seed", "1"]
    run = subprocess.run(
        [*command, "--models", "realnvp", "vae", "wgan_vae"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("identical bytes") == 3
    tally = re.search(
        r"^9 kills, (\d+) continuations, every result identical to the byte$", run.stdout, re.M
    )
    assert tally, run.stdout
    assert int(tally[1]) >= 3, "kills came before there was anything to continue from"
