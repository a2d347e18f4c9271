"""Time and memory of the energy test against the number of points, with dcor beside it.

    python benchmarks/energy.py dgmpipe|dcor N M

prints seconds and the MB that the test adds to the process.
"""

import json
import os
import subprocess
import sys
import threading
import time

import pandas as pd
import psutil

PERMUTATIONS = 99
# The last of ours: a training set of MNIST's size against its test images. dcor needs 6 GB at 500.
SIZES = {
    "dgmpipe": [*((n, n) for n in (250, 500, 1000, 2000, 4000, 8000)), (60_000, 10_000)],
    "dcor": [(n, n) for n in (125, 250, 500)],
}
PIXELS = 784


def measure(threads: int) -> pd.DataFrame:
    """Return a row for each implementation and number of points in the two samples."""
    rows = []
    for name, sizes in SIZES.items():
        for n, m in sizes:
            print(f"energy test, {name}: {n} against {m} points", flush=True)
            rows.append({"implementation": name} | run(name, n, m, threads))
    return pd.DataFrame(rows)


def run(name: str, n: int, m: int, threads: int) -> dict[str, float]:
    """Measure one test in a process of its own."""
    environment = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, __file__, name, str(n), str(m)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        env=os.environ | environment,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Do one test on noise of 28×28 pixels."""
    import numpy as np

    name, (n, m) = sys.argv[1], map(int, sys.argv[2:4])
    stream = np.random.default_rng(0)
    x, y = (stream.random((size, PIXELS), dtype=np.float32) for size in (n, m))
    if name == "dgmpipe":
        from dgmpipe.statistics.energy import energy_test

        def test() -> None:
            energy_test(x, y, num_permutations=PERMUTATIONS)
    else:
        from dcor.homogeneity import energy_test as their_test

        x, y = x.astype(float), y.astype(float)

        def test() -> None:
            their_test(x, y, num_resamples=PERMUTATIONS, random_state=0)

    process, over, sizes = psutil.Process(), threading.Event(), []

    def watch() -> None:
        while not over.wait(0.002):
            sizes.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    before = process.memory_info().rss
    watcher.start()
    begin = time.perf_counter()
    test()
    seconds = time.perf_counter() - begin
    over.set()
    watcher.join()
    sizes.append(process.memory_info().rss)  # the watcher saw nothing of a test that was too short
    added = max(0, max(sizes) - before) / 2**20
    print(json.dumps({"n": n, "m": m, "seconds": seconds, "added_mb": added}))


if __name__ == "__main__":
    main()
