from django.urls import path

from accounts.audit import api as audit_api
from accounts.audit import views as audit_views
from accounts.authentication import api as authentication_api
from accounts.authentication import login
from accounts.authentication import views as authentication_views
from accounts.mfa import views as mfa_views
from accounts.passwords import views as password_views
from accounts.profile import api as profile_api
from accounts.profile import views as profile_views
from accounts.registration import api as registration_api
from accounts.registration import views as registration_views
from accounts.sessions import api as sessions_api
from accounts.sessions import views as session_views
from accounts.tokens import api as tokens_api

api = [
    path("auth/login", authentication_api.LoginView.as_view()),
    path("auth/logout", authentication_api.LogoutView.as_view()),
    path("auth/register", registration_api.RegisterView.as_view()),
    path("auth/verify-email", registration_api.VerifyEmailView.as_view()),
    path("auth/verify-email/resend", registration_api.ResendVerificationView.as_view()),
    path("auth/password-reset", registration_api.PasswordResetView.as_view()),
    path("auth/password-reset/confirm", registration_api.PasswordResetConfirmView.as_view()),
    path("auth/address/resend", profile_api.ResendLinkView.as_view()),
    path("auth/password", profile_api.ChangePasswordView.as_view()),
    path("auth/join", registration_api.AcceptInvitationView.as_view()),
    path("invitations", registration_api.InvitationListView.as_view()),
    path("tokens", tokens_api.TokenListView.as_view()),
    path("tokens/<uuid:token_id>", tokens_api.TokenDetailView.as_view()),
    path("sessions", sessions_api.SessionListView.as_view()),
    path("sessions/<uuid:session_id>", sessions_api.SessionDetailView.as_view()),
    path("audit", audit_api.AuditEventListView.as_view()),
]
pages = [
    path("sign-in", authentication_views.sign_in, name="sign-in"),
    path("sign-in/code", login.mfa_challenge, name="sign-in-code"),
    path("sign-in/link", authentication_views.confirm_one_time_link, name="sign-in-by-link"),
    path("sign-in/link/<str:secret>", authentication_views.one_time_link, name="sign-in-link"),
    path("sign-out", login.sign_out, name="sign-out"),
    path("sign-up", registration_views.sign_up, name="sign-up"),
    path("check-your-inbox", registration_views.check_inbox, name="check-inbox"),
    path("verify-email", registration_views.verify_email, name="verify-email"),
    path("verify-email/again", registration_views.resend_verification, name="verify-email-again"),
    path(
        "verify-email/<str:secret>", registration_views.verification_link, name="verify-email-link"
    ),
    path("join", registration_views.accept_invitation, name="join"),
    path("join/<str:secret>", registration_views.invitation_link, name="join-link"),
    path("password-reset", registration_views.request_password_reset, name="password-reset"),
    path("password-reset/new", registration_views.new_password, name="new-password"),
    path(
        "password-reset/<str:secret>",
        registration_views.password_reset_link,
        name="password-reset-link",
    ),
    path("account", profile_views.account, name="account"),
    path("account/address", profile_views.change_email, name="change-address"),
    path("account/address/resend", profile_views.resend_link, name="resend-link"),
    path("account/address/keep", profile_views.cancel_email_change, name="keep-address"),
    path("account/second-factor", mfa_views.second_factor_page, name="second-factor"),
    path("account/second-factor/set-up", mfa_views.set_up, name="second-factor-set-up"),
    path(
        "account/second-factor/recovery-codes",
        mfa_views.recovery_codes,
        name="recovery-codes",
    ),
    path(
        "account/second-factor/switch-off",
        mfa_views.switch_off,
        name="second-factor-switch-off",
    ),
    path("account/sessions", session_views.sessions_page, name="sessions"),
    path("account/sessions/<uuid:session_id>/end", session_views.end_session, name="session-end"),
    path("account/sessions/end-others", session_views.end_others, name="sessions-end-others"),
    path("account/password", password_views.set_password, name="set-password"),
    path(
        "account/password/later",
        password_views.dismiss_password_notice,
        name="dismiss-password-notice",
    ),
    path("account/activity", audit_views.activity, name="activity"),
]
