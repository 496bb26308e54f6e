"""An engine from an address: broken off and gone on with, changed meanwhile, damaged, not there."""

import http.server
import re
import threading

import pytest

from labkit.engine.embedded import archive, builder, carry, download, store
from labkit.errors import LabError


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file; knows ranges or not, breaks its connection after some bytes or not."""

    content, tag, ranges, breaks, asked = b"", '"1"', True, [], []

    def do_GET(self):
        if self.path != "/engine.labkit":
            return self.send_error(404)
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        whole = not (self.ranges and wanted and self.headers.get("If-Range") == self.tag)
        start = 0 if whole else int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        self.send_response(200 if whole else 206)
        self.send_header("ETag", self.tag)
        self.send_header("Content-Length", str(len(self.content) - start))
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        end = start + self.breaks.pop(0) if self.breaks else len(self.content)
        self.wfile.write(self.content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(make, monkeypatch):
    """A local server of one archive: its class, to be set up, and the address."""
    kind = type("Now", (Server,), {"content": make().read_bytes(), "breaks": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    yield kind, f"http://127.0.0.1:{server.server_port}/engine.labkit"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_broken_download_goes_on_where_it_broke(cache, served):
    server, url = served
    server.breaks[:] = [5000, 3000]
    place = carry.bring(url)
    assert server.asked == [None, "bytes=5000-", "bytes=8000-"]
    assert builder.current() == place and store.manifest(place)["imported"]["source"] == url
    assert not list((cache / "downloads").glob("*.part"))


def test_what_has_arrived_is_kept_for_the_next_command(cache, served):
    server, url = served
    server.breaks[:] = [4000, *[0] * download.TRIES]
    with pytest.raises(LabError, match="are kept"):
        carry.bring(url)
    server.breaks[:], server.asked[:] = [], []
    carry.bring(url)
    assert server.asked == ["bytes=4000-"]


def test_a_server_without_ranges_starts_again(cache, served):
    server, url = served
    server.ranges, server.breaks[:] = False, [5000]
    assert store.intact(carry.bring(url))
    assert len(server.asked) == 2


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(cache, served, make):
    server, url = served
    server.breaks[:] = [5000, *[0] * download.TRIES]
    with pytest.raises(LabError):
        carry.bring(url)
    server.content, server.tag, server.breaks[:] = make("newer", kernel="9").read_bytes(), '"2"', []
    assert store.manifest(carry.bring(url))["kernel"] == "9"


def test_a_damaged_download_is_thrown_away(cache, served):
    server, url = served
    whole = server.content
    server.content = whole[:-20000]
    with pytest.raises(archive.Damaged):
        carry.bring(url)
    assert not list((cache / "downloads").glob("*.part"))
    server.content, server.tag = whole, '"2"'
    assert store.intact(carry.bring(url))


def test_no_such_address_is_told(cache, served):
    _, url = served
    with pytest.raises(LabError, match="404") as told:
        carry.bring(url + "x")
    assert told.value.next_step
