"""What outlives a process: results by content key, uploads by content."""
