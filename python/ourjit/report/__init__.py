"""Pages about what was compiled: figures, pictures, and one HTML file."""
