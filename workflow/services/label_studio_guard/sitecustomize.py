"""Runs in Label Studio's process before it: no file is served that a link leads to out of its folder.

Label Studio's local files follow links wherever they lead. Python imports this file by its name, from the
PYTHONPATH that `workflow up` sets; it imports nothing of ours, as Label Studio has an environment of its own.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path

_VIEWS = "io_storages.localfiles.views"


class _Guard(importlib.abc.MetaPathFinder):
    """Finds the module that serves files as it is, and changes what it answers with."""

    def find_spec(self, name, path=None, target=None):
        if not name.endswith(_VIEWS):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            _guard(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _guard(views):
    answer = views.build_localfile_response

    def guarded(*, request, full_path, **more):
        if _leads_out(str(views.settings.LOCAL_FILES_DOCUMENT_ROOT), full_path):
            return views.HttpResponseNotFound()
        return answer(request=request, full_path=full_path, **more)

    views.build_localfile_response = guarded


def _leads_out(root, path):
    """Whether a path below `root` is, links followed, not within the folder at its top, itself followed."""
    top = Path(root, Path(path).relative_to(root).parts[0])
    return not Path(path).resolve().is_relative_to(top.resolve())


sys.meta_path.insert(0, _Guard())
