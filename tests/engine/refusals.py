"""A registry that says no: ``python -m tests.engine.refusals ADDRESS [CERTIFICATE]`` prints its port and serves.

Each repository is refused in its own way, in the words of the registries that do so (Distribution's error codes).
With a certificate it speaks TLS.
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

#: Repository: status, the error's code and message.
REFUSALS = {
    "busy": (429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit."),
    "locked": (401, "UNAUTHORIZED", "authentication required"),
    "denied": (403, "DENIED", "requested access to the resource is denied"),
    "unknown": (404, "NAME_UNKNOWN", "repository name not known to registry"),
    "tagless": (404, "MANIFEST_UNKNOWN", "manifest unknown"),
}

#: An image for a processor that no test runs on.
FOREIGN = {
    "schemaVersion": 2, "mediaType": LIST,
    "manifests": [
        {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 7, "digest": "sha256:" + "0" * 64,
         "platform": {"architecture": "mips64le", "os": "linux"}},
    ],
}  # fmt: skip


class Registry(BaseHTTPRequestHandler):
    protocol_version = default_request_version = "HTTP/1.1"  # whoever tries TLS hears that this is HTTP

    def do_GET(self):
        parts = self.path.split("/")
        if len(parts) < 4:
            return self._say(200, {})
        if parts[2] == "foreign":
            return self._say(200, FOREIGN, LIST)
        status, code, message = REFUSALS[parts[2]]
        self._say(status, {"errors": [{"code": code, "message": message, "detail": None}]})

    do_HEAD = do_GET

    def _say(self, status, content, kind="application/json"):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="a registry"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def main() -> None:
    server = ThreadingHTTPServer((sys.argv[1], 0), Registry)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
