"""What networks are built of, loaded from and asked with."""
