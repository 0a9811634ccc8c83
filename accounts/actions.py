"""Every action that the audit trail knows, and how people read it."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

ACTIONS: dict[str, str | Promise] = {
    "sign_in.succeeded": _("Signed in"),
    "sign_in.failed": _("Sign-in refused"),
    "password.changed": _("Password changed"),
    "password.removed": _("Password taken away"),
    "token.issued": _("Token issued"),
    "token.used": _("One-time link used"),
    "token.revoked": _("Token revoked"),
    "token.all_revoked": _("All tokens and links revoked"),
    "session.ended": _("Signed out from elsewhere"),
    "session.others_ended": _("Signed out everywhere else"),
    "session.all_ended": _("Signed out everywhere"),
    "second_factor.switched_on": _("Second factor switched on"),
    "second_factor.switched_off": _("Second factor switched off"),
    "second_factor.asked": _("Password right, code asked for"),
    "second_factor.refused": _("Code of the second factor refused"),
    "second_factor.recovery_used": _("Recovery code used"),
    "second_factor.recovery_made": _("Recovery codes made"),
    "device.created": _("Device added"),
    "device.changed": _("Device changed"),
    "device.rotated": _("Token of a device rotated"),
    "device.decommissioned": _("Device deleted"),
    "device.purged": _("Readings of a deleted device removed"),
    "command.issued": _("Command sent"),
    "command.cancelled": _("Command cancelled"),
    "command.sent_to_many": _("Command sent to many devices"),
    "command.cancelled_for_many": _("Command to many devices cancelled"),
    "catalogue.created": _("Command added to the catalogue"),
    "catalogue.changed": _("Command of the catalogue changed"),
    "catalogue.deleted": _("Command removed from the catalogue"),
    "retention.created": _("Retention rule added"),
    "retention.changed": _("Retention rule changed"),
    "retention.deleted": _("Retention rule removed"),
    "user.created": _("User added"),
    "user.changed": _("User changed"),
    "group.created": _("Group added"),
    "group.changed": _("Group changed"),
    "group.deleted": _("Group removed"),
}
"""A dotted word: what it happened to, and what happened. A new one gets its line here."""

SUBJECTS: dict[str, str | Promise] = {
    "sign_in": _("Sign-ins"),
    "password": _("Passwords"),
    "token": _("Tokens"),
    "session": _("Sessions"),
    "second_factor": _("Second factor"),
    "device": _("Devices"),
    "command": _("Commands"),
    "catalogue": _("Catalogue"),
    "retention": _("Retention"),
    "user": _("Users"),
    "group": _("Groups"),
}
"""What the actions are about: the part before the dot."""
