"""One program per peer: an echo server that takes commands, and a client that plays cases."""
