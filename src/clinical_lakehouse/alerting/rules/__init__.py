"""What fires: rules over observations, their limits, their tests, their trial on stored data."""
