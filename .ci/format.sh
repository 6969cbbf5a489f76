#!/usr/bin/env bash
# rustfmt leaves nothing to change, and no file has trailing blanks or lacks its last line end.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
[ ! -e fuzz/Cargo.toml ] || cargo fmt --manifest-path fuzz/Cargo.toml --check

failed=0
while IFS= read -r -d '' file; do
  [ -s "$file" ] || continue
  if grep -nE '[[:blank:]]+$' "$file" /dev/null; then failed=1; fi
  if [ -n "$(tail -c1 "$file")" ]; then echo "$file: no line end at the end"; failed=1; fi
done < <(git ls-files -z '*.rs' '*.toml' '*.md' '*.sh' '.ci/*')
exit $failed
