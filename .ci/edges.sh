#!/usr/bin/env bash
# Who may use whom (ARCHITECTURE.md): core <- scan, policy <- relay <- bin; scan and policy never
# see each other, and the three libraries bring no runtime, network or TLS unless a feature asks.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys

allowed = {
    "imss-core": set(),
    "imss-scan": {"imss-core"},
    "imss-policy": {"imss-core"},
    "imss-relay": {"imss-core", "imss-scan", "imss-policy"},
    "imss-bin": {"imss-core", "imss-scan", "imss-policy", "imss-relay"},
    "imss-examples": {"imss-core", "imss-scan", "imss-policy", "imss-relay"},
    "imss-benches": {"imss-core", "imss-scan", "imss-policy", "imss-relay"},
}
wrong = []
for package in json.load(sys.stdin)["packages"]:
    name = package["name"]
    if name not in allowed:
        wrong.append(f"{name} has no entry in .ci/edges.sh")
        continue
    for dependency in package["dependencies"]:
        other = dependency["name"]
        if other.startswith("imss-") and other != name and other not in allowed[name]:
            wrong.append(f"{name} must not use {other}")
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(bool(wrong))
'

failed=0
for crate in imss-core imss-scan imss-policy; do
  heavy=$(cargo tree -p $crate --no-default-features -e normal --prefix none --locked |
    grep -E '^(tokio|hickory-[a-z]+|rustls|aws-lc-rs|mio|socket2|sqlx|axum|hyper|reqwest) ' | sort -u || true)
  if [ -n "$heavy" ]; then
    echo "$crate without features must not bring:" $heavy
    failed=1
  fi
done
exit $failed
