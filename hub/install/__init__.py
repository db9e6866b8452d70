"""What goes onto a spoke so that an agent can run there: objects as values, pure."""
