"""For a JupyterHub whose users are users of one machine: The Littlest JupyterHub, or a hub with LocalProcessSpawner.

It takes each user's notebooks from labkit, gives all of them one engine to start from (``labkit engine import --shared``)
and adds the class's board, for whom LABKIT_INSTRUCTORS names. deploy/README.md says where to put it. Settings by their
reference: https://jupyterhub.readthedocs.io/en/stable/reference/api/spawner.html (Spawner.cmd, .environment,
.start_timeout), .../reference/services.html, .../rbac/roles.html.
"""

import os

c = get_config()  # noqa: F821  # JupyterHub's own

#: Where labkit is installed for all users, and the cache that was imported for them.
PROGRAM = os.environ.get("LABKIT_PROGRAM", "/opt/tljh/user/bin/labkit")
CACHE = os.environ.get("LABKIT_SHARED_CACHE", "/opt/labkit")

c.Spawner.cmd = [PROGRAM, "lab", "--hub"]
c.Spawner.environment = {"LABKIT_ENGINE": "embedded", "LABKIT_CACHE": CACHE}
c.Spawner.start_timeout = 120  # many log in at once when a class begins

# The board's program is not root: who it runs as owns its state. Appended: other services and roles stay.
c.JupyterHub.services.append(
    {
        "name": "class",
        "url": os.environ.get("LABKIT_CLASS_URL", "http://127.0.0.1:8890"),
        "command": [PROGRAM, "class", "--hub"],
        "user": os.environ.get("LABKIT_CLASS_USER", "labkit"),
        "oauth_no_confirm": True,
    }
)
c.JupyterHub.load_roles.append(
    {
        "name": "labkit-instructors",
        "scopes": ["access:services!service=class"],
        "users": os.environ.get("LABKIT_INSTRUCTORS", "").split(),
    }
)
