"""PostgreSQL from the wheel, started by the first connection.

With DATABASE_URL unset this backend is in the settings; nothing else in the code knows which
PostgreSQL it speaks to. Processes on one machine share the server and the last one to exit
stops it.
"""

from typing import Any

from django.conf import settings

from common.db.embedded.server import running_server
from common.db.postgres import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Ours, with the address of the embedded server."""

    def get_connection_params(self) -> dict[str, Any]:
        server = running_server(settings.DATA_DIR)
        address = server.get_postmaster_info()
        self.settings_dict["USER"] = server.postgres_user
        self.settings_dict["HOST"] = str(address.socket_dir or address.hostname)
        self.settings_dict["PORT"] = str(address.port)
        params: dict[str, Any] = super().get_connection_params()
        return params
