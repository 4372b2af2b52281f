"""src/api/openapi.yaml as a judge: every answer must be one that it allows."""

import json
import re
from functools import lru_cache

import jsonschema
import yaml

import harness

PATH = harness.TOP / "src" / "api" / "openapi.yaml"


@lru_cache
def document():
    return yaml.safe_load(PATH.read_text())


@lru_cache
def _patterns():
    found = []
    for path, item in document()["paths"].items():
        pattern = re.compile("^" + re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)) + "$")
        found.append((path.count("{"), pattern, item))
    return sorted(found, key=lambda f: f[0])


def _operation(method, path):
    for _, pattern, item in _patterns():
        if pattern.match(path):
            return item.get(method.lower())
    return None


def _resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        target = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _validator(schema):
    # A document of its own, whose references point into the contract's components.
    whole = {"allOf": [schema], "components": document()["components"]}
    return jsonschema.Draft202012Validator(whole)


def check(method, target, status, content_type, body):
    """Fails when `openapi.yaml` does not allow the answer."""
    path = target.split("?")[0]
    operation = _operation(method, path)
    if operation is None:
        assert status in (404, 405), f"{method} {path}: {status}, and the contract does not know it"
        return
    responses = operation["responses"]
    response = _resolve(responses.get(str(status)) or responses.get("default"))
    assert response is not None, f"{method} {path}: the contract has no answer {status}"
    content = response.get("content")
    if not content:
        assert not body, f"{method} {path}: {status} has a body"
        return
    kind = (content_type or "").split(";")[0]
    assert kind in content, f"{method} {path}: {status} is {kind}, not one of {list(content)}"
    if kind == "application/json":
        errors = list(_validator(content[kind]["schema"]).iter_errors(json.loads(body)))
        assert not errors, f"{method} {path}: {status}: {errors[0].message} at {list(errors[0].path)}"
