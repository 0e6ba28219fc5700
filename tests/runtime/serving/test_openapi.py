"""The description of the interface is that of the routes, and of the answers."""

from __future__ import annotations

import json

import pytest
from starlette.routing import Route

from runtime.serving.app import routes_of
from runtime.serving.openapi import document

NOT_DESCRIBED = {"/", "/page/{name}"}  # for people


def test_every_route_is_described_and_every_description_has_its_route():
    routes = routes_of(None, None)
    assert all(isinstance(route, Route) for route in routes)
    have = {(route.path, method) for route in routes for method in route.methods - {"HEAD"}}
    have = {(path, method) for path, method in have if path not in NOT_DESCRIBED}
    told = {(path, method.upper()) for path, methods in document()["paths"].items() for method in methods}
    assert told == have


def test_parameters_of_paths_are_described():
    for path, methods in document()["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for method in methods.values():
            told = {each["name"] for each in method.get("parameters", []) if each["in"] == "path"}
            assert told == named, path


def test_all_references_lead_somewhere():
    whole = document()
    for part in json.dumps(whole).split('"$ref": "')[1:]:
        found = whole
        for key in part.split('"')[0].removeprefix("#/").split("/"):
            found = found[key]
        assert found


def fits(value: object, schema: dict, whole: dict) -> bool:
    """Whether `value` is as `schema` says: as much of JSON Schema as is used here."""
    if "$ref" in schema:
        return fits(value, whole["components"]["schemas"][schema["$ref"].split("/")[-1]], whole)
    if "anyOf" in schema:
        return any(fits(value, each, whole) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {"string": str, "integer": int, "number": (int, float), "null": type(None), "array": list, "object": dict}
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, kinds[kind]) for kind in wanted):
        return False
    if isinstance(value, list):
        return all(fits(each, schema["items"], whole) for each in value)
    if isinstance(value, dict):
        fields = schema["properties"]
        return set(value) == set(fields) and all(fits(value[name], fields[name], whole) for name in fields)
    return True


@pytest.mark.seconds
def test_answers_are_as_described(served, songs):
    whole = served.http.get("/api/openapi.json").json()
    assert whole == document() and whole["openapi"].startswith("3.1")
    schemas = whole["components"]["schemas"]
    name = served.sent(songs / "short.wav")
    assert fits(served.job(name), schemas["Job"], whole)
    assert fits(served.until(name, "done"), schemas["Job"], whole)
    assert fits(served.http.get("/api/engines").json(), schemas["Engines"], whole)
    assert fits(served.http.get("/api/jobs/none").json(), schemas["Error"], whole)
    assert not fits({"error": 5}, schemas["Error"], whole)
