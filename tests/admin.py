"""Form data of the admin, as a browser sends it."""

from typing import Any

from django.test import Client
from django.utils.html import escape


def initial_values_field(client: Client, path: str) -> dict[str, str]:
    """Return the hidden field with the values that the form was opened with."""
    page = client.get(path)
    initial: str = page.context["adminform"].form.initial["opened_with"]
    assert escape(initial) in page.content.decode()
    return {"opened_with": initial}


def form_data(client: Client, path: str, **changes: Any) -> dict[str, Any]:
    """Return the data that the form sends when only `changes` are changed."""
    form = client.get(path).context["adminform"].form
    initial = {name: value for name, value in form.initial.items() if name in form.fields}
    verified = initial.pop("email_verified_at", None)
    if verified is not None:
        initial["email_verified_at_0"] = verified.strftime("%Y-%m-%d")
        initial["email_verified_at_1"] = verified.strftime("%H:%M:%S")
    return {
        name: value for name, value in {**initial, **changes}.items() if value not in (None, False)
    }
