"""The local servers behind the workflow: Label Studio, mongod and the FiftyOne App.

`up` starts what is not running, `down` stops it, `status` looks. All of it lives in one state
folder, is reachable from this computer only, and is found again by a mark in each server's
environment, so that neither a crash nor a deleted file makes a second copy.
"""

from workflow.services.control import ServiceStatus, down, preferred_ports, status, up
from workflow.services.database import database_uri, fiftyone_environment
from workflow.services.folders import served_root, state_folder
from workflow.services.label_studio import LabelStudioAccess, label_studio_access
from workflow.services.network import probe_port
from workflow.services.service import SERVICES

__all__ = [
    "SERVICES",
    "LabelStudioAccess",
    "ServiceStatus",
    "database_uri",
    "down",
    "fiftyone_environment",
    "label_studio_access",
    "preferred_ports",
    "probe_port",
    "served_root",
    "state_folder",
    "status",
    "up",
]
