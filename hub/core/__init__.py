"""Pure decisions: expansion, graph, release, plan, rollup. No I/O, no clock, no globals."""
