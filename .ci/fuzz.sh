#!/usr/bin/env bash
# Every fuzz target builds and runs over its seeds, then on for some seconds.
#   .ci/fuzz.sh                  all targets, 5 seconds each, and all formats, 3 seconds each
#   .ci/fuzz.sh message 600      one target, ten minutes
#   .ci/fuzz.sh formats 20       all formats of fuzz/formats.txt, 20 seconds each
#   .ci/fuzz.sh formats:pdf 300  one format, five minutes
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
wanted=${1:-} format=
[[ $wanted != *:* ]] || format=${wanted#*:}
wanted=${wanted%%:*}
[ -z "$wanted" ] || [ -e "targets/$wanted.rs" ] || { echo "no fuzz target $wanted" >&2; exit 2; }
formats=$(sed -n 's/^\([a-z0-9][^ ]*\) .*/\1/p' formats.txt)
[ -z "$format" ] || grep -qx -- "$format" <<<"$formats" || { echo "no format $format" >&2; exit 2; }

flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" --cfg fuzzing"
# The parsers alone build without the relay's dependencies.
case $wanted in
  "") build=(--features relay) ;;
  smtp | record | milter) build=(--features relay --bin "$wanted") ;;
  *) build=(--bin "$wanted") ;;
esac
RUSTFLAGS="$flags" cargo +nightly build --release --locked --target "$target" "${build[@]}" || {
  echo "If Cargo.lock is behind the workspace: cargo metadata --manifest-path fuzz/Cargo.toml" >&2
  exit 1
}
binaries=${CARGO_TARGET_DIR:-target}/$target/release

# What the tests of the parsers read is a seed as well.
declare -A more=(
  [message]=../imss-core/tests/data/mime [entities]=../imss-core/tests/data/mime
  [edit]=../imss-core/tests/data/mime [wire]=../imss-core/tests/data/mime
  [policy]=../imss-policy/tests/policy/mistakes
)

# Runs target $1 for $2 seconds over the seeds of $3, which is the target or one of its formats.
fuzz() {
  # What is found new goes to corpus/, which is not committed; the seeds stay as they are.
  mkdir -p "corpus/$3" "artifacts/$3"
  local words=dictionaries/${3##*/}.txt arguments=()
  [ ! -e "$words" ] || arguments=(-dict="$words")
  echo "fuzz target $3, $2 s"
  # Short runs go the same way every time: what they find is found again.
  [ "$2" -gt 10 ] || arguments+=(-seed=1)
  FORMAT=${3##*/} "$binaries/$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
    -artifact_prefix="artifacts/$3/" -verbosity="${VERBOSITY:-0}" "${arguments[@]}" \
    "corpus/$3" "seeds/$3" ${more[$3]:+"${more[$3]}"}
}

for file in targets/*.rs; do
  name=$(basename "$file" .rs)
  [ -z "$wanted" ] || [ "$name" = "$wanted" ] || continue
  if [ "$name" = formats ]; then
    for each in ${format:-$formats}; do fuzz formats "${2:-3}" "formats/$each"; done
  else
    fuzz "$name" "${2:-5}" "$name"
  fi
done
