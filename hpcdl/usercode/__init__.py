"""The user's own code: read without running it, and copied for a queued job."""
