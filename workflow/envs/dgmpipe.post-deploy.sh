#!/usr/bin/env bash
# Runs in the new environment, from the folder of the repository.
set -euo pipefail
python -m pip install --constraint constraints.txt --editable .
