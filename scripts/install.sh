#!/usr/bin/env bash
# Installs what heddle is built from: packages of Debian 12 and nothing else. Does nothing where all are there.
set -euo pipefail

# oneDNN's own CMake files ask for OpenCL, which its package only recommends.
packages=(g++ cmake ninja-build ccache pkg-config libdnnl-dev ocl-icd-opencl-dev libhwy-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev
  libspdlog-dev libstb-dev libwebp-dev libpng-dev libutf8proc-dev libgtest-dev libbenchmark-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
