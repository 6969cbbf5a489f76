#!/usr/bin/env bash
# The reference builds without a warning: no broken link, nothing public left out.
set -euo pipefail
cd "$(dirname "$0")/.."

RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked --quiet
