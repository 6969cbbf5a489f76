#!/usr/bin/env bash
# No warning of rustc or clippy: all targets, with all features and with none. The libraries are
# also built alone with none, which is how somebody who embeds them gets them.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
cargo clippy --workspace --all-targets --no-default-features --locked -- -D warnings
cargo clippy -p imss-core -p imss-scan -p imss-policy --lib --no-default-features --locked -- -D warnings
