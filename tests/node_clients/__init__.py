"""Google's clients for Node on the local stack. Not part of `make test`: needs Node and npm (`make node-clients`)."""
