from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts import api as doors
from accounts import second_factor_views, session_views, signing_in, token_api, views

api = [
    path("auth/login", doors.Login.as_view()),
    path("auth/logout", doors.Logout.as_view()),
    path("tokens", token_api.TokenList.as_view()),
    path("tokens/<uuid:token_id>", token_api.TokenDetail.as_view()),
    path("sessions", token_api.SessionList.as_view()),
    path("sessions/<uuid:session_id>", token_api.SessionDetail.as_view()),
    path("audit", doors.AuditTrail.as_view()),
]
pages = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-in/code", signing_in.sign_in_code, name="sign-in-code"),
    path("sign-in/link", views.sign_in_by_link, name="sign-in-by-link"),
    path("sign-in/link/<str:secret>", views.open_link, name="sign-in-link"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("account/second-factor", second_factor_views.second_factor_page, name="second-factor"),
    path("account/second-factor/set-up", second_factor_views.set_up, name="second-factor-set-up"),
    path(
        "account/second-factor/recovery-codes",
        second_factor_views.recovery_codes,
        name="recovery-codes",
    ),
    path(
        "account/second-factor/switch-off",
        second_factor_views.switch_off,
        name="second-factor-switch-off",
    ),
    path("account/sessions", session_views.sessions_page, name="sessions"),
    path("account/sessions/<uuid:session_id>/end", session_views.end, name="session-end"),
    path("account/sessions/end-others", session_views.end_others, name="sessions-end-others"),
    path("account/password", views.set_password, name="set-password"),
    path("account/password/later", views.dismiss_password_notice, name="dismiss-password-notice"),
    path("account/activity", views.activity, name="activity"),
]
