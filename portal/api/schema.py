"""The OpenAPI schema: each call's refusals by status, and the limits and patterns of its fields."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema

from portal.api.errors import CONTENT_TYPE
from portal.api.fields import LineField
from portal.api.views import Kind
from portal.base.problems import CODES

PROBLEM = {
    "type": "object",
    "description": "RFC 9457; branch on `code`. `errors` comes with validation_failed.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(CODES)},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
    },
}
ALWAYS = ("bad_request", "not_ready", "disk_full", "internal_error")
BY_TOKEN = ("not_authenticated", "invalid_token", "token_expired", "token_revoked", "insufficient_scope", "throttled")
WITH_QUERY = ("validation_failed",)
WITH_BODY = (
    *("validation_failed", "malformed_json", "length_mismatch"),
    *("body_too_deep", "body_too_large", "unsupported_encoding"),
)
# No control character, and not only blanks.
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"


class Schema(AutoSchema):
    """A call documents every status that it may answer, each with its codes."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation:
            operation["responses"] |= self.refusals(operation)
        return operation

    def _insert_field_validators(self, field: Any, schema: Any) -> None:
        """Leave a line's length out where the pattern bounds it, or where nothing is refused for its length."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]
        if isinstance(field, LineField) and (field.pattern or field.is_reduced):
            schema.pop("maxLength", None)

    def refusals(self, operation: dict[str, Any]) -> dict[str, Any]:
        view: Any = self.view
        codes = {*ALWAYS, *view.refusals}
        codes |= {*BY_TOKEN} if view.kinds else set()
        codes |= {"permission_denied", "second_factor_required"} if Kind.STAFF in view.kinds else set()
        codes |= {*WITH_BODY} if "requestBody" in operation else set()
        codes |= {*WITH_QUERY} if any(each["in"] == "query" for each in operation.get("parameters", ())) else set()
        content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses: dict[str, Any] = {}
        for code in sorted(codes, key=list(CODES).index):
            described = responses.setdefault(str(CODES[code].status), {"description": "", "content": content})
            described["description"] += f"{', ' if described['description'] else ''}`{code}`"
        return dict(sorted(responses.items()))


def add_problem(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the one shape of every refusal, to which the calls refer."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    return result


def pattern_schema(pattern: str) -> dict[str, str]:
    """The schema of a parameter that matches the pattern as a whole."""
    return {"type": "string", "pattern": rf"^(?:{pattern})$"}


# --- Fields ----------------------------------------------------------------------------------------------------------


class LineSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A line has the pattern that is asked for; blanks around it are trimmed."""

    target_class = "portal.api.fields.LineField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)
        pattern = self.target.pattern
        if pattern is not None:
            blanks = " *" if self.target.trim_whitespace else ""
            return schema | pattern_schema(f"{blanks}(?:{pattern.pattern}){blanks}")
        if self.target.is_reduced:
            text = f"At most {self.target.max_length} characters; more are cut or left out."
            return schema | {"description": text}
        return schema | {"pattern": ONE_LINE}


class ItemsSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Any item may be sent: each is judged by itself, and what became of it stands in the answer."""

    target_class = "portal.api.fields.ItemsField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Any:
        component = auto_schema.resolve_serializer(self.target.serializer, direction)
        return {"type": "array", "items": {"anyOf": [component.ref, {}]}, "maxItems": self.target.most}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "portal.access.tokens.authentication.BearerAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vigie_<kind>_<key>_<secret>_<crc>"}
