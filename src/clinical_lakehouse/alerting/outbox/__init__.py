"""The outbox: every message has a row and a state; what moves it is a pure function of both."""
