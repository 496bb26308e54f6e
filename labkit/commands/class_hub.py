"""The class's board as a service of a JupyterHub: behind the hub's login, for those whom its roles let in.

A hub starts its services with what they need in their environment: JupyterHub's documentation, "Services", and
``jupyterhub.services.auth``, which sends whoever is not logged in to the hub and back. Who may see the board is the
scope ``access:services!service=NAME`` in one of the hub's roles. Learners join as in a room, with the address and the
class's code: what their kernels send is signed, and needs no login.
"""

import os
import secrets
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado import web

from ..errors import NotPossibleHere
from .classes import TABLE, Board, Message
from .roll import Roll


class HubBoard(HubOAuthenticated, Board):  # type: ignore[misc]  # JupyterHub has no types
    """The board, for whom the hub lets in."""

    @web.authenticated
    def get(self, what: str) -> None:
        prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"].rstrip("/")
        self.show(what, f"{self.request.protocol}://{self.request.host}{prefix}", self.xsrf_token.decode())


def service(roll: Roll) -> tuple[web.Application, str, int]:
    """The board's application, and the address and port that the hub's proxy expects it at.

    Raises:
        NotPossibleHere: no hub has started this program as a service with an address.
    """
    found = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if not found.hostname or not found.port or not os.environ.get("JUPYTERHUB_SERVICE_NAME"):
        raise NotPossibleHere(
            "labkit class --hub is started by a JupyterHub, as a service with a url.",
            next_step="See deploy/README.md; without a hub: labkit class --ip 0.0.0.0",
        )
    application = web.Application(
        [
            (rf"{prefix}(join|progress)", Message, {"roll": roll}),
            (rf"{prefix}oauth_callback", HubOAuthCallbackHandler),
            (rf"{prefix}{TABLE}", HubBoard, {"roll": roll}),
        ],
        log_function=lambda handler: None,
        cookie_secret=secrets.token_bytes(32),
    )
    return application, found.hostname, found.port
