"""The OpenAPI description of the routes: for programs, and for those who write them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from runtime.serving.jobs import STATES

ERRORS = {
    400: "Not understood.",
    401: "No token, or a wrong one.",
    403: "From a page of another server.",
    404: "Not there, or not any more.",
    408: "Sent too slowly.",
    413: "Too large, or too long.",
    415: "No song that can be read.",
    421: "Asked by an unknown name.",
    422: "An unknown engine, stem or format.",
    429: "The queue is full; Retry-After says when to try again.",
    503: "The server is stopping, or has too many connections.",
    507: "No room on the disk.",
}
ALWAYS = (403, 421)  # what any route may answer, and 401 with a token
TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def document() -> dict[str, Any]:
    """OpenAPI 3.1, as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bsm-serve",
            "version": version("bsmamba2"),
            "description": "Send a song, get its stems.",
        },
        "security": [{}, {"bearer": []}, {"cookie": []}],
        "paths": _paths(),
        "components": {
            "schemas": {"Job": _job(), "Error": _object({"error": TEXT}), "Engines": _engines()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "bsm_serve"},
            },
        },
    }


def _paths() -> dict[str, Any]:
    job, jobs = (
        _json("Job"),
        {"application/json": {"schema": _object({"jobs": {"type": "array", "items": _ref("Job")}})}},
    )
    sound = {"audio/*": {"schema": {"type": "string", "format": "binary"}}}
    ranges = [_in("header", "Range", TEXT), _in("query", "download", {"enum": ["1"]})]
    one, stem = [_in("path", "id", TEXT)], [_in("path", "id", TEXT), _in("path", "name", TEXT)]
    return {
        "/api/engines": {"get": _does("Engines and limits.", 200, _json("Engines"))},
        "/api/login": {
            "post": _does(
                "A token for a cookie.", 204, None, [400, 413], body=_body("application/json", {"token": TEXT})
            )
        },
        "/api/openapi.json": {"get": _does("This description.", 200, {"application/json": {}})},
        "/api/jobs": {
            "get": _does("All jobs, newest first.", 200, jobs),
            "post": _does(
                "Send a song. Answers when it is in the queue.",
                202,
                job,
                [400, 408, 413, 415, 422, 429, 503, 507],
                body=_form(),
            ),
        },
        "/api/jobs/{id}": {
            "get": _does("A job.", 200, job, [404], one),
            "delete": _does("Cancel a job, or remove one that has ended.", 204, None, [404], one),
        },
        "/api/jobs/{id}/events": {
            "get": _does(
                "Server-sent events called job, whose data is the job; until it has ended.",
                200,
                {"text/event-stream": {"schema": TEXT}},
                [404],
                one,
            )
        },
        "/api/jobs/{id}/stems.zip": {
            "get": _does(
                "All stems.", 200, {"application/zip": {"schema": {"type": "string", "format": "binary"}}}, [404], one
            )
        },
        "/api/jobs/{id}/stems/{name}": {"get": _does("A stem.", 200, sound, [404], stem + ranges)},
        "/api/jobs/{id}/previews/{name}": {
            "get": _does("MP3 of a stem, or of the song (name: song).", 200, sound, [404], stem + ranges)
        },
        "/health": {"get": _does("Whether it runs.", 200, {"application/json": {}})},
        "/metrics": {"get": _does("Numbers for Prometheus.", 200, {"text/plain": {"schema": TEXT}})},
    }


def _does(
    summary: str,
    status: int,
    content: dict[str, Any] | None,
    errors: list[int] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): {"description": summary} | ({"content": content} if content else {})}
    for code in sorted([*ALWAYS, 401, *(errors or [])]):
        answers[str(code)] = {"description": ERRORS[code], "content": _json("Error")}
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def _form() -> dict[str, Any]:
    fields = {"file": {"type": "string", "format": "binary"}, "engine": TEXT, "stems": TEXT, "format": TEXT}
    body = _body("multipart/form-data", fields)
    body["content"]["multipart/form-data"]["schema"]["required"] = ["file"]
    return body


def _body(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": _object(fields)}}}


def _job() -> dict[str, Any]:
    stem = _object({"name": TEXT, "url": TEXT, "preview": TEXT, "type": TEXT, "bytes": WHOLE})
    return _object(
        {
            "id": TEXT,
            "name": TEXT,
            "engine": TEXT,
            "state": {"enum": list(STATES)},
            "place": _or_null("integer"),
            "progress": NUMBER,
            "seconds_left": _or_null("number"),
            "seconds": _or_null("number"),
            "created": TEXT,
            "expires": _or_null("string"),
            "error": _or_null("string"),
            "stems": {"type": "array", "items": stem},
            "song": {"anyOf": [_object({"preview": TEXT}), {"type": "null"}]},
            "tries": WHOLE,
        }
    )


def _engines() -> dict[str, Any]:
    texts = {"type": "array", "items": TEXT}
    engine = _object({"name": TEXT, "stems": texts, "sample_rate": WHOLE, "network": TEXT})
    limits = {"seconds": NUMBER, "upload_bytes": WHOLE, "queue": WHOLE, "keep_hours": NUMBER, "formats": texts}
    return _object({"engines": {"type": "array", "items": engine}, "limits": _object(limits)})


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _or_null(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _in(where: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": where, "name": name, "required": where == "path", "schema": schema}
