"""The tool-runner: tools, the policy over them, the record of every call and the audit log."""
