"""What pyproject.toml can't say: the wheel carries notebooks/ and data/ inside the package, as labkit/shipped/.

In a checkout, and so in an editable install, they stay where they are (labkit/paths.py finds them in both).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: The screenshots are for README.md and docs/.
LEFT_OUT = {"screenshots", "__pycache__"}
SHIPPED = [
    path
    for path in sorted([*Path("notebooks").glob("*.ipynb"), *Path("data").rglob("*")])
    if path.is_file() and not LEFT_OUT.intersection(path.parts)
]


class BuildWithCourse(build_py):
    """``build_py`` that adds the course's files, and begins anew: an older build's files must not be shipped."""

    def run(self):
        package = Path(self.build_lib, "labkit")
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        for source in [] if self.editable_mode else SHIPPED:
            target = package / "shipped" / source
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_source_files(self):
        """What an sdist holds as well, so that a wheel can be built from it."""
        return [*super().get_source_files(), *map(str, SHIPPED)]


setup(cmdclass={"build_py": BuildWithCourse})
