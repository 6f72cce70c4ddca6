"""What runs inside the sandbox beside the code that is made faster: the standard library and Hypothesis alone.

These files are copied into the sandbox as the package `inside` and started as `python -m inside.record` (inputs for the
original), `inside.replay` (what a version makes of them), `inside.timing` and `inside.commands` (the clock).
They read `job.json` and write what they found to `found.json` or, line by line, `found.jsonl`. None of them knows what
the right results are: comparing is done outside.
"""
