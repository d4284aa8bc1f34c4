#!/usr/bin/env bash
# Builds the fuzzers with clang and runs them one after the other, beginning from the fixtures of the tests and from
# what earlier runs found: scripts/fuzz.sh [seconds each] [reader ...]. Needs the packages clang, libclang-rt-14-dev and
# libomp-dev. Scratch files go to TMPDIR.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-300}
shift || true
readers=("$@")
if [ ${#readers[@]} -eq 0 ]; then
  for entry in tests/fuzz/fuzz_*.cpp; do
    name=$(basename "$entry" .cpp)
    readers+=("${name#fuzz_}")
  done
fi

cmake -S . -B build-fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DHEDDLE_FUZZ=ON -DHEDDLE_TESTS=OFF >/dev/null
cmake --build build-fuzz --target "${readers[@]/#/fuzz_}"

# The fixtures that a reader begins from, beside tests/fuzz/seeds/<reader>.
fixtures_of() {
  case $1 in
    config) find tests/fixtures models -name config.json ;;
    image) find tests/fixtures/io -name '*.png' -o -name '*.jpg' -o -name '*.webp' ;;
    png) find tests/fixtures/io -name '*.png' ;;
    preset) find presets -name '*.yaml' ;;
    lora) find tests/fixtures/lora -name '*.safetensors' ;;
    words) find tests/fixtures/textual_inversion -name '*.safetensors' ;;
    gguf) find tests/fixtures/gguf -name '*.gguf' -size -128k ;;
    safetensors) find tests/fixtures -name '*.safetensors' -size -12k ;;
  esac
}

failed=()
for reader in "${readers[@]}"; do
  seeds=build-fuzz/seeds/$reader corpus=build-fuzz/corpus/$reader
  mkdir -p "$seeds" "$corpus"
  fixtures_of "$reader" | while read -r file; do cp "$file" "$seeds/$(echo "$file" | tr / _)"; done
  [ ! -d "tests/fuzz/seeds/$reader" ] || cp "tests/fuzz/seeds/$reader"/* "$seeds"
  echo "== $reader"
  OMP_NUM_THREADS=1 "build-fuzz/tests/fuzz/fuzz_$reader" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -print_final_stats=1 -artifact_prefix="build-fuzz/found-$reader-" "$corpus" "$seeds" 2>&1 |
    tee "build-fuzz/$reader.log" | grep -E '^stat::number_of|ERROR|SUMMARY|Test unit written|cov:.*DONE' ||
    failed+=("$reader")
  grep -q '^Done ' "build-fuzz/$reader.log" || failed+=("$reader")
done
[ ${#failed[@]} -eq 0 ] || { echo "stopped: ${failed[*]}; see build-fuzz/found-*" && exit 1; }
