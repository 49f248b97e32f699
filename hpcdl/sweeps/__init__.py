"""Many trials of one job: what is searched, what comes next, and who runs it."""
