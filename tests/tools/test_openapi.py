#!/usr/bin/env python3
"""The service's routes and its contract name the same operations, and the contract holds together."""

import re
import sys
import unittest
from functools import lru_cache
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "patch", "delete"}


@lru_cache
def contract():
    return yaml.safe_load((TOP / "src/api/openapi.yaml").read_text())


def routes():
    text = (TOP / "src/api/routes.def").read_text()
    return re.findall(r'^ROUTE\("(\w+)", "([^"]+)", (\w+),', text, re.M)


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


class Contract(unittest.TestCase):
    def test_every_route_is_in_the_contract_and_the_other_way_round(self):
        told = {(m.upper(), path) for path, item in contract()["paths"].items()
                for m in item if m in METHODS}
        made = {(method, path) for method, path, _ in routes()}
        self.assertEqual(told, made)

    def test_operations_have_one_name_each_and_say_what_they_do(self):
        names = []
        for path, item in contract()["paths"].items():
            for method in METHODS & item.keys():
                operation = item[method]
                names.append(operation["operationId"])
                self.assertTrue(operation["summary"].strip(), path)
                self.assertTrue({"default"} <= operation["responses"].keys() or path == "/health", path)
                wanted = set(re.findall(r"{(\w+)}", path))
                parameters = [self.resolve(p) for p in item.get("parameters", [])]
                self.assertEqual(wanted, {p["name"] for p in parameters if p["in"] == "path"}, path)
        self.assertEqual(len(names), len(set(names)))

    def resolve(self, node):
        while "$ref" in node:
            target = contract()
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def test_references_lead_somewhere_and_nothing_is_left_over(self):
        document = contract()
        used = set(references(document))
        for reference in used:
            self.resolve({"$ref": reference})
        for kind in ("schemas", "parameters", "responses"):
            for name in document["components"][kind]:
                self.assertIn(f"#/components/{kind}/{name}", used)

    def test_only_these_need_nobody_signed_in(self):
        self.assertEqual({path for _, path, role in routes() if role == "NONE"},
                         {"/health", "/api/v1/login"})
        open_paths = {path for path, item in contract()["paths"].items()
                      for m in METHODS & item.keys() if item[m].get("security") == []}
        self.assertEqual(open_paths, {"/health", "/api/v1/login"})


class Dashboard(unittest.TestCase):
    def test_the_grafana_dashboard_asks_for_metrics_that_exist(self):
        asked = set(re.findall(r"v2c_(\w+)", (TOP / "packaging/grafana/v2c-engine.json").read_text()))
        source = "".join((TOP / "src/api" / name).read_text() for name in ("observe.c", "hook_routes.c"))
        told = set(re.findall(r'"([a-z_]+)", "(?:gauge|counter)"|{"(job_[a-z_]+)"', source))
        told = {name for pair in told for name in pair if name}
        self.assertTrue(asked and told)
        self.assertEqual(asked - told, set())


if __name__ == "__main__":
    sys.exit(unittest.main())
