"""Between approvals and their contracts. Pure; decides nothing."""

from __future__ import annotations

from agent_executor.api.executor.v1 import agent_pb2, run_event_pb2, run_service_pb2
from agent_executor.executor.approvals.approval import Approval
from agent_executor.executor.approvals.policy import NO_POLICY, ApprovalPolicy, ApprovalRule
from agent_executor.executor.log.run_event import ApprovalRequested
from agent_executor.serving.timestamp_convert import timestamp


def policy_from_proto(policy: agent_pb2.ApprovalPolicy) -> ApprovalPolicy:
    """Returns a policy."""
    return ApprovalPolicy(
        rules=tuple(
            ApprovalRule(rule.tool, rule.arguments_schema_json, rule.reason)
            for rule in policy.rules
        ),
        timeout_seconds=policy.timeout_seconds,
    )


def policy_to_proto(policy: ApprovalPolicy) -> agent_pb2.ApprovalPolicy | None:
    """Returns a policy as the API shows it; None for none."""
    if policy == NO_POLICY:
        return None
    return agent_pb2.ApprovalPolicy(
        rules=[
            agent_pb2.ApprovalRule(
                tool=rule.tool,
                arguments_schema_json=rule.arguments_schema_json,
                reason=rule.reason,
            )
            for rule in policy.rules
        ],
        timeout_seconds=policy.timeout_seconds,
    )


def approval_to_proto(approval: Approval) -> run_service_pb2.Approval:
    """Returns an approval as the API shows it."""
    return run_service_pb2.Approval(
        tool_call_id=approval.tool_call_id,
        run_id=approval.run_id,
        agent_id=approval.agent_id,
        tool_name=approval.tool_name,
        arguments_json=approval.arguments_json,
        reason=approval.reason,
        state=approval.state,
        created_at=timestamp(approval.created_at_ms),
        expires_at=timestamp(approval.expires_at_ms),
        decided_by=approval.decided_by,
        decision_reason=approval.decision_reason,
        edited_arguments_json=approval.edited_arguments_json,
    )


def requested_to_proto(asked: ApprovalRequested) -> run_event_pb2.ApprovalRequested:
    """Returns the event of a call that waits."""
    return run_event_pb2.ApprovalRequested(
        tool_call_id=asked.tool_call_id,
        tool_name=asked.tool_name,
        arguments_json=asked.arguments_json,
        reason=asked.reason,
        expires_at=timestamp(asked.expires_at_ms),
    )
