"""What stands before the screens until it is answered. Nothing is done to the chain but through one of these."""
