"""What the gates in tools/ share: which files there are, C without its comments, how findings are told."""

import argparse
import os
import re
import sys

SKIPPED_FOLDERS = {".git", "node_modules", "__pycache__", "dist", ".cache", ".venv"}
C_SUFFIXES = (".c", ".h", ".def")

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--root",
        default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        help="the tree to check (default: the one this tool stands in)",
    )
    return parser


def files(root, folders, suffixes=None):
    """Paths relative to @root, sorted; build folders and what tools install are left out."""
    found = []
    for folder in folders:
        top = os.path.join(root, folder)
        if os.path.isfile(top):
            found.append(folder)
        for where, names, leaves in os.walk(top):
            names[:] = sorted(
                n for n in names if n not in SKIPPED_FOLDERS and not re.match(r"build(-|$)", n)
            )
            for leaf in sorted(leaves):
                if suffixes is None or leaf.endswith(tuple(suffixes)):
                    found.append(os.path.relpath(os.path.join(where, leaf), root))
    return found


def read(root, path):
    """The text, or None for a file that is no UTF-8."""
    with open(os.path.join(root, path), "rb") as f:
        data = f.read()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def blank(text, strings_too):
    """C with comments (and contents of strings) made blank; every line keeps its number."""

    def replace(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + token[0] if strings_too else token
        return re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(replace, text)


def read_exceptions(root, path):
    """Lines `what  # reason`; a line without a reason is refused.  Returns {what: line number}."""
    listed = {}
    full = os.path.join(root, path)
    if not os.path.exists(full):
        return listed
    with open(full, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            what, hash_mark, reason = line.partition("#")
            if not hash_mark or not reason.strip():
                sys.exit(f"{path}:{number}: an exception needs its reason after '#'")
            listed[what.strip()] = number
    return listed


def finish(name, findings, checked):
    """Prints what was found and ends the program: 1 when there is anything, or nothing to check."""
    for finding in findings:
        print(finding)
    if not checked:
        print(f"{name}: found nothing to check")
        sys.exit(1)
    print(f"{name}: {checked} checked, {len(findings)} findings")
    sys.exit(1 if findings else 0)
