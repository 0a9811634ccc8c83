"""The format of every error response of the API."""

from typing import Any

from django.http import HttpResponse


def read_problem(response: HttpResponse, status: int) -> dict[str, Any]:
    """Assert that the response is a problem document with this status, and return it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {
        "type", "title", "status", "detail", "instance", "request_id", "errors",
    }  # fmt: skip
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["request_id"] == response["X-Request-Id"]
    return problem


def error_pointers(response: HttpResponse) -> list[str]:
    """Return the JSON pointers of the errors of a 422 response."""
    return [error["pointer"] for error in read_problem(response, 422)["errors"]]
