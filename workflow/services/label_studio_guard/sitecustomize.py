"""Runs in Label Studio's process before it: what it may not serve, and whom it may not ask.

Label Studio's local files follow links wherever they lead; and a page of it has the server fetch its tips
from GitHub. Python imports this file by its name, from the PYTHONPATH that `workflow up` sets; it imports
nothing of ours, as Label Studio has an environment of its own.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path


class _Change(importlib.abc.MetaPathFinder):
    """Finds one module as it is, and changes it once it is loaded."""

    def __init__(self, module, change):
        self.module = module
        self.change = change

    def find_spec(self, name, path=None, target=None):
        if not f".{name}".endswith(f".{self.module}"):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _keep_within_folders(views):
    """No file is served that a link leads to out of its folder."""
    answer = views.build_localfile_response

    def guarded(*, request, full_path, **more):
        if _leads_out(str(views.settings.LOCAL_FILES_DOCUMENT_ROOT), full_path):
            return views.HttpResponseNotFound()
        return answer(request=request, full_path=full_path, **more)

    views.build_localfile_response = guarded


def _ask_nobody(views):
    """Its tips are answered as where there is no network: pages then show those that they bring along."""

    def no_tips(request):
        return views.HttpResponse("{}", content_type="application/json", status=404)

    views.heidi_tips = no_tips


def _leads_out(root, path):
    """Whether a path below `root` is, links followed, not within the folder at its top, itself followed."""
    top = Path(root, Path(path).relative_to(root).parts[0])
    return not Path(path).resolve().is_relative_to(top.resolve())


sys.meta_path.insert(0, _Change("io_storages.localfiles.views", _keep_within_folders))
sys.meta_path.insert(0, _Change("core.views", _ask_nobody))
