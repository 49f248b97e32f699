"""Which of the host's files a container sees, and under which paths."""
