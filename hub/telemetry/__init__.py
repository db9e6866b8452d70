"""What the hub tells machines about itself: metrics, events on its objects, logs."""
