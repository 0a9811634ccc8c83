"""Forms of the admin, as a browser sends them."""

from typing import Any

from django.test import Client
from django.utils.html import escape


def opened_with(client: Client, path: str) -> dict[str, str]:
    """What the page of a form sends back to show what it was opened with."""
    page = client.get(path)
    given: str = page.context["adminform"].form.initial["opened_with"]
    assert escape(given) in page.content.decode()
    return {"opened_with": given}


def filled_in(client: Client, path: str, **changes: Any) -> dict[str, Any]:
    """All that the page of a form sends when nothing but `changes` is changed."""
    form = client.get(path).context["adminform"].form
    given = {name: value for name, value in form.initial.items() if name in form.fields}
    verified = given.pop("email_verified_at", None)
    if verified is not None:
        given["email_verified_at_0"] = verified.strftime("%Y-%m-%d")
        given["email_verified_at_1"] = verified.strftime("%H:%M:%S")
    return {
        name: value for name, value in {**given, **changes}.items() if value not in (None, False)
    }
