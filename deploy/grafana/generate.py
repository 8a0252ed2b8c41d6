"""Write the dashboards as Grafana reads them: ``python -m deploy.grafana.generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.agents_and_cost import agents_and_cost
from deploy.grafana.overview import overview
from deploy.grafana.services_and_gateway import services_and_gateway
from deploy.grafana.tools_and_sandbox import tools_and_sandbox

TARGET: Final = Path(__file__).with_name("dashboards")


def files() -> dict[Path, str]:
    """Returns the text of each file."""
    dashboards = (overview(), agents_and_cost(), tools_and_sandbox(), services_and_gateway())
    encoder = JSONEncoder(indent=2, sort_keys=True)
    return {
        TARGET / f"{str(dashboard.uid).removeprefix('agent-executor-')}.json": (
            encoder.encode(dashboard) + "\n"
        )
        for dashboard in dashboards
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
