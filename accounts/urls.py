from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts import api as doors
from accounts import views

api = [
    path("auth/login", doors.Login.as_view()),
    path("auth/logout", doors.Logout.as_view()),
    path("audit", doors.AuditTrail.as_view()),
]
pages = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-in/link", views.sign_in_by_link, name="sign-in-by-link"),
    path("sign-in/link/<str:secret>", views.open_link, name="sign-in-link"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("account/password", views.set_password, name="set-password"),
    path("account/password/later", views.dismiss_password_notice, name="dismiss-password-notice"),
    path("account/activity", views.activity, name="activity"),
]
