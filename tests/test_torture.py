"""A few of the kills that `make torture` makes many of."""

import subprocess
import sys
from pathlib import Path


def test_killed_trainings_come_to_the_same_bytes(root: Path) -> None:
    command = [sys.executable, root / "tests/torture.py", "--kills", "9", "--seed", "1"]
    run = subprocess.run(
        [*command, "--models", "realnvp", "vae", "wgan_vae"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("identical bytes") == 3
    assert "9 kills, every result identical to the byte" in run.stdout
