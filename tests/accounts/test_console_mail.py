from accounts import mail


def test_without_a_mail_server_mail_is_printed_as_it_would_be_read(settings, capsys):
    settings.EMAIL_BACKEND = "accounts.console_mail.EmailBackend"
    mail.send("verify_email", to="ada@example.org", link="http://localhost/x", username="ada")
    printed = capsys.readouterr().out
    assert "To ada@example.org: Confirm your e-mail address\n" in printed
    assert "\nhttp://localhost/x\n" in printed
    assert "<" not in printed
