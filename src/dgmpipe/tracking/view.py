"""How MLflow's pages show runs: the colour of each, and a view of the GANs that a link opens."""

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["VIEW", "colour", "view_state"]

# The link's `viewStateShareKey`.
VIEW = "gans"
# Okabe and Ito's, which differ for the colour-blind as well, then darker ones.
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#004d78", "#8a3d00", "#00664b", "#8f4a73", "#946600", "#2b6f94"),
)
_METRIC = "energy_distance"


def colour(models: Sequence[str], model: str) -> str:
    """Return the colour of a model's runs: no two of the first 12 are alike.

    Args:
        models: The models of its family.
        model: One of them.
    """
    return _COLOURS[models.index(model) % len(_COLOURS)]


def view_state() -> str:
    """Return what MLflow's pages take from a link: the GANs on one logarithmic chart.

    Sorted by a metric, MLflow leaves out the run of the invocation, which has no line in the chart.
    """
    section = "dgmpipe"
    chart: dict[str, Any] = {
        "uuid": "dgmpipe-gans",
        "type": "LINE",
        "metricSectionId": section,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        "metricKey": _METRIC,
        "selectedMetricKeys": [_METRIC],
        "lineSmoothness": 0,
        "scaleType": "log",
        "xAxisScaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
    state = {
        "searchFilter": "tags.family = 'gan'",
        "orderByKey": f"metrics.`final/{_METRIC}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [chart],
        "compareRunSections": [
            {
                "uuid": section,
                "name": "The GANs over their training",
                "display": True,
                "isReordered": False,
                "columns": 1,
                "cardHeight": 480,
            }
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "useGroupedValuesInCharts": True,
    }
    return json.dumps(state)
