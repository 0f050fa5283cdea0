"""The pure evaluator: facts in, verdict with findings and proof out. Nothing here reads, writes or waits."""
