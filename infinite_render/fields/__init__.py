"""Fields: everything that changes the picture, as pure functions of position."""
