"""What each command accepts: its help, without the libraries that it needs."""
