#!/usr/bin/env bash
# Every crate's licence is allowed, no banned crate is in the tree, and all come from a registry.
# Reads .deny.toml, so that `cargo deny check bans licenses sources` decides by the same lists.
set -euo pipefail
cd "$(dirname "$0")/.."

# The tree says what is really built; the metadata also lists what no feature asks for.
tree=$(cargo tree --workspace --all-features --target x86_64-unknown-linux-gnu --edges all \
  --prefix none --format '{p}' --locked)
cargo metadata --format-version 1 --locked --all-features \
  --filter-platform x86_64-unknown-linux-gnu | python3 .ci/licences.py .deny.toml "$tree"
