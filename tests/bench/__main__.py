"""``python -m tests.bench`` measures whole runs."""

from tests.bench.bench_execute import main

raise SystemExit(main())
