"""Writes constraints.txt anew from pip's report of what it would install: `make update`."""

import json
import sys
from pathlib import Path

report, constraints = map(Path, sys.argv[1:])
packages = [
    package["metadata"]
    for package in json.loads(report.read_text(encoding="utf-8"))["install"]
    if not package["is_direct"]  # the project itself
]
# A build for some processor, such as 2.14.1+cpu, is of the same version.
lines = [f"{package['name']}=={package['version'].split('+')[0]}" for package in packages]
heading, *before = constraints.read_text(encoding="utf-8").splitlines()
constraints.write_text("\n".join([heading, *sorted(lines, key=str.lower)]) + "\n", encoding="utf-8")
for sign, those in (("-", set(before) - set(lines)), ("+", set(lines) - set(before))):
    for line in sorted(those, key=str.lower):
        print(sign, line)
