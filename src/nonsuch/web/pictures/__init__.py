"""What a dashboard shows of each network."""
