from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts import (
    account_views,
    join_views,
    profile_api,
    session_views,
    signup_api,
    token_api,
    views,
)
from accounts import api as doors

api = [
    path("auth/login", doors.Login.as_view()),
    path("auth/logout", doors.Logout.as_view()),
    path("auth/register", signup_api.Register.as_view()),
    path("auth/verify-email", signup_api.VerifyEmail.as_view()),
    path("auth/verify-email/resend", signup_api.ResendVerification.as_view()),
    path("auth/password-reset", signup_api.PasswordReset.as_view()),
    path("auth/password-reset/confirm", signup_api.ConfirmPasswordReset.as_view()),
    path("auth/password", profile_api.ChangePassword.as_view()),
    path("auth/join", signup_api.Join.as_view()),
    path("invitations", signup_api.Invitations.as_view()),
    path("tokens", token_api.TokenList.as_view()),
    path("tokens/<uuid:token_id>", token_api.TokenDetail.as_view()),
    path("sessions", token_api.SessionList.as_view()),
    path("sessions/<uuid:session_id>", token_api.SessionDetail.as_view()),
    path("audit", doors.AuditTrail.as_view()),
]
pages = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-in/link", views.sign_in_by_link, name="sign-in-by-link"),
    path("sign-in/link/<str:secret>", views.open_link, name="sign-in-link"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("sign-up", join_views.sign_up, name="sign-up"),
    path("check-your-inbox", join_views.check_inbox, name="check-inbox"),
    path("verify-email", join_views.verify_email, name="verify-email"),
    path("verify-email/again", join_views.ask_again, name="verify-email-again"),
    path("verify-email/<str:secret>", join_views.open_verification, name="verify-email-link"),
    path("join", join_views.join, name="join"),
    path("join/<str:secret>", join_views.open_invitation, name="join-link"),
    path("password-reset", join_views.forgotten, name="password-reset"),
    path("password-reset/new", join_views.new_password, name="new-password"),
    path("password-reset/<str:secret>", join_views.open_reset, name="password-reset-link"),
    path("account", account_views.account, name="account"),
    path("account/address", account_views.change_address, name="change-address"),
    path("account/address/keep", account_views.keep_address, name="keep-address"),
    path("account/sessions", session_views.sessions_page, name="sessions"),
    path("account/sessions/<uuid:session_id>/end", session_views.end, name="session-end"),
    path("account/sessions/end-others", session_views.end_others, name="sessions-end-others"),
    path("account/password", views.set_password, name="set-password"),
    path("account/password/later", views.dismiss_password_notice, name="dismiss-password-notice"),
    path("account/activity", views.activity, name="activity"),
]
