#!/usr/bin/env bash
# Every test and doctest. The end-to-end and differential tests use real mail programs, so the Debian packages
# that are missing are installed first (no service is started); nothing else is installed.
#   .ci/test.sh                     everything
#   .ci/test.sh -p imss-core mime   handed on to the test runner, without doctests
set -euo pipefail
cd "$(dirname "$0")/.."

# Package, and a program or file of it that tells whether it is there.
needed=(
  postfix:postfix swaks:swaks msmtp:msmtp miltertest:miltertest openssl:openssl clamav-daemon:clamd c-icap:c-icap dovecot-core:dovecot
  dovecot-lmtpd:/usr/lib/dovecot/lmtp bind9:named bind9-utils:dnssec-signzone python3:python3 opendkim:/usr/sbin/opendkim
  python3-dkim:/usr/lib/python3/dist-packages/dkim/__init__.py libmime-tools-perl:/usr/share/perl5/MIME/Parser.pm
)

install_packages() {
  local as_root=() policy=/usr/sbin/policy-rc.d ours=
  command -v apt-get >/dev/null || { echo "missing: $* (install them; apt-get is not here)" >&2; exit 1; }
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  # Packages must not start their services: they would take ports and processor time.
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
    ours=yes
  fi
  local failed=0
  { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } || failed=1
  [ -z "$ours" ] || "${as_root[@]}" rm -f $policy
  [ $failed = 0 ] || { echo "could not install: $*" >&2; exit 1; }
}

missing=()
for entry in "${needed[@]}"; do
  program=${entry#*:}
  [ -e "$program" ] || PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${entry%%:*}")
done
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"

# Debian allows one mail server per system, so Exim is only unpacked.
if [ ! -e /opt/exim4/usr/sbin/exim4 ]; then
  as_root=() unpacked=$(mktemp -d)
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  (
    cd "$unpacked"
    apt-get download -q exim4-daemon-light || { "${as_root[@]}" apt-get update -q && apt-get download -q exim4-daemon-light; }
  ) || { echo "could not download exim4-daemon-light; unpack it to /opt/exim4" >&2; exit 1; }
  "${as_root[@]}" dpkg -x "$unpacked"/exim4-daemon-light_*.deb /opt/exim4
  id Debian-exim >/dev/null 2>&1 || "${as_root[@]}" useradd --system --user-group --home-dir /nonexistent Debian-exim
  rm -rf "$unpacked"
fi

export PATH=$PATH:/usr/sbin:/sbin
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --all-features --locked --no-fail-fast "$@"
else
  cargo test --workspace --all-features --locked --no-fail-fast --lib --bins --tests "$@"
fi
[ $# -gt 0 ] || cargo test --workspace --all-features --locked --doc -q
