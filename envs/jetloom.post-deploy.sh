#!/usr/bin/env bash
# Snakemake runs this after it has made the environment (--sdm conda), from the project's root: a clone of jetloom, or
# a project that uses its workflow.
set -euo pipefail
if [ -d src/jetloom ]; then
    pip install --no-deps --no-build-isolation .
else
    pip install --no-deps jetloom==0.2.0
fi
