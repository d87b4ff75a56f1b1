"""What Label Studio serves of this machine: the images, and nothing that a link leads to elsewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.samples import draw_project
from workflow import services
from workflow.labelstudio import connection
from workflow.labelstudio.client import Client
from workflow.stages import catalog

pytestmark = pytest.mark.services


def test_links_out_of_the_image_folder_are_not_served(tmp_path: Path, servers: Path, client: Client) -> None:
    project = draw_project(tmp_path, "detection", 2)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "private.png").write_bytes(b"private")
    (project.images / "hostname.png").symlink_to("/etc/hostname")
    (project.images / "etc").symlink_to("/etc")
    (project.images / "relative.png").symlink_to("../../../../outside/private.png")
    (project.images / "within.png").symlink_to("shapes-00.png")
    catalog.run(project)
    served = connection.serve(project)
    number = client.create_project("Links", "", {"label_config": "<View/>"})["id"]
    client.serve_folder(number, str(served), project.name)
    headers = {"Authorization": f"Token {services.label_studio_access(servers).api_key}"}

    def ask(path: str) -> tuple[int, bytes]:
        address = f"{client.url}/data/local-files/?d={quote(f'{project.name}/{path}')}"
        answer = httpx.get(address, headers=headers, timeout=60)
        return answer.status_code, answer.content

    image = (project.images / "shapes-00.png").read_bytes()
    assert ask("shapes-00.png") == (200, image)
    assert ask("within.png") == (200, image)
    for path in ("hostname.png", "etc/hostname", "relative.png", "../../../../../etc/hostname"):
        code, content = ask(path)
        assert code != 200 and Path("/etc/hostname").read_bytes() not in content and b"private" not in content
