"""mtpeft."""
