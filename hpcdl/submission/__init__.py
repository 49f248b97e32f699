"""On the login node: makes a run folder with everything a queued job needs, and sends it."""
