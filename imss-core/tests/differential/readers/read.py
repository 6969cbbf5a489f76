"""What Python's email package hands to its user, for each message in a folder.

Usage: read.py FOLDER. Prints one line for each content and name:
file TAB reader TAB kind (content, name) TAB base64.
"""

import base64
import email
import email.policy
import os
import sys
import warnings

warnings.simplefilter("ignore")


def show(file, reader, kind, value):
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape" if kind == "name" else "replace")
    line = "\t".join((file, reader, kind, base64.b64encode(value).decode()))
    sys.stdout.write(line + "\n")


def read(file, raw, reader, policy):
    message = email.message_from_bytes(raw, policy=policy)
    for part in message.walk():
        # A part that it cannot read is one that it does not show.
        try:
            name = part.get_filename()
            if name:
                show(file, reader, "name", name)
        except Exception:
            pass
        if part.is_multipart():
            continue
        try:
            content = part.get_payload(decode=True)
            if content:
                show(file, reader, "content", content)
        except Exception:
            pass


def main(folder):
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "rb") as opened:
            raw = opened.read()
        read(file, raw, "python-compat32", email.policy.compat32)
        read(file, raw, "python", email.policy.default)


main(sys.argv[1])
