"""What other tools wrote, as ours: nothing is read, asked or applied here, and nothing is dropped in silence."""
