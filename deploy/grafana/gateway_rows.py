"""The rows on the gateway, from Envoy's own figures."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import (
    BYTES,
    COUNT,
    PER_SECOND,
    REQUESTS_PER_SECOND,
    SHARE,
    Query,
    Row,
    lines,
    rate,
    stacked,
)

# Envoy counts durations in milliseconds.
_MILLISECONDS: Final = "ms"
_GATEWAY: Final = 'envoy_http_conn_manager_prefix="gateway"'
_SERVICES: Final = 'envoy_cluster_name=~"executor|tool_runner|ledger|web"'


def gateway_rows() -> list[Row]:
    """Makes the rows."""
    return [_requests(), _services(), _limits()]


def _requests() -> Row:
    answers = stacked(
        "Requests",
        "Per second, by class of the HTTP status.",
        REQUESTS_PER_SECOND,
        [
            Query(
                rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", _GATEWAY),
                "{{envoy_response_code_class}}xx",
            )
        ],
    )
    timed = "envoy_vhost_vcluster_upstream_rq_time_bucket"
    took = lines(
        "How long requests took (p95)",
        "Those that may wait for a run, and the others.",
        _MILLISECONDS,
        [
            Query(
                "histogram_quantile(0.95, sum by (le, envoy_virtual_cluster)"
                f" (rate({timed}[$__rate_interval])))",
                "{{envoy_virtual_cluster}}",
            )
        ],
    )
    open_now = lines(
        "Under way",
        "Requests and connections, of all gateways.",
        COUNT,
        [
            Query(f"sum(envoy_http_downstream_rq_active{{{_GATEWAY}}})", "requests"),
            Query(f"sum(envoy_http_downstream_cx_active{{{_GATEWAY}}})", "connections"),
        ],
    )
    return Row("Gateway: requests", [[answers, took, open_now]])


def _services() -> Row:
    healthy = lines(
        "Healthy processes",
        "By service; at 0 every request to it is answered 503.",
        COUNT,
        [
            Query(
                f"min by (envoy_cluster_name) (envoy_cluster_membership_healthy{{{_SERVICES}}})",
                "{{envoy_cluster_name}}",
            )
        ],
    )
    took = lines(
        "How long services took (p95)",
        "As the gateway sees it, runs included.",
        _MILLISECONDS,
        [
            Query(
                "histogram_quantile(0.95, sum by (le, envoy_cluster_name)"
                f" (rate(envoy_cluster_upstream_rq_time_bucket{{{_SERVICES}}}[$__rate_interval])))",
                "{{envoy_cluster_name}}",
            )
        ],
    )
    repeated = lines(
        "Repeated and broken off",
        "Requests per second that were sent again, or whose connection ended.",
        PER_SECOND,
        [
            Query(rate("envoy_cluster_upstream_rq_retry", selector=_SERVICES), "sent again"),
            Query(
                rate("envoy_cluster_upstream_cx_destroy_with_active_rq", selector=_SERVICES),
                "broken off",
            ),
            Query(
                rate("envoy_cluster_upstream_rq_pending_overflow", selector=_SERVICES), "overflow"
            ),
        ],
    )
    return Row("Gateway: services", [[healthy, took, repeated]])


def _limits() -> Row:
    callers = lines(
        "Refused callers",
        "Requests per second with a bad token, a bad API key, or too early.",
        PER_SECOND,
        [
            Query(rate("envoy_http_jwt_authn_denied", selector=_GATEWAY), "token"),
            Query(rate("envoy_http_ext_authz_denied", selector=_GATEWAY), "API key"),
            Query(rate("envoy_http_local_rate_limit_rate_limited"), "too early"),
        ],
    )
    pressure = lines(
        "Pressure",
        "Share of the memory and of the connections that it may have; it refuses requests at 95 %.",
        SHARE,
        [
            Query(
                "max(envoy_overload_envoy_resource_monitors_fixed_heap_pressure) / 100", "memory"
            ),
            Query(
                "max(envoy_overload_envoy_resource_monitors_global_downstream_max_connections_"
                "pressure) / 100",
                "connections",
            ),
        ],
    )
    memory = lines(
        "Memory",
        "What Envoy has allocated, by gateway.",
        BYTES,
        [Query("envoy_server_memory_allocated", "{{instance}}")],
    )
    return Row("Gateway: limits", [[callers, pressure, memory]])
