"""Tool calls: each made at most once per id, recorded and audited."""
