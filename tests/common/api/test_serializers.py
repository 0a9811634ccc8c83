"""Strict serializers: accepted types of fields in bodies and in queries."""

import pytest
from django.http import QueryDict
from rest_framework import serializers

from common.api.serializers import StrictQuerySerializer, StrictSerializer


class Fields(serializers.Serializer):
    text = serializers.CharField(required=False, allow_null=True)
    number = serializers.IntegerField(required=False)
    id = serializers.UUIDField(required=False)
    ids = serializers.ListField(child=serializers.UUIDField(), required=False)


class Body(Fields, StrictSerializer):
    pass


class Query(Fields, StrictQuerySerializer):
    pass


GOOD = {
    "text": "5",
    "number": 5,
    "id": "00000000-0000-0000-0000-000000000005",
    "ids": ["00000000-0000-0000-0000-000000000005"],
}


def test_a_value_of_the_right_type_is_accepted() -> None:
    assert Body(data=GOOD).is_valid()
    assert Body(data={"text": None}).is_valid()
    assert Body(data={"number": 5.0}).is_valid()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 5),
        ("text", 0.5),
        ("text", True),
        ("text", ["5"]),
        ("text", {"5": 5}),
        ("number", "5"),
        ("number", True),
        ("number", 0.5),
        ("number", None),
        ("id", 5),
        ("ids", [GOOD["id"], 5]),
        ("ids", "5"),
    ],
)
def test_a_value_of_another_type_is_an_error_of_its_field(field: str, value: object) -> None:
    body = Body(data={**GOOD, field: value})
    assert not body.is_valid()
    assert set(body.errors) == {field}


def test_a_number_in_a_query_is_parsed_from_text() -> None:
    query = Query(data={"text": "5", "number": "5"})
    assert query.is_valid()
    assert query.validated_data["number"] == 5


@pytest.mark.parametrize("field", ["text", "number", "id"])
def test_an_empty_query_parameter_is_an_error(field: str) -> None:
    query = Query(data=QueryDict(f"{field}="))
    assert not query.is_valid()
    assert query.errors[field][0].code == "blank"


@pytest.mark.parametrize("kind", [Body, Query])
def test_an_unknown_field_is_an_error(kind: type[Fields]) -> None:
    unknown = kind(data={"texts": "5"})
    assert not unknown.is_valid()
    assert unknown.errors["texts"][0].code == "unknown-field"
