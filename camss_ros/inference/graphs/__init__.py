"""What is exported, built, verified and quantised."""
