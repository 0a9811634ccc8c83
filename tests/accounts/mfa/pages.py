"""Paths of the login with MFA, and helpers for its pages."""

import pyotp
from django.test import Client
from django.utils import timezone

SIGN_IN = "/sign-in"
CODE = "/sign-in/code"
SET_UP = "/account/second-factor/set-up"
LOGIN = "/api/v1/auth/login"


def is_signed_in(browser: Client) -> bool:
    return browser.get("/tokens").status_code == 200


def current_code(totp: pyotp.TOTP) -> str:
    return totp.at(timezone.now())
