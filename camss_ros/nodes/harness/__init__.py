"""What plays camera and consumer."""
