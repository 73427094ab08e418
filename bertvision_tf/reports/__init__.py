"""Results → tables and pictures."""
