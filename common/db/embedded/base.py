"""Database backend of the embedded PostgreSQL, which the first connection starts.

The settings use this backend if DATABASE_URL is not set; all other code is independent of it. The
processes of one machine share the server. The last process to exit stops it.
"""

from typing import Any

from django.conf import settings

from common.db.embedded.server import running_server
from common.db.postgres import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects to the embedded server."""

    def get_connection_params(self) -> dict[str, Any]:
        server = running_server(settings.DATA_DIR)
        postmaster = server.get_postmaster_info()
        self.settings_dict["USER"] = server.postgres_user
        self.settings_dict["HOST"] = str(postmaster.socket_dir or postmaster.hostname)
        self.settings_dict["PORT"] = str(postmaster.port)
        params: dict[str, Any] = super().get_connection_params()
        return params
