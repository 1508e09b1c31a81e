"""How a block runs for the shared stream and for every task lane."""
