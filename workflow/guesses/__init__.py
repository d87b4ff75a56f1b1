"""What annotators say of a project's images, asked once and kept."""
