"""LXC's library, asked by Python: through its binding, and straight through its C functions.

Nothing is started: a container is defined, which takes a file of settings and no right at all.
"""

import json

from ...course.context import Context
from ...course.result import Result

#: What runs in the workshop, as the learner may read it. ``list_defined_containers`` and ``lxc_get_version`` are
#: functions of ``lxccontainer.h``; the binding is Debian's ``python3-lxc``.
SCRIPT = """\
import ctypes, json, pathlib, shutil, lxc
place = "/tmp/lxc-by-api"
shutil.rmtree(place, ignore_errors=True)
for folder in ("/run", place):  # LXC keeps its locks below /run
    pathlib.Path(folder).mkdir(exist_ok=True)
box = lxc.Container("by-python", place)
box.set_config_item("lxc.uts.name", "named-by-python")
box.save_config()
library = ctypes.CDLL("liblxc.so.1")
library.lxc_get_version.restype = ctypes.c_char_p
names = ctypes.POINTER(ctypes.c_char_p)()
count = library.list_defined_containers(place.encode(), ctypes.byref(names), None)
print(json.dumps({"binding": lxc.version, "library": library.lxc_get_version().decode(), "config": box.config_file_name,
    "names": [names[at].decode() for at in range(count)], "lines": pathlib.Path(box.config_file_name).read_text()}))
shutil.rmtree(place)
"""


class ByApi(Result):
    """What the binding wrote (``lines``, in the file ``config``) and which containers the C function found."""

    binding: str
    library: str
    config: str
    lines: str
    names: list[str]

    def facts(self) -> str:
        setting = next((line for line in self.lines.splitlines() if line.startswith("lxc.uts.name")), "nothing")
        return (
            f"Python's binding wrote:             {setting}\n"
            f"list_defined_containers(), in C:    {', '.join(self.names) or 'none'}"
        )


def program() -> str:
    """The program that :func:`by_api` runs."""
    return SCRIPT


def by_api(on: Context) -> ByApi:
    """Define a container with LXC's Python binding, and have its C library list what is defined.

    Raises:
        NotPossibleHere, LabError: Debian's packages of LXC are out of reach.
    """
    on.workshop.add("lxc")
    said = on.workshop.shell(f"python3 - <<'END'\n{SCRIPT}END", timeout=60)
    return ByApi(on.facts, **json.loads(said.strip().splitlines()[-1]))
