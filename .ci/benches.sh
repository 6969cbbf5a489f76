#!/usr/bin/env bash
# Every bench proves its answers and runs once. In the test profile, which is built already:
# figures come from `cargo bench`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test -p imss-benches --benches --all-features --locked -q
