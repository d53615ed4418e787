"""What a node shows to browsers and to monitoring."""
