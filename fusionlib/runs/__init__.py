"""What outlives a process: answers, results by content key, uploads by content."""
