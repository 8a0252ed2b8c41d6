"""A platform whose processes talk to each other over mutual TLS."""

from __future__ import annotations

import grpc

from agent_executor.cli.certificate_authority import issue_certificates, own_tls_files
from agent_executor.serving.tls import channel_credentials
from agent_executor.serving.tls_files import TlsFiles
from tests.e2e.agents_and_runs import assert_costs_agree, create_agent, execute
from tests.e2e.rpc import METHODS, call, refusal
from tests.platforms import RunningPlatform, running_platform

LISTS = {
    "executor": METHODS["AgentService/ListAgents"],
    "tool-runner": METHODS["ToolService/ListTools"],
    "ledger": METHODS["BudgetService/ListBudgets"],
}
OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


def files_of(platform: RunningPlatform, process: str) -> TlsFiles:
    own = own_tls_files(platform.data_dir, process)
    return TlsFiles(own["tls_certificate_file"], own["tls_key_file"], own["tls_ca_file"])


def assert_runs(platform: RunningPlatform) -> None:
    client = platform.client()
    run = execute(client, create_agent(client))
    assert run["state"] == "completed"
    assert [result["success"] for result in run["output"]["tool_results"]] == [True]
    assert_costs_agree(client)


def test_a_whole_platform_over_mutual_tls() -> None:
    with running_platform(tls=True) as platform:
        assert_runs(platform)
        ours = files_of(platform, "client").read()
        for process, method in LISTS.items():
            address = f"127.0.0.1:{platform.grpc_ports[process]}"
            # A token is not enough at a service's own port.
            nobody = grpc.ssl_channel_credentials(ours.authorities)
            for channel in (
                grpc.insecure_channel(address, OPTIONS),
                grpc.secure_channel(address, nobody, OPTIONS),
            ):
                with channel:
                    refused = refusal(channel, method, method.request(), platform.token())
                    assert refused.code == "UNAVAILABLE"
            with grpc.secure_channel(address, channel_credentials(ours), OPTIONS) as channel:
                assert call(channel, method, method.request(), platform.token())
                # And a certificate is none either.
                refused = refusal(channel, method, method.request())
                assert refused.code == "UNAUTHENTICATED"

        # Every process gets a new certificate; those that start again connect to those that did not.
        issue_certificates(platform.data_dir)
        for process in ("tool-runner", "ledger"):
            platform.kill(process)
        platform.wait_until_serving()
        assert_runs(platform)
