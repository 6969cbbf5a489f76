#!/usr/bin/env bash
# Every example builds, runs and prints what examples/expected has. Each shows itself on mail of its
# own when it gets no argument, the relay as well.
#   UPDATE_GOLDEN=1 .ci/examples.sh   rewrites what is expected, for review
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build -p imss-examples --examples --all-features --locked
failed=0
for file in examples/*.rs; do
  name=$(basename "$file" .rs) expected=examples/expected/$(basename "$file" .rs).txt
  echo "example $name"
  output=$(timeout 60 cargo run -q -p imss-examples --all-features --locked --example "$name") ||
    { echo "example $name failed" >&2; failed=1; continue; }
  [ -z "${UPDATE_GOLDEN:-}" ] || printf '%s\n' "$output" > "$expected"
  diff -u "$expected" <(printf '%s\n' "$output") || failed=1
done
exit $failed
