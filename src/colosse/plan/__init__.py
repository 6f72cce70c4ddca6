"""What a cluster will do: hardware, cost model, search, dry run, faults, the bill. docs/plan.md."""
