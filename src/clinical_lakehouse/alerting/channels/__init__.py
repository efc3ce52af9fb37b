"""Channels: one send to one recipient, one typed outcome. The only sockets of this domain."""
