"""The sans-I/O floor: RFC 6455 as bytes in, events out. It knows no Trio, no sockets, no clock."""
