"""The API's own description, told more exactly than it can be read from the code."""

from typing import Any

from fastapi import FastAPI

from api.errors import ProblemDocument


def install(app: FastAPI) -> None:
    """Makes `/openapi.json` say what the API does: problems have their own media type, and keys are not optional."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
            for methods in document["paths"].values():
                for operation in methods.values():
                    _correct(operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description


def _correct(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        # Null is how Python says that a header or a parameter of the query was not sent; it cannot be sent.
        schema = parameter["schema"]
        kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
        if len(kinds) == 1:
            parameter["schema"] = {k: v for k, v in schema.items() if k != "anyOf"} | kinds[0]
        if parameter["name"] == "idempotency-key":
            parameter["name"], parameter["required"] = "Idempotency-Key", True
