"""TLS settings for docker-py that hold whatever the user's own environment says."""

from __future__ import annotations

from docker.tls import TLSConfig
from requests import Session

from .keys import Keys


class LoopbackTLS(TLSConfig):  # type: ignore[misc]  # docker-py has no types
    """Mutual TLS to an engine on this machine.

    ``requests`` lets ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` (set on many company laptops)
    replace the authority given in code, and sends even loopback addresses to a proxy. Neither may
    happen here.
    """

    def __init__(self, keys: Keys):
        super().__init__(client_cert=(str(keys.cert), str(keys.key)), ca_cert=str(keys.ca), verify=True)

    def configure_client(self, client: Session) -> None:
        client.trust_env = False
        super().configure_client(client)
