"""Checks `cargo metadata` on standard input against the lists of a cargo-deny file.

Arguments: that file, and the output of `cargo tree` in the format `{p}`, which names what counts.
"""

import json
import re
import sys
import tomllib


def satisfied(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences (`/` is an old OR)."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in allowed

    return either() and not tokens


def mistakes(metadata, rules, used):
    """One line for every crate that breaks a rule."""
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    allowed = set(rules["licenses"]["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in rules["licenses"].get("exceptions", [])}
    for package in metadata["packages"]:
        name, source = package["name"], package["source"]
        if (name, package["version"]) not in used:
            continue
        if name in banned:
            yield f"{name} {package['version']}: banned"
        licence = package["license"]
        if not licence:
            yield f"{name} {package['version']}: no licence given"
        elif not satisfied(licence, allowed | exceptions.get(name, set())):
            yield f"{name} {package['version']}: licence {licence} is not allowed"
        if source and not source.startswith("registry+"):
            yield f"{name} {package['version']}: comes from {source}"


with open(sys.argv[1], "rb") as file:
    rules = tomllib.load(file)
used = {(name, version.lstrip("v")) for name, version, *_ in map(str.split, filter(None, sys.argv[2].splitlines()))}
wrong = list(mistakes(json.load(sys.stdin), rules, used))
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(bool(wrong))
