"""What every refusal of the API looks like."""

from typing import Any

from django.http import HttpResponse


def told(answer: HttpResponse, status: int) -> dict[str, Any]:
    """The problem document that every error is."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {
        "type", "title", "status", "detail", "instance", "request_id", "errors",
    }  # fmt: skip
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["request_id"] == answer["X-Request-Id"]
    return problem


def pointers(answer: HttpResponse) -> list[str]:
    """The places of what was sent that a 422 complains of."""
    return [fault["pointer"] for fault in told(answer, 422)["errors"]]
