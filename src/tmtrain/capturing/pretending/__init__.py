"""What a user's code finds where its computer should be: devices that are not there, small values, modules converted."""
