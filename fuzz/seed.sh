#!/usr/bin/env bash
# Adds the files of a folder to a target's corpus, which is not committed: mail to `message`,
# `entities`, `edit` and `wire`, policies to `policy`, documents and archives to their format.
#   fuzz/seed.sh message ~/mail/samples
#   fuzz/seed.sh formats:pdf ~/documents
set -euo pipefail

[ $# = 2 ] && [ -d "$2" ] || { echo "usage: fuzz/seed.sh TARGET FOLDER" >&2; exit 2; }
corpus=$(dirname "$0")/corpus/${1/://}
[ -e "$(dirname "$0")/targets/${1%%:*}.rs" ] || { echo "no target $1" >&2; exit 2; }
mkdir -p "$corpus"
# Larger files teach the fuzzer nothing and slow it down.
find "$2" -type f -size -64k -print0 | while IFS= read -r -d '' file; do
  cp -- "$file" "$corpus/$(sha256sum < "$file" | cut -c1-40)"
done
find "$corpus" -type f | wc -l
