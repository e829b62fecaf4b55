"""Makes, changes and lists the sources of a frozen repository; see freeze.sh.

Usage: freeze_sources.py make|change|add TREE
       freeze_sources.py list LABEL TREE

A listed line is a JSON object. Bytes that are no printable ASCII, and the percent
sign, are written as %XX in paths, targets and names.
"""

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys

SECOND = 1_000_000_000
# Files of a directory of several pages, and how their names begin, which decides where
# a page ends.
MANY = int(os.environ.get("MANY", "2600"))
BEGINNING = os.environ.get("BEGINNING", "")


def put(path, content, mode=0o644):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def blocks(count):
    """Chunks of the largest size, each of one byte, so that they pack to nothing."""
    return b"".join(bytes([65 + number]) * (256 << 10) for number in range(count))


def make(tree):
    os.mkdir(tree)
    os.chdir(tree)
    put("empty", b"")
    put("inline", b"a few bytes\n")
    put("one-chunk", b"one chunk\n" * 1000, 0o600)
    put("several-chunks", blocks(8))
    put("chunk-list", blocks(24), 0o444)
    put("setuid", b"x" * 300, 0o4755)
    with open("holes", "wb") as file:
        file.write(b"before")
        file.seek(5 << 20)
        file.write(b"between" * 1000)
        file.truncate(20 << 20)
    # More data and holes than one page of a chunk list takes.
    with open("many-holes", "wb") as file:
        for number in range(2600):
            file.seek(number * 8192)
            file.write(bytes([number % 5]) * 4096)
        file.truncate(2600 * 8192)
    put(b"no \xff UTF-8", b"bytes\n")
    put("new\nline", b"line\n")
    put("\u00fcml\u00e4ut \U0001f9ca", b"ice\n")
    put("n" * 255, b"long name\n")
    os.symlink("inline", "symlink")
    os.symlink("/nowhere/" + "far/" * 200, "dangling")
    os.mkfifo("fifo", 0o640)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.close()
    os.mkdir("links")
    put("links/first", b"linked " * 100)
    os.link("links/first", "links/second")
    os.link("links/first", "third-link")
    put("attributes", b"with attributes\n")
    os.setxattr("attributes", "user.text", b"value")
    os.setxattr("attributes", "user.bytes", bytes(range(256)))
    subprocess.run(["setfacl", "-m", "u:0:rw,m::rw", "attributes"], check=True)
    os.mkdir("acl")
    subprocess.run(["setfacl", "-d", "-m", "g:0:rx", "acl"], check=True)
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    deep = "/".join(["deep"] + [f"level-{level}" for level in range(12)])
    os.makedirs(deep)
    put(deep + "/bottom", b"bottom\n")
    os.mkdir("many")
    for number in range(MANY):
        put(f"many/{BEGINNING}{number:05}", f"content {number % 7}\n".encode())
    put(f"many/{BEGINNING}{MANY + 1:05}", b"too large for a tree entry " * 20)
    settle(".")


def change(tree):
    os.chdir(tree)
    put("inline", b"changed\n")
    put("several-chunks", blocks(8) + b"appended " * 2000)
    put("added", b"added\n")
    os.remove("empty")
    os.rename("one-chunk", "renamed")
    put(f"many/{BEGINNING}{MANY // 2:05}", b"changed in the middle\n")
    os.chmod("sticky", 0o700)
    settle(".")


def add(tree):
    os.chdir(tree)
    put("only in the deleted one", b"to be had back " * 100)
    settle(".")


def settle(directory):
    """Gives everything a time that its name decides, the far past among them."""
    for parent, directories, files in os.walk(os.fsencode(directory), topdown=False):
        for name in files + directories:
            path = os.path.join(parent, name)
            number = int.from_bytes(hashlib.sha256(path).digest()[:4], "big")
            if parent.endswith(b"/many"):
                number %= 8
            time = (number - 500_000_000) * SECOND + number % SECOND
            if name == b"fifo":
                time = -5_000_000_000 * SECOND + 1
            os.utime(path, ns=(time - 7, time), follow_symlinks=False)
    os.utime(directory, ns=(SECOND, 2 * SECOND + 3))


def text(raw):
    return "".join(chr(b) if 32 < b < 127 and b != 37 else f"%{b:02X}" for b in raw)


def describe(path, groups):
    facts = os.lstat(path)
    line = {
        "mode": f"{stat.S_IMODE(facts.st_mode):04o}",
        "mtime": facts.st_mtime_ns,
    }
    kinds = [
        ("file", stat.S_ISREG), ("directory", stat.S_ISDIR), ("symlink", stat.S_ISLNK),
        ("fifo", stat.S_ISFIFO), ("socket", stat.S_ISSOCK),
    ]
    line["kind"] = next(kind for kind, fits in kinds if fits(facts.st_mode))
    if line["kind"] == "file":
        line["size"] = facts.st_size
        with open(path, "rb") as file:
            line["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        if facts.st_nlink > 1:
            line["linked"] = groups.setdefault(facts.st_ino, text(path))
    if line["kind"] == "symlink":
        line["target"] = text(os.readlink(path))
    else:
        names = os.listxattr(path, follow_symlinks=False)
        values = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
        kept = {n: text(v) for n, v in values.items() if n.startswith(("user.", "system."))}
        if kept:
            line["xattrs"] = kept
    return line


def listing(label, tree):
    groups = {}
    found = [os.fsencode(tree)]
    for parent, directories, files in os.walk(os.fsencode(tree)):
        found += [os.path.join(parent, name) for name in directories + files]
    for path in sorted(found):
        line = {"snapshot": label, "path": text(path)} | describe(path, groups)
        print(json.dumps(line, sort_keys=True))


if __name__ == "__main__":
    {"make": make, "change": change, "add": add, "list": listing}[sys.argv[1]](*sys.argv[2:])
