"""Reads a file of the machine from within a container that holds nothing but the engine's socket.

Arguments: an image, the file's path, labels as JSON. It asks the engine for a second container, with the machine's
files in it, and says what that one says.
"""

import http.client
import json
import socket
import sys

image, path, labels = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


def ask(method, where, body=None):
    line = http.client.HTTPConnection("engine")
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.connect("/run/docker.sock")
    line.request(method, where, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = line.getresponse()
    text = answer.read()
    if answer.status >= 400:
        raise SystemExit(f"{method} {where}: {text.decode()}")
    return text


wish = {"Image": image, "Cmd": ["cat", f"/machine{path}"], "Tty": True, "Labels": labels}
made = json.loads(ask("POST", "/containers/create", {**wish, "HostConfig": {"Binds": ["/:/machine:ro"]}}))["Id"]
ask("POST", f"/containers/{made}/start")
ask("POST", f"/containers/{made}/wait")
print(ask("GET", f"/containers/{made}/logs?stdout=1").decode(), end="")
ask("DELETE", f"/containers/{made}?force=1")
