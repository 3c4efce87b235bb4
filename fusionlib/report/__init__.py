"""A run's tables and pictures as one HTML file that needs nothing else, or as Markdown with PNGs."""
