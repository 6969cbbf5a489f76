#!/usr/bin/env bash
# Every fuzz target builds and runs over its seeds, then on for some seconds.
#   .ci/fuzz.sh              all targets, 5 seconds each
#   .ci/fuzz.sh message 600  one target, ten minutes
#
# Plain cargo with libFuzzer's flags: all that is needed is a nightly toolchain and a C++ compiler.
# Without AddressSanitizer: the workspace forbids unsafe code, what counts here is panics, overflows,
# hangs and memory. The C code inside (zstd) is fuzzed by its own project.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

target=$(rustc +nightly -vV 2>/dev/null | sed -n 's/^host: //p') || true
[ -n "$target" ] || {
  echo "no nightly toolchain. Install one: rustup toolchain install nightly --profile minimal" >&2
  exit 1
}
command -v c++ >/dev/null || { echo "no C++ compiler. Install one: apt install g++" >&2; exit 1; }
[ -z "${1:-}" ] || [ -e "targets/$1.rs" ] || { echo "no fuzz target $1" >&2; exit 2; }
seconds=${2:-5}

flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" --cfg fuzzing"
# The parsers alone build without the relay's dependencies.
case ${1:-} in
  "") build=(--features relay) ;;
  smtp | record) build=(--features relay --bin "$1") ;;
  *) build=(--bin "$1") ;;
esac
RUSTFLAGS="$flags" cargo +nightly build --release --locked --target "$target" "${build[@]}" || {
  echo "If Cargo.lock is behind the workspace: cargo metadata --manifest-path fuzz/Cargo.toml" >&2
  exit 1
}

# What the tests of the parsers read is a seed as well.
declare -A more=(
  [message]=../imss-core/tests/data/mime [entities]=../imss-core/tests/data/mime
  [policy]=../imss-policy/tests/policy/mistakes
)
binaries=${CARGO_TARGET_DIR:-target}/$target/release
for file in targets/*.rs; do
  name=$(basename "$file" .rs)
  [ -z "${1:-}" ] || [ "$name" = "$1" ] || continue
  # What is found new goes to corpus/, which is not committed; the seeds stay as they are.
  mkdir -p "corpus/$name" "artifacts/$name"
  echo "fuzz target $name, ${seconds} s"
  "$binaries/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
    -artifact_prefix="artifacts/$name/" -verbosity=0 "corpus/$name" "seeds/$name" \
    ${more[$name]:+"${more[$name]}"}
done
