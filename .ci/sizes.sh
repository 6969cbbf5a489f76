#!/usr/bin/env bash
# No source file over 600 lines, tests excluded: neither test folders nor a file's closing
# `mod tests` count.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files '*.rs' | grep -vE '(^|/)(tests|benches|fuzz)/|(^|/)tests\.rs$' | xargs awk '
  FNR == 1 { inside = 1; previous = "" }
  /^mod tests \{/ && previous ~ /^#\[cfg\(test\)\]/ { inside = 0; lines[FILENAME]-- }
  inside { lines[FILENAME]++ }
  { previous = $0 }
  END {
    for (file in lines) if (lines[file] > 600) { print file ": " lines[file] " lines"; failed = 1 }
    exit failed
  }'
