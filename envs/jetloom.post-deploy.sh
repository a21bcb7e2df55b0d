#!/usr/bin/env bash
# Snakemake runs this after it has made the environment (--sdm conda), from the project's root.
set -euo pipefail
pip install --no-deps --no-build-isolation .
