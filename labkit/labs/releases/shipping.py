"""A build that ships only what runs: what reaches the builder, what reaches the image, and what reaches neither."""

import io
import re
import secrets
import tarfile
from dataclasses import dataclass

from ...course.context import Context
from ...course.result import Result
from ...errors import NotPossibleHere
from ...units import MIB, yes_no
from ..images_and_registries.anatomy import files_of, unpacked
from ..images_and_registries.building import build
from ..images_and_registries.samples import source
from .kiosk import files

#: What lies about in a folder that one works in, and what ``.dockerignore`` names.
CLUTTER: dict[str, bytes] = {
    "notes.md": source("clutter")["notes.md"].encode(),
    "password.txt": source("clutter")["password.txt"].encode(),
    "recordings/monday.bin": bytes(3 * MIB),
}


def folder() -> dict[str, str | bytes]:
    """The kiosk's folder as one finds it at work: source, tests and clutter, and a Dockerfile that takes it all."""
    return {**files(), **CLUTTER, "Dockerfile": source("clutter")["Dockerfile"]}


@dataclass(frozen=True)
class Shipped:
    """One build: bytes of context that were sent, the files in the image's ``/app``, bytes above the base image."""

    context: int
    files: tuple[str, ...]
    size: int


class Shipping(Result):
    """The same folder built as it is, with a ``.dockerignore``, and in two stages."""

    ways: dict[str, Shipped]

    def facts(self) -> str:
        return "\n".join(f"{way:<20}{', '.join(one.files)}" for way, one in self.ways.items())


def shipping(on: Context) -> Shipping:
    """Build the kiosk from a folder with clutter in it, in three ways, and list what each image has in ``/app``.

    Method: the context is what the builder says was sent to it; an image's own bytes are its size less its base's.
    """
    lean = {**folder(), ".dockerignore": source("clutter")[".dockerignore"]}
    stages = {**lean, "Dockerfile": files()["Dockerfile"]}
    found: dict[str, Shipped] = {}
    for way, given in (("as it is", folder()), ("with .dockerignore", lean), ("and in two stages", stages)):
        tag = f"{on.session.name('shipped')}:{len(found) + 1}"
        built = build(on, tag, given)
        listed = on.ran(tag, ["find", "/app", "-type", "f"]).text.split()
        sizes = [on.docker.api.inspect_image(name)["Size"] for name in (tag, "labkit/python:1")]
        names = sorted(name.removeprefix("/app/") for name in listed)
        found[way] = Shipped(built.context, tuple(names), sizes[0] - sizes[1])
    return Shipping(on.facts, found)


#: Ways to hand a token to a step that signs the app with it.
WAYS = {
    "--build-arg": 'ARG TOKEN\nRUN (echo "$TOKEN"; cat /app.py) | sha256sum > /signature\n',
    "COPY, then rm": "COPY token /token\nRUN cat /token /app.py | sha256sum > /signature\nRUN rm /token\n",
    "--secret": "RUN --mount=type=secret,id=token cat /run/secrets/token /app.py | sha256sum > /signature\n",
}


class Leaks(Result):
    """For each way: the signature that the step made, and where in the saved image the token was found.

    ``why`` says why a way was not possible here.
    """

    signatures: dict[str, str]
    places: dict[str, list[str]]
    why: str = ""

    def facts(self) -> str:
        same = len(set(self.signatures.values())) == 1
        lines = [f"{way:<15}token found in: {', '.join(places) or 'nothing'}" for way, places in self.places.items()]
        lines += [self.why] if self.why else []
        return "\n".join([*lines, f"each step had the token, and made the same signature: {yes_no(same)}"])


def holders(on: Context, tag: str, *wanted: bytes) -> list[str]:
    """Where any of some byte strings is in an image as the engine saves it: in its configuration, and in files of its layers."""
    _, config, layers = files_of(io.BytesIO(b"".join(on.docker.api.get_image(tag))))

    def held(content: bytes) -> bool:
        return any(one in content for one in wanted)

    found = ["the configuration's history"] if held(config) else []
    for number, layer in enumerate(layers, 1):
        with tarfile.open(fileobj=io.BytesIO(unpacked(layer))) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content and held(content.read()):
                    found.append(f"layer {number}: /{member.name.removeprefix('./')}")
    return found


def leaks(on: Context) -> Leaks:
    """Sign the app with a token in each way, save each image, and search it for the token, byte by byte.

    Method: the token is new in each run; nothing comes from a cache. Searched are the configuration and every file of
    every layer, also of those that a later layer hides.
    """
    token = secrets.token_hex(16)
    line = f"{token}\n"
    signatures, places, why = {}, {}, ""
    for way, lines in WAYS.items():
        tag = f"{on.session.name('signed')}:{re.sub('[^a-z]+', '', way.lower())}"
        given = {"app.py": files()["app.py"], "Dockerfile": f"FROM labkit/busybox:1\nCOPY app.py /\n{lines}"}
        given |= {"token": line} if "COPY token" in lines else {}
        arguments = {"TOKEN": token} if "ARG" in lines else {}
        try:
            build(
                on, tag, given, cache=False, arguments=arguments, secrets={"token": line} if "secret" in lines else {}
            )
        except NotPossibleHere as fault:
            why = f"{way}: {fault.what}"
            continue
        places[way] = holders(on, tag, token.encode())
        signatures[way] = on.ran(tag, ["cat", "/signature"]).text.split()[0]
    return Leaks(on.facts, signatures, places, why)


class CacheMount(Result):
    """Modules that each build compiled, first and after one of them had changed; ``kept`` are files left in ``/cache``."""

    compiled: dict[str, list[list[str]]]
    kept: int
    changed: str

    def facts(self) -> str:
        lines = [f"{'':<25}first build   {self.changed} changed"]
        for way, (first, again) in self.compiled.items():
            lines.append(f"{way:<25}compiles {len(first)}    compiles {len(again)}: {', '.join(again)}")
        return "\n".join([*lines, f"files of the mounted cache in the image: {self.kept or 'none'}"])


def cache_mount(on: Context) -> CacheMount:
    """Build three modules, change one, and build again: by the layers' cache alone, and with a cache mount beside it.

    Method: what a step compiled is what it wrote. The mount has an id of its own in each run, so it begins empty.

    Raises:
        LabError: there is no BuildKit here.
    """
    own, changed, kept = secrets.token_hex(4), "price.py", 0
    compiled: dict[str, list[list[str]]] = {}
    mount = f"--mount=type=cache,id={on.session.name(own)},target=/cache "
    for way, option in (("the layers' cache alone", ""), ("with a cache mount", mount)):
        given = source("compile") | {f"{name}.py": f"NAME = '{name} {own}'\n" for name in ("door", "price", "till")}
        given["Dockerfile"] = given["Dockerfile"].replace("RUN ", f"RUN {option}")
        tag = f"{on.session.name('compiled')}:{'mount' if option else 'layers'}"
        compiled[way] = [
            re.findall(r"^compiles (\S+)$", build(on, tag, given | {changed: text}).steps[-1].output, re.M)
            for text in (given[changed], given[changed] + "CUP = 4\n")
        ]
        # An engine may leave the mount's place behind, empty, or nothing of it.
        kept = len(re.findall("^/cache/", on.ran(tag, ["find", "/cache", "-type", "f"]).text, re.M))
    return CacheMount(on.facts, compiled, kept, changed)
