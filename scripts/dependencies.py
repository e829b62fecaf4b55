#!/usr/bin/env python3
"""Counts dependencies and their licences from `cargo metadata` on standard input.

What is linked into the program is told from what only builds or tests it.
"""

import collections
import json
import sys


def reached(nodes, root, kinds):
    """The packages that lead from the root by dependencies of these kinds."""
    found, work = set(), [root]
    while work:
        for dependency in nodes[work.pop()]["deps"]:
            of_kind = any(kind["kind"] in kinds for kind in dependency["dep_kinds"])
            if of_kind and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                work.append(dependency["pkg"])
    return found


def main():
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    linked = reached(nodes, root, {None})
    building = reached(nodes, root, {None, "build"}) - linked
    testing = reached(nodes, root, {None, "build", "dev"}) - linked - building
    direct = [d for d in nodes[root]["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
    print(f"{len(linked)} linked ({len(direct)} of them direct), "
          f"{len(building)} more to build, {len(testing)} more to test")
    licences = collections.Counter(packages[p]["license"] or "none said" for p in linked)
    for licence, count in licences.most_common():
        print(f"{count:5}  {licence}")
    if "--tree" in sys.argv[1:]:
        for package in sorted(packages[p]["name"] + " " + packages[p]["version"] for p in linked):
            print(f"       {package}")


main()
