"""Where Label Studio finds an image: on this machine's disk, on a web server, in a bucket."""

from __future__ import annotations

from urllib.parse import quote

from workflow.errors import LabelStudioError
from workflow.labelstudio.client import Client
from workflow.labelstudio.regions import local_file_url
from workflow.records import ImageRecord

# The scheme of an address -> what Label Studio calls the storage it signs such addresses with, and people do.
STORAGES = {"s3": ("s3", "AWS S3"), "gs": ("gcs", "Google Cloud Storage")}


class NoStorage(LabelStudioError):
    """The project cannot show images of a bucket until a person adds it there."""


def address(folder: str, record: ImageRecord, template: str | None) -> str:
    """The address of an image by its path below the image folder, which is served as `folder` by default.

    What browsers do not show as it is has its copy's address. A bucket's keys are plain text, so nothing is
    quoted there.
    """
    if template is None:
        shown = (copies_of(folder), record.png) if record.png else (folder, record.path)
        return local_file_url(*shown)
    return template.replace("{path}", record.path if _bucket(template) else quote(record.path))


def copies_of(folder: str) -> str:
    """As what the copies are served of the images that are served as `folder`; no project has such a name."""
    return f"{folder}.copies"


def check_storage(client: Client, project: int, template: str | None) -> None:
    """NoStorage where images lie in a bucket that the project has no storage for.

    The keys to a bucket are the server's affair: a person gives them to it once, and never to us.
    """
    place = _bucket(template or "")
    if place is None:
        return
    scheme, bucket = place
    kind, title = STORAGES[scheme]
    storages = client.get(f"api/storages/{kind}/", project=project) or []
    if not any(storage.get("bucket") == bucket for storage in storages):
        page = f"{client.url}/projects/{project}/settings/storage"
        raise NoStorage(
            f"project {project} has no storage for {scheme}://{bucket}, so it cannot show the images",
            f"at {page} add a source storage ({title}, bucket {bucket}; do not sync it), then workflow push",
        )


def _bucket(template: str) -> tuple[str, str] | None:
    scheme, _, rest = template.partition("://")
    return (scheme, rest.split("/")[0]) if scheme in STORAGES else None
