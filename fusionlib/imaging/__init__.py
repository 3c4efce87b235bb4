"""Label maps and pictures as bytes for the browser, and as coloured pictures."""
