"""Sphinx's settings for the course's site; tools/site lays out the pages and calls Sphinx with them."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import labkit  # noqa: E402


def repository() -> str:
    """Where the course can be cloned from, for the launch buttons: ``$LABKIT_REPOSITORY``, or a public origin."""
    asked = ["git", "-C", str(HERE), "remote", "get-url", "origin"]
    origin = subprocess.run(asked, capture_output=True, text=True).stdout.strip().removesuffix(".git")
    public = re.fullmatch(r"(?:https://|git@)(github\.com|gitlab\.com)[:/]([\w.-]+/[\w.-]+)", origin)
    return os.environ.get("LABKIT_REPOSITORY") or (f"https://{public[1]}/{public[2]}" if public else "")


project = "Container labs"
html_title = "Container labs on a live engine"
version = release = labkit.__version__
language = "en"
extensions = ["myst_nb", "course_site"]
# "--rm" is two hyphens.
smartquotes = False

nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
# The glossary is the index.
html_use_index = False
html_theme_options = {
    "logo": {"text": "Container labs"},
    # The side has one already.
    "navbar_persistent": [],
    "use_download_button": True,
    "toc_title": "On this page",
    "footer_content_items": ["extra-footer"],
    "extra_footer": f"labkit {release}, MIT licence",
}
if repository():
    # Which of them is there, is for who builds the site to say; Colab runs no engine.
    html_theme_options |= {
        "repository_url": repository(),
        "repository_provider": "gitlab" if "gitlab" in repository() else "github",
        "repository_branch": os.environ.get("LABKIT_BRANCH", "main"),
        "use_repository_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": os.environ.get("LABKIT_BINDER", "https://mybinder.org"),
            "jupyterhub_url": os.environ.get("LABKIT_HUB", ""),
        },
    }
