#!/usr/bin/env bash
# From a clean clone to a picture: installs what is missing, builds, runs presets/hello.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh
cmake --preset release
cmake --build --preset release --target heddle -j "$(nproc)"
mkdir -p out
build/heddle run presets/hello.yaml -o out/hello.png
echo "the picture: $PWD/out/hello.png"
