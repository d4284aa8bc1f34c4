#!/usr/bin/env bash
# Installs what is missing, builds with warnings as errors, runs every test.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh
cmake --preset ci
cmake --build --preset ci -j "$(nproc)"
ctest --preset release --no-tests=error
