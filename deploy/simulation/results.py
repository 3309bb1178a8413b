from collections.abc import Sequence
from deploy.simulation.study import Study


def section(study: Study, names: Sequence[str], command: str) -> str:
    return ""
