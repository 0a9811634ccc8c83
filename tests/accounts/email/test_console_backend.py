from accounts.email import sending


def test_the_console_backend_prints_mail_as_plain_text(settings, capsys):
    settings.EMAIL_BACKEND = "accounts.email.console_backend.PlainConsoleBackend"
    sending.send_email(
        "verify_email", to="ada@example.org", link="http://localhost/x", username="ada"
    )
    printed = capsys.readouterr().out
    assert "To ada@example.org: Confirm your e-mail address\n" in printed
    assert "\nhttp://localhost/x\n" in printed
    assert "<" not in printed
