"""The kinds of panels that the dashboards are made of, and how a dashboard is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# Units as Grafana calls them.
SECONDS: Final = "s"
DOLLARS: Final = "currencyUSD"
PER_SECOND: Final = "ops"
REQUESTS_PER_SECOND: Final = "reqps"
SHARE: Final = "percentunit"
BYTES: Final = "bytes"
COUNT: Final = "short"

TAG: Final = "agent-executor"
# Money is counted in nano-dollars and shown in dollars.
NANO_PER_DOLLAR: Final = "1e9"

# The histograms whose buckets have a trace beside them: what is timed is a span there.
_TRACED: Final = {
    "agent_executor_run_duration_seconds",
    "agent_executor_agent_run_duration_seconds",
    "agent_executor_model_call_duration_seconds",
    "agent_executor_tool_call_duration_seconds",
    "agent_executor_rpc_duration_seconds",
}

_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLUMNS: Final = 24
_GREEN, _YELLOW, _RED = "green", "yellow", "red"

Panel: TypeAlias = bargauge.Panel | series.Panel | stat.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expression: In PromQL, with the dashboard's variables.
        legend: What a line is called, with `{{label}}` for a label's value.
        has_exemplars: Whether the traces beside a histogram are shown as points.
    """

    expression: str
    legend: str = ""
    has_exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, each of the same width.

    Attributes:
        title: The heading.
        panels: Of the first line, and of the ones below it.
        height: Of each line, in Grafana's units.
    """

    title: str
    panels: Sequence[Sequence[Panel]]
    height: int = 8


def quantiles(histogram: str, selector: str = "", by: str = "") -> list[Query]:
    """Returns the median, p95 and p99 of a histogram, with traces as points where it has them.

    Args:
        histogram: Its name, without `_bucket`.
        selector: Matchers of its labels, as `job="web"`.
        by: A label whose values are shown apart, in which case there is the p95 alone.
    """
    matched = f"{histogram}_bucket{{{selector}}}" if selector else f"{histogram}_bucket"
    labels = f"le, {by}" if by else "le"
    rates = f"sum by ({labels}) (rate({matched}[$__rate_interval]))"
    has_exemplars = histogram in _TRACED
    if by:
        return [Query(f"histogram_quantile(0.95, {rates})", f"{{{{{by}}}}}", has_exemplars)]
    # The same points come with each line, so that one is asked for them.
    return [
        Query(f"histogram_quantile({share}, {rates})", name, has_exemplars and name == "p50")
        for name, share in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"))
    ]


def rate(counter: str, by: str = "", selector: str = "") -> str:
    """Returns how much a counter grows per second, summed by labels."""
    matched = f"{counter}{{{selector}}}" if selector else counter
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({matched}[$__rate_interval]))"


def lines(title: str, description: str, unit: str, queries: Sequence[Query]) -> series.Panel:
    """Makes a panel of lines over time."""
    legend = (
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .placement(look.LegendPlacement.BOTTOM)
        .display_mode(look.LegendDisplayMode.LIST)
    )
    panel = (
        series.Panel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(8)
        .line_width(2)
        .show_points(look.VisibilityMode.NEVER)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI))
    )
    for number, query in enumerate(queries):
        panel.with_target(_target(query, number))
    return panel


def stacked(title: str, description: str, unit: str, queries: Sequence[Query]) -> series.Panel:
    """Makes a panel of areas over time, one on the other."""
    stacking = common.StackingConfig().mode(look.StackingMode.NORMAL).group("A")
    return lines(title, description, unit, queries).stacking(stacking).fill_opacity(40)


def figure(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Sequence[float] = (),
    decimals: int | None = None,
) -> stat.Panel:
    """Makes a panel of one figure, with its course behind it.

    Args:
        title: The panel's title.
        description: What the figure tells.
        unit: Its unit.
        query: It.
        steps: Two values at which it becomes yellow and red; good is below them if they rise,
            and above them if they fall. Without them it has no colour.
        decimals: How many are shown.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .unit(unit)
        .graph_mode(look.BigValueGraphMode.AREA)
        .color_mode(look.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .with_target(_target(query, 0))
    )
    return panel if decimals is None else panel.decimals(decimals)


def bars(title: str, description: str, unit: str, query: Query) -> bargauge.Panel:
    """Makes a panel with a bar for each value of a label, over the whole time that is shown."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .orientation(look.VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(()))
        .with_target(_target(query, 0).instant())
    )


def rows(title: str, description: str, query: Query) -> table.Panel:
    """Makes a table with a line for each series and a column for each label."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .with_target(_target(query, 0).instant().format(PromQueryFormat.TABLE))
    )


def choice(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """Makes a variable with the values that a label of a metric has."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def board(
    name: str,
    title: str,
    description: str,
    content: Sequence[Row],
    choices: Sequence[dashboard.QueryVariable] = (),
) -> models.Dashboard:
    """Puts a dashboard together, with links to the others and numbers for its panels."""
    building = (
        dashboard.Dashboard(title)
        .uid(f"{TAG}-{name}")
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_link_to_the_others())
        .with_variable(_datasource())
    )
    for variable in choices:
        building.with_variable(variable)
    number = 0
    for row in content:
        number += 1
        building.with_row(dashboard.Row(row.title).id(number))
        for line in row.panels:
            for panel in line:
                number += 1
                width = _COLUMNS // len(line)
                building.with_panel(panel.id(number).height(row.height).span(width))
    return building.build()


def _target(query: Query, number: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(query.expression)
    target.datasource(_SOURCE).range().legend_format(query.legend or "__auto")
    return target.exemplar(exemplar=query.has_exemplars)


def _thresholds(steps: Sequence[float]) -> dashboard.ThresholdsConfig:
    colours = [_GREEN, _YELLOW, _RED]
    if not steps:
        colours = ["text"]
    elif steps[0] > steps[-1]:
        colours.reverse()
    values = [None, *sorted(steps)]
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(value=value, color=colour)
                for value, colour in zip(values, colours, strict=True)
            ]
        )
    )


def _datasource() -> dashboard.DatasourceVariable:
    chosen = models.VariableOption(text="Prometheus", value="prometheus", selected=True)
    variable = dashboard.DatasourceVariable("datasource").label("Prometheus")
    return variable.type("prometheus").current(chosen)


def _link_to_the_others() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Agent Executor").type(models.DashboardLinkType.DASHBOARDS)
    return link.tags([TAG]).keep_time(keep_time=True).include_vars(include_vars=False)
