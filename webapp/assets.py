"""Third-party scripts, served from the installed packages that ship them: no CDN, no copies in the repository."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort, send_file

bp = Blueprint("assets", __name__)
FILES = {
    "htmx.js": ("js_lib_htmx", "static/htmx/htmx.min.js"),
    "plotly.js": ("plotly", "package_data/plotly.min.js"),
}


@bp.get("/vendor/<version>/<name>")
def vendor(version: str, name: str) -> Response:
    """A script by its name; `version` only makes the address change with the package."""
    if name not in FILES:
        abort(404)
    response = send_file(path_of(name), mimetype="text/javascript", max_age=31_536_000)
    response.cache_control.immutable = True
    return response


@cache
def path_of(name: str) -> Path:
    package, file = FILES[name]
    spec = find_spec(package)  # finds the folder without importing the package
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"The package '{package}' is not installed; run `make install`.")
    return Path(spec.submodule_search_locations[0]) / file


@cache
def version_of(name: str) -> str:
    """A short tag of the file that is served, for its address."""
    stat = path_of(name).stat()
    return f"{stat.st_size:x}-{int(stat.st_mtime):x}"
