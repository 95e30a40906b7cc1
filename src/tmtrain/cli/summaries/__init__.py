"""What commands tell about what they found, in words or as JSON."""
