"""The files of a version, as a page and the API hand them out."""

from flask import Response, send_file

from webapp.datasets import service as datasets
from webapp.errors import NotFound
from webapp.registry import report, service


def send(version_id: int, name: str) -> Response:
    """One file of the version, under a name that tells the version. Raises NotFound, MissingObject.

    The report is made at this moment, so that it tells of every look at the test images until now.
    """
    files = service.get(version_id).files
    if name == report.NAME:
        headers = {"Content-Disposition": f"attachment; filename=version-{version_id}-{name}"}
        return Response(report.html(version_id, is_file=True), mimetype="text/html", headers=headers)
    if name not in files:
        raise NotFound(f"Version {version_id} has no file '{name}'; it has {', '.join([*files, report.NAME])}.")
    with datasets.store().fetch(files[name]) as path:  # opened here, so it may go before it is sent
        return send_file(path, "application/octet-stream", True, f"version-{version_id}-{name}", etag=files[name])
