"""Pictures as arrays, files, videos and messages."""
