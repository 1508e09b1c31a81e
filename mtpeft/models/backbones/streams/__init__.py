"""How a picture passes a backbone: one shared stream, task lanes, task streams, tokens."""
